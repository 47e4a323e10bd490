"""Charts of placement: a bar for each point, stacked by the shares of all providers."""

from collections.abc import Callable, Iterable, Sequence

from edgeprof import units
from edgeprof.report import style
from edgeprof.report.chart import Bar, Group, Stack, Stacks
from edgeprof.report.figures import PlacementFigure
from edgeprof.report.latency_figures import SETTINGS
from edgeprof.report.table import CPU
from edgeprof.schema import Point

MAX_BARS = 28  # in a panel, by the width of a page


def arrange(row: PlacementFigure, points: Sequence[Point]) -> Stacks | None:
    """The chart of placements; None where all points ran on the CPU.

    Unsupported points have no bar. Where MACs are unknown the bar shows nodes and is labelled so.
    """
    ran = [point for point in points if point.status == "ok" and point.place.provider != CPU]
    if not ran:
        return None
    ran.sort(key=lambda point: (point.place.emulated, point.place.provider, -len(point.load.phase)))  # prefill first
    requested = [point.place.provider for point in ran]
    others = [part.provider for point in ran for part in point.placement.placed]
    varying = [text for text in SETTINGS if len(set(map(text, ran))) > 1]
    names = [*dict.fromkeys(name for name in (*requested, *others) if name != CPU), CPU]
    return Stacks(
        title=row.title,
        remarks=(row.key, *(text(ran[0]) for text in SETTINGS if text not in varying)),
        label=row.label,
        names=tuple((name, style.FAINT if name == CPU else style.colour(rank)) for rank, name in enumerate(names)),
        panels=tuple(_panels(ran, names, varying)),
        height_in=1.6,
        tick=units.percent,
    )


def _panels(ran: Iterable[Point], names: Sequence[str], varying: Sequence[Callable[[Point], str]]) -> Iterable[Stack]:
    by_title: dict[str, list[Point]] = {}
    for point in ran:
        title = ", ".join([point.place.provider, point.load.phase, *(text(point) for text in varying)])
        by_title.setdefault(title, []).append(point)
    for title, some in by_title.items():
        pages = list(_pages(_groups(some, names)))
        for number, groups in enumerate(pages, 1):
            yield Stack(f"{title} ({number} of {len(pages)})" if len(pages) > 1 else title, tuple(groups))


def _groups(some: Iterable[Point], names: Sequence[str]) -> list[Group]:
    models: dict[str, list[Bar]] = {}
    for point in some:
        models.setdefault(f"{point.subject.model} {point.subject.precision}", []).append(_bar(point, names))
    return [Group(name, tuple(bars)) for name, bars in models.items()]


def _pages(groups: Sequence[Group]) -> Iterable[list[Group]]:
    page: list[Group] = []
    for group in groups:
        if page and sum(len(each.bars) for each in (*page, group)) > MAX_BARS:
            yield page
            page = []
        page.append(group)
    yield page


def _bar(point: Point, names: Sequence[str]) -> Bar:
    placement = point.placement
    known = placement.macs_share is not None or placement.nodes_share == 1  # all nodes include all MACs
    by_nodes = placement.macs_share is None
    amounts = {part.provider: part.nodes if by_nodes else part.macs or 0 for part in placement.placed}
    whole = sum(amounts.values()) or 1
    top = units.percent(placement.share) + ("" if known else " of nodes")
    parts = tuple(amounts.get(name, 0) / whole for name in names)
    return Bar(units.known(point.load.length or None), top, parts, hatched=point.place.emulated)
