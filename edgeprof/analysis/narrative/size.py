"""Sentences about latency and memory over the parameter count."""

from collections.abc import Sequence

from edgeprof import units
from edgeprof.analysis import findings
from edgeprof.analysis.findings import SizeGrowth
from edgeprof.analysis.narrative import PhasePoints, power, spread
from edgeprof.schema import Point


def latency_law(scope: PhasePoints) -> str:
    return _law(scope, _sized(scope, _latency_s), "latency")


def latency_over_params(scope: PhasePoints) -> str:
    return _laws(scope, _sized(scope, _latency_s), "latency")


def memory_over_params(scope: PhasePoints) -> str:
    return _laws(scope, _sized(scope, _peak_bytes), "peak memory")


def _latency_s(point: Point) -> float | None:
    return point.latency.median_s if point.latency else None


def _peak_bytes(point: Point) -> float | None:
    return point.memory.peak_bytes if point.memory else None


def _sized(scope: PhasePoints, value: findings.Value) -> list[SizeGrowth]:
    """Growth with size for each family in one precision and setting."""
    families: dict[tuple[object, ...], list[Point]] = {}
    for point in findings.reference_points(scope.points):
        place = point.place
        key = (point.facts.family, point.subject.precision, place.host, place.provider, point.load.batch, place.threads)
        families.setdefault(key, []).append(point)
    return list(filter(None, (findings.size_growth(family, value) for family in families.values())))


def _law(scope: PhasePoints, growths: Sequence[SizeGrowth], what: str) -> str:
    """The power law of the family with the most sizes."""
    if len({point.facts.params for point in findings.reference_points(scope.points)}) < 2:
        return ""  # a single size shows no growth
    if not growths:
        return f"Every family was measured in one size only, so growth of {what} with the parameters is not shown."
    growth = max(growths, key=lambda g: (len(g.points), g.params, findings.is_base(g.points[0])))
    small, large = growth.points[0], growth.points[-1]
    if growth.power is None:
        return (
            f"{scope.name(large)} has {units.ratio(growth.params)} the parameters of {small.subject.model} and "
            f"{units.ratio(growth.ratio)} its {what} at {scope.tokens(large)}; two sizes are too few for a power law."
        )
    return (
        f"Over {len(growth.points)} sizes of {_family(scope, growth)} ({units.count(small.facts.params)} to "
        f"{units.count(large.facts.params)} parameters, {scope.tokens(large)}) {what} grows with the parameters to the "
        f"power of {power(growth.power)}: ten times the parameters, {units.ratio(10**growth.power)} the {what}."
    )


def _laws(scope: PhasePoints, growths: Sequence[SizeGrowth], what: str) -> str:
    powers = [(growth.power, _family(scope, growth)) for growth in growths if growth.power is not None]
    if len(powers) < 2:
        return _law(scope, growths, what)
    return f"{_law(scope, growths, what)} The lines with three sizes or more have powers of {spread(powers, power)}."


def _family(scope: PhasePoints, growth: SizeGrowth) -> str:
    """The name of a line over sizes: that of its largest point, with the family in place of the model."""
    point = growth.points[-1]
    return scope.name(point).replace(point.subject.model, point.facts.family or point.subject.model, 1)
