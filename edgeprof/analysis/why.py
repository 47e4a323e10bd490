"""Why B is faster than A, or is not: two files of one run, length by length and operator class by class.

Latencies and their intervals are those of timed visits. Where the time goes is from separate runs with the profiler,
so it explains a difference and never proves one. What is found is put into words in `reasons`.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from edgeprof.analysis import operator_classes, processor, why_text
from edgeprof.analysis.findings import BASE, BASE_PROVIDER, Estimate, latency, measured
from edgeprof.schema import (
    ClassTime,
    ComparedLength,
    KernelTime,
    Load,
    Machine,
    OperatorPass,
    OperatorReading,
    Phase,
    Place,
    Point,
    PointKey,
    Side,
    Turn,
    Why,
)
from edgeprof.text import joined

PHASES: tuple[Phase, ...] = ("prefill", "decode")

Setting = tuple[Place, int]
"""Place and batch: A and B are compared where these are the same."""

Profiled = dict[PointKey, tuple[OperatorPass, OperatorReading]]


def sides(points: Iterable[Point]) -> list[tuple[Side, Side]]:
    """fp32 against every other precision of the same model that was measured.

    Where there are but two files of about one size, under two names, they are the pair if one of them is in fp32.
    """
    params = {_side(point): point.facts.params for point in measured(points)}
    bases = {side.model: side for side in params if side.precision == BASE}
    others = [side for side in params if side.precision != BASE]
    if len(params) == 2 and len(bases) == len(others) == 1 and max(params.values()) < 1.5 * min(params.values()):
        return [(next(iter(bases.values())), others[0])]
    return [(bases[side.model], side) for side in others if side.model in bases]


def _side(point: Point) -> Side:
    return Side(model=point.subject.model, precision=point.subject.precision)


def why(
    a: Side,
    b: Side,
    points: Iterable[Point],
    passes: Iterable[OperatorPass],
    machine: Machine,
    kernels: Sequence[KernelTime] = (),
) -> list[Why]:
    """One comparison for each setting in which both were measured at some common length.

    Args:
        points: of one machine.
        passes: of the same run; of a point that was profiled again the newest one that went well counts. Times of
            operators that were only handed over to a device say nothing of where time goes, and are left out.
    """
    found = measured(points)
    mine, others = _by_setting(found, a), _by_setting(found, b)
    readings = operator_classes.ok(passes)
    profiled = {one.key.lasting: (one, reading) for one, reading in readings if not one.dispatch_only}
    compared = []
    for setting in mine:
        both = [(mine[setting][at], others[setting][at]) for at in mine[setting] if at in others.get(setting, {})]
        if both:
            place, _ = setting
            known = processor.told(machine, kernels, place.threads) if place.provider == BASE_PROVIDER else ()
            compared.append(_compared((a, b), setting, both, profiled, known))
    return compared


def _by_setting(points: Iterable[Point], side: Side) -> dict[Setting, dict[Load, Point]]:
    found: dict[Setting, dict[Load, Point]] = {}
    for point in points:
        if _side(point) == side:
            found.setdefault((point.key.lasting.place, point.load.batch), {})[point.load] = point
    return found


def _compared(
    files: tuple[Side, Side],
    setting: Setting,
    both: Sequence[tuple[Point, Point]],
    profiled: Profiled,
    machine: tuple[str, ...],
) -> Why:
    place, batch = setting
    ordered = sorted(both, key=lambda pair: (PHASES.index(pair[0].load.phase), pair[0].load.length))
    places = tuple(_at_length(one, other, profiled) for one, other in ordered)
    seen = [(one, profiled.get(other.key.lasting)) for one, (_, other) in zip(places, ordered, strict=True)]
    pair = why_text.Pair(*files, places, tuple((one, *found) for one, found in seen if found), place.provider)
    shares = {phase: _in_part(pair, [two for two in both if two[0].load.phase == phase]) for phase in pair.phases}
    return Why(
        a=pair.a,
        b=pair.b,
        place=place,
        batch=batch,
        places=places,
        turns=tuple(turn for phase in PHASES for turn in turns(places, phase)),
        verdicts=tuple(text + shares[phase] for phase, text in zip(pair.phases, why_text.verdicts(pair), strict=True)),
        findings=why_text.findings(pair),
        machine=machine,
    )


def _in_part(pair: why_text.Pair, both: Sequence[tuple[Point, Point]]) -> str:
    """What has to be said beside a verdict where the provider did not run all of A, or of B."""
    shares = []
    for name, points in zip(pair.names, zip(*both, strict=True), strict=True):
        partly = [point.receipt for point in points if point.receipt.share_text]
        if partly:
            least = min(partly, key=lambda receipt: receipt.share or 0.0)
            shares.append(f"{least.share_text} of {name}")
    return f" {pair.provider} ran only a part, at the least {joined(shares)}; the CPU ran the rest." if shares else ""


def _at_length(one: Point, other: Point, profiled: Profiled) -> ComparedLength:
    speed: Estimate = latency(one).over(latency(other))
    a, b = profiled.get(one.key.lasting), profiled.get(other.key.lasting)
    return ComparedLength(
        phase=one.load.phase,
        length=one.load.length,
        a_s=latency(one).value,
        b_s=latency(other).value,
        speed=speed.value,
        speed_low=speed.low,
        speed_high=speed.high,
        classes=_classes(a[1], b[1]) if a and b else (),
        a_explained=operator_classes.explained(a[1]) if a else None,
        b_explained=operator_classes.explained(b[1]) if b else None,
    )


def _classes(a: OperatorReading, b: OperatorReading) -> tuple[ClassTime, ...]:
    """All classes that take time in either."""
    mine, others = operator_classes.class_times(a), operator_classes.class_times(b)
    return tuple(
        ClassTime(name=name, a_s=mine[name], b_s=others[name])
        for name in operator_classes.NAMES
        if mine[name] or others[name]
    )


def turns(places: Sequence[ComparedLength], phase: Phase) -> list[Turn]:
    """Where the clearly faster one changes. Lengths without a clear difference lie between, and belong to nobody."""
    clear = [place for place in places if place.phase == phase and why_text.winner(place)]
    clear.sort(key=lambda place: place.length)
    found = []
    for before, after in pairwise(clear):
        won = why_text.winner(after)
        if won and won != why_text.winner(before):
            found.append(Turn(phase=phase, below=before.length, above=after.length, winner=won))
    return found
