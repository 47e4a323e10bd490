"""Why B is or is not faster than A: two files of one run, compared by length and by operator class.

Latencies and their intervals come from timed visits. Operator times come from separate runs with the profiler, so they
explain a difference but never prove one. `why_text` writes the sentences.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from edgeprof.analysis import operator_classes, processor, why_text
from edgeprof.analysis.findings import BASE, BASE_PROVIDER, Estimate, latency, measured, speed, without_baselines
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
"""Place and batch: A and B are compared within one setting."""

Profiled = dict[PointKey, tuple[OperatorPass, OperatorReading]]


def sides(points: Iterable[Point]) -> list[tuple[Side, Side]]:
    """Pairs to compare: fp32 against every other measured precision of the same model.

    Two files of similar size under different names form a pair if one of them is in fp32 and nothing else was measured.
    """
    params = {_side(point): point.facts.params for point in measured(without_baselines(points))}
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
    """One comparison for each setting in which both were measured at a common length.

    Args:
        points: of one machine.
        passes: of the same run; of several passes of a point the newest successful one counts. Passes that timed only
            the dispatch to a device do not show where time goes, and are left out.
    """
    comparable = measured(without_baselines(points))
    points_a, points_b = _by_setting(comparable, a), _by_setting(comparable, b)
    readings = operator_classes.successful(passes)
    profiled = {each.key.lasting: (each, reading) for each, reading in readings if not each.dispatch_only}
    compared = []
    for setting, loads in points_a.items():
        both = [(loads[load], points_b[setting][load]) for load in loads if load in points_b.get(setting, {})]
        if both:
            place, _ = setting
            int8 = processor.describe(machine, kernels, place.threads) if place.provider == BASE_PROVIDER else ()
            compared.append(_compared((a, b), setting, both, profiled, int8))
    return compared


def _by_setting(points: Iterable[Point], side: Side) -> dict[Setting, dict[Load, Point]]:
    settings: dict[Setting, dict[Load, Point]] = {}
    for point in points:
        if _side(point) == side:
            settings.setdefault((point.key.lasting.place, point.load.batch), {})[point.load] = point
    return settings


def _compared(
    files: tuple[Side, Side],
    setting: Setting,
    both: Sequence[tuple[Point, Point]],
    profiled: Profiled,
    machine: tuple[str, ...],
) -> Why:
    place, batch = setting
    ordered = sorted(both, key=lambda pair: (PHASES.index(pair[0].load.phase), pair[0].load.length))
    lengths = tuple(_at_length(a, b, profiled) for a, b in ordered)
    passes = [(length, profiled.get(b.key.lasting)) for length, (_, b) in zip(lengths, ordered, strict=True)]
    pair = why_text.Pair(*files, lengths, tuple((length, *of_b) for length, of_b in passes if of_b), place.provider)
    shares = {phase: _in_part(pair, [two for two in both if two[0].load.phase == phase]) for phase in pair.phases}
    return Why(
        a=pair.a,
        b=pair.b,
        place=place,
        batch=batch,
        places=lengths,
        turns=tuple(turn for phase in PHASES for turn in turns(lengths, phase)),
        verdicts=tuple(text + shares[phase] for phase, text in zip(pair.phases, why_text.verdicts(pair), strict=True)),
        findings=why_text.findings(pair),
        machine=machine,
    )


def _in_part(pair: why_text.Pair, both: Sequence[tuple[Point, Point]]) -> str:
    """The warning beside a verdict where the provider ran only a part of A or of B."""
    shares = []
    for name, points in zip(pair.names, zip(*both, strict=True), strict=True):
        partly = [point.receipt for point in points if point.receipt.share_text]
        if partly:
            least = min(partly, key=lambda receipt: receipt.share or 0.0)
            shares.append(f"{least.share_text} of {name}")
    return f" {pair.provider} ran only a part, at least {joined(shares)}; the CPU ran the rest." if shares else ""


def _at_length(a: Point, b: Point, profiled: Profiled) -> ComparedLength:
    faster: Estimate = speed(a, b)
    pass_a, pass_b = profiled.get(a.key.lasting), profiled.get(b.key.lasting)
    return ComparedLength(
        phase=a.load.phase,
        length=a.load.length,
        a_s=latency(a).value,
        b_s=latency(b).value,
        speed=faster.value,
        speed_low=faster.low,
        speed_high=faster.high,
        classes=_classes(pass_a[1], pass_b[1]) if pass_a and pass_b else (),
        a_explained=operator_classes.explained_share(pass_a[1]) if pass_a else None,
        b_explained=operator_classes.explained_share(pass_b[1]) if pass_b else None,
    )


def _classes(a: OperatorReading, b: OperatorReading) -> tuple[ClassTime, ...]:
    """All classes that take time in A or B."""
    times_a, times_b = operator_classes.class_times(a), operator_classes.class_times(b)
    return tuple(
        ClassTime(name=name, a_s=times_a[name], b_s=times_b[name])
        for name in operator_classes.NAMES
        if times_a[name] or times_b[name]
    )


def turns(lengths: Sequence[ComparedLength], phase: Phase) -> list[Turn]:
    """Lengths between which the clearly faster side changes; lengths without a clear difference are skipped."""
    clear = [at for at in lengths if at.phase == phase and why_text.winner(at)]
    clear.sort(key=lambda at: at.length)
    changes = []
    for before, after in pairwise(clear):
        faster = why_text.winner(after)
        if faster and faster != why_text.winner(before):
            changes.append(Turn(phase=phase, below=before.length, above=after.length, winner=faster))
    return changes
