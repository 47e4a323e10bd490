"""Why B is faster than A, or is not: two files of one run, length by length and operator class by class.

Latencies and their intervals are those of timed visits. Where the time goes is from separate runs with the profiler,
so it explains a difference and never proves one. What is found is put into words in `reasons`.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from edgeprof.analysis import operator_classes, processor, why_text
from edgeprof.analysis.findings import BASE_PRECISION, BASE_PROVIDER, Estimate, latency, measured
from edgeprof.schema import (
    ClassTime,
    ComparedLength,
    KernelTime,
    Machine,
    OperatorPass,
    OperatorReading,
    Phase,
    Point,
    Side,
    Turn,
    Why,
)
from edgeprof.text import joined

PHASES: tuple[Phase, ...] = ("prefill", "decode")

Setting = tuple[str, int, int]
"""Provider, batch, threads: A and B are compared where these are the same."""


def sides(points: Iterable[Point]) -> list[tuple[Side, Side]]:
    """fp32 against every other precision of the same model that was measured.

    Where there are but two files of about one size, under two names, they are the pair if one of them is in fp32.
    """
    params = {Side(variant=point.variant, precision=point.precision): point.params for point in measured(points)}
    bases = {side.variant: side for side in params if side.precision == BASE_PRECISION}
    others = [side for side in params if side.precision != BASE_PRECISION]
    if len(params) == 2 and len(bases) == len(others) == 1 and max(params.values()) < 1.5 * min(params.values()):
        return [(next(iter(bases.values())), others[0])]
    return [(bases[side.variant], side) for side in others if side.variant in bases]


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
    profiled = {_key(one): (one, reading) for one, reading in operator_classes.ok(passes) if not one.dispatch_only}
    compared = []
    for setting in mine:
        both = [(mine[setting][at], others[setting][at]) for at in mine[setting] if at in others.get(setting, {})]
        if both:
            provider, _, threads = setting
            known = processor.told(machine, kernels, threads) if provider == BASE_PROVIDER else ()
            compared.append(_compared((a, b), setting, both, profiled, known))
    return compared


Load = tuple[Phase, int | None, int]
"""Phase, tokens, tokens cached."""
Profiled = dict[tuple[object, ...], tuple[OperatorPass, OperatorReading]]


def _by_setting(points: Iterable[Point], side: Side) -> dict[Setting, dict[Load, Point]]:
    found: dict[Setting, dict[Load, Point]] = {}
    for point in points:
        if (point.variant, point.precision) == (side.variant, side.precision):
            setting = (point.provider, point.batch, point.threads)
            found.setdefault(setting, {})[point.phase, point.tokens, point.past_tokens] = point
    return found


def _key(one: Point | OperatorPass) -> tuple[object, ...]:
    side = (one.variant, one.precision)
    return (*side, one.provider, one.phase, one.batch, one.tokens, one.past_tokens, one.threads)


def _compared(
    files: tuple[Side, Side],
    setting: Setting,
    both: Sequence[tuple[Point, Point]],
    profiled: Profiled,
    machine: tuple[str, ...],
) -> Why:
    provider, batch, threads = setting
    ordered = sorted(both, key=lambda pair: (PHASES.index(pair[0].phase), pair[0].length))
    places = tuple(_place(one, other, profiled) for one, other in ordered)
    seen = [(place, profiled.get(_key(other))) for place, (_, other) in zip(places, ordered, strict=True)]
    told = why_text.Told(*files, places, tuple((place, *found) for place, found in seen if found), provider)
    shares = {phase: _in_part(told, [pair for pair in both if pair[0].phase == phase]) for phase in told.phases}
    return Why(
        a=told.a,
        b=told.b,
        provider=provider,
        batch=batch,
        threads=threads,
        places=places,
        turns=tuple(turn for phase in PHASES for turn in turns(places, phase)),
        verdicts=tuple(said + shares[phase] for phase, said in zip(told.phases, why_text.verdicts(told), strict=True)),
        findings=why_text.findings(told),
        machine=machine,
    )


def _in_part(told: why_text.Told, both: Sequence[tuple[Point, Point]]) -> str:
    """What has to be said beside a verdict where the provider did not run all of A, or of B."""
    said = []
    for name, points in zip(told.names, zip(*both, strict=True), strict=True):
        partly = [point for point in points if point.share_told]
        if partly:
            least = min(partly, key=lambda point: point.share or 0.0)
            said.append(f"{least.share_told} of {name}")
    return f" {told.provider} ran only a part, at the least {joined(said)}; the CPU ran the rest." if said else ""


def _place(one: Point, other: Point, profiled: Profiled) -> ComparedLength:
    speed: Estimate = latency(one).over(latency(other))
    a, b = profiled.get(_key(one)), profiled.get(_key(other))
    return ComparedLength(
        phase=one.phase,
        length=one.length,
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
