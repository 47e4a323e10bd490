"""Charts that compare precisions: for each length a bar for each precision, stacked by operator class."""

from collections.abc import Sequence

from edgeprof import units
from edgeprof.report import style
from edgeprof.report.chart import Bar, Group, Stack, Stacks
from edgeprof.report.figures import Stacked
from edgeprof.schema import ComparedLength, Side, Why

OTHER = "other"


def arrange(row: Stacked, whys: Sequence[Why]) -> Stacks | None:
    """The chart of comparisons with one A; None where no operators were timed.

    The height of a bar is its operator time in profiled runs, relative to that of A at the same length.
    """
    names = list(dict.fromkeys(kind.name for why in whys for place in why.places for kind in place.classes))
    names.sort(key=lambda name: name == OTHER)
    stacks = [_stack(title, phase, whys, names) for phase, title in row.panels]
    panels = [stack for stack in stacks if stack.groups]
    if not panels:
        return None
    first = whys[0]
    setting = (first.place.provider, f"batch {first.batch}", units.counted(first.place.threads, "thread"))
    return Stacks(
        title=f"{first.a.model}: {row.title}",
        remarks=(row.key, *setting),
        label=row.label.format(a=first.a.precision),
        names=tuple(zip(names, map(_colour, range(len(names)), names), strict=True)),
        panels=tuple(panels),
    )


def _colour(rank: int, name: str) -> str:
    return style.FAINT if name == OTHER else style.colour(rank)


def _stack(title: str, phase: str, whys: Sequence[Why], names: Sequence[str]) -> Stack:
    places: dict[int, list[tuple[Why, ComparedLength]]] = {}
    for why in whys:
        for place in why.places:
            if place.phase == phase and any(kind.a_s for kind in place.classes):
                places.setdefault(place.length, []).append((why, place))
    groups = [Group(units.counted(length, "token"), _bars(places[length], names)) for length in sorted(places)]
    return Stack(title=title, groups=tuple(groups))


def _bars(compared: Sequence[tuple[Why, ComparedLength]], names: Sequence[str]) -> tuple[Bar, ...]:
    why, place = compared[0]
    times = {kind.name: kind.a_s for kind in place.classes}
    bars = [_bar(why.a, place.a_s, times, sum(times.values()), names, compared)]
    for why, place in compared:
        whole_s = sum(kind.a_s for kind in place.classes)
        times = {kind.name: kind.b_s for kind in place.classes}
        bars.append(_bar(why.b, place.b_s, times, whole_s, names, compared))
    return tuple(bars)


def _bar(
    side: Side,
    seconds: float,
    times: dict[str, float],
    whole_s: float,
    names: Sequence[str],
    compared: Sequence[tuple[Why, ComparedLength]],
) -> Bar:
    models = {each.model for why, _ in compared for each in (why.a, why.b)}
    label = str(side.precision) if len(models) == 1 else str(side)
    return Bar(label, units.duration(seconds), tuple(times.get(name, 0.0) / whole_s for name in names))
