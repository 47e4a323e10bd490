"""What is said of latency and memory over the parameter count."""

from collections.abc import Sequence

from edgeprof import units
from edgeprof.analysis import findings
from edgeprof.analysis.findings import SizeGrowth
from edgeprof.analysis.narrative import Told, power, spread
from edgeprof.schema import Point


def latency_law(told: Told) -> str:
    return _law(told, _sized(told, _latency_s), "latency")


def latency_over_params(told: Told) -> str:
    return _laws(told, _sized(told, _latency_s), "latency")


def memory_over_params(told: Told) -> str:
    return _laws(told, _sized(told, _peak_bytes), "peak memory")


def _latency_s(point: Point) -> float | None:
    return point.latency_median_s


def _peak_bytes(point: Point) -> float | None:
    return point.memory_peak_bytes


def _sized(told: Told, value: findings.Value) -> list[SizeGrowth]:
    """Growth with size of each line over sizes: a family in one precision and setting."""
    families: dict[tuple[object, ...], list[Point]] = {}
    for point in findings.reference_points(told.points):
        key = (point.family, point.precision, point.provider, point.batch, point.threads)
        families.setdefault(key, []).append(point)
    return list(filter(None, (findings.size_growth(family, value) for family in families.values())))


def _law(told: Told, growths: Sequence[SizeGrowth], what: str) -> str:
    """Of the line with the most sizes."""
    if len({point.params for point in findings.reference_points(told.points)}) < 2:
        return ""  # one size says nothing about size
    if not growths:
        return f"Every family was measured in one size only, so growth of {what} with the parameters is not shown."
    base = findings.BASE_PRECISION
    growth = max(growths, key=lambda g: (len(g.points), g.params, g.points[0].precision == base))
    small, large = growth.points[0], growth.points[-1]
    if growth.power is None:
        return (
            f"{told.name(large)} has {units.ratio(growth.params)} the parameters of {small.variant} and "
            f"{units.ratio(growth.ratio)} its {what} at {told.tokens(large)}; two sizes are too few for a law."
        )
    return (
        f"Over {len(growth.points)} sizes of {_family(told, growth)} ({units.count(small.params)} to "
        f"{units.count(large.params)} parameters, {told.tokens(large)}) {what} grows with the parameters to the "
        f"power of {power(growth.power)}: ten times the parameters, {units.ratio(10**growth.power)} the {what}."
    )


def _laws(told: Told, growths: Sequence[SizeGrowth], what: str) -> str:
    powers = [(growth.power, _family(told, growth)) for growth in growths if growth.power is not None]
    if len(powers) < 2:
        return _law(told, growths, what)
    return f"{_law(told, growths, what)} The lines with three sizes or more have powers of {spread(powers, power)}."


def _family(told: Told, growth: SizeGrowth) -> str:
    """The name of a line over sizes: that of a point, with the family for the variant."""
    point = growth.points[-1]
    return told.name(point).replace(point.variant, point.family or point.variant, 1)
