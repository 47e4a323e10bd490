"""Charts of memory by parts: a stacked bar for each point, with its predicted peak as a line across it."""

from collections.abc import Sequence

from edgeprof import units
from edgeprof.report import style
from edgeprof.report.chart import Bar, Group, Stack, Stacks
from edgeprof.report.figures import MemoryParts
from edgeprof.schema import Phase, Point


def arrange(row: MemoryParts, points: Sequence[Point]) -> Stacks | None:
    """The chart of one model in one setting; None where no peak was predicted."""
    predicted = [point for point in points if point.memory and point.facts.memory]
    panels = [stack for phase, title in row.panels if (stack := _stack(row, title, phase, predicted)).groups]
    if not panels:
        return None
    first = predicted[0]
    setting = (f"batch {first.load.batch}", units.counted(first.place.threads, "thread"))
    return Stacks(
        title=f"{first.subject.model}: {row.title}",
        remarks=(row.key, *setting),
        label=row.label,
        names=tuple((name, style.colour(rank)) for rank, (name, _) in enumerate(row.parts)),
        panels=tuple(panels),
    )


def _stack(row: MemoryParts, title: str, phase: Phase, points: Sequence[Point]) -> Stack:
    lengths: dict[int, list[Point]] = {}
    for point in points:
        if point.load.phase == phase:
            lengths.setdefault(point.load.length or 0, []).append(point)
    return Stack(
        title,
        tuple(
            Group(units.counted(length, "token"), tuple(_bar(row, point) for point in lengths[length]))
            for length in sorted(lengths)
        ),
    )


def _bar(row: MemoryParts, point: Point) -> Bar:
    memory, predicted = point.memory, point.facts.memory
    assert memory is not None and predicted is not None
    return Bar(
        label=str(point.subject.precision),
        top=f"{memory.peak_bytes / 1e6:,.0f}",
        parts=tuple(of(memory) / 1e6 for _, of in row.parts),
        line=predicted.peak_bytes / 1e6,
    )
