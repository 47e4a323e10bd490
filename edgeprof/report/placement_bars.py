"""Which provider ran what, as a chart: a bar for each point, made of the shares of all providers."""

from collections.abc import Iterable, Sequence

from edgeprof import units
from edgeprof.report import style
from edgeprof.report.chart import Bar, Group, Stack, Stacks
from edgeprof.report.figures import Placed
from edgeprof.report.latency_figures import SETTINGS
from edgeprof.schema import PlacedPoint

CPU = "cpu"
MOST_BARS = 28  # in a panel: as many as a page is wide


def arrange(row: Placed, found: Sequence[PlacedPoint]) -> Stacks | None:
    """The row of the table with its data; None where nothing ran on another provider than the CPU's.

    Points that were not taken ran nowhere, and have no bar. Where MACs are not known the bar shows nodes, and says so.
    """
    ran = [one for one in found if one.point.status == "ok" and one.point.provider != CPU]
    if not ran:
        return None
    ran.sort(key=lambda one: (one.point.emulated, one.point.provider, -len(one.point.phase)))  # prefill first
    asked = [one.point.provider for one in ran]
    others = [part.provider for one in ran for part in one.placement.placed]
    values = {field: {getattr(one.point, field) for one in ran} for field in SETTINGS}
    varying = [field for field in SETTINGS if len(values[field]) > 1]
    names = [*dict.fromkeys(name for name in (*asked, *others) if name != CPU), CPU]
    return Stacks(
        title=row.title,
        remarks=(row.key, *(SETTINGS[field](*values[field]) for field in SETTINGS if field not in varying)),
        label=row.label,
        names=tuple((name, style.FAINT if name == CPU else style.colour(rank)) for rank, name in enumerate(names)),
        panels=tuple(_panels(ran, names, varying)),
        height_in=1.6,
        tick=units.percent,
    )


def _panels(ran: Iterable[PlacedPoint], names: Sequence[str], varying: Sequence[str]) -> Iterable[Stack]:
    together: dict[str, list[PlacedPoint]] = {}
    for one in ran:
        point = one.point
        setting = [SETTINGS[field](getattr(point, field)) for field in varying]
        together.setdefault(", ".join([point.provider, point.phase, *setting]), []).append(one)
    for title, some in together.items():
        pages = list(_pages(_groups(some, names)))
        for number, groups in enumerate(pages, 1):
            yield Stack(f"{title} ({number} of {len(pages)})" if len(pages) > 1 else title, tuple(groups))


def _groups(some: Iterable[PlacedPoint], names: Sequence[str]) -> list[Group]:
    models: dict[str, list[Bar]] = {}
    for one in some:
        models.setdefault(f"{one.point.variant} {one.point.precision}", []).append(_bar(one, names))
    return [Group(name, tuple(bars)) for name, bars in models.items()]


def _pages(groups: Sequence[Group]) -> Iterable[list[Group]]:
    page: list[Group] = []
    for group in groups:
        if page and sum(len(one.bars) for one in (*page, group)) > MOST_BARS:
            yield page
            page = []
        page.append(group)
    yield page


def _bar(one: PlacedPoint, names: Sequence[str]) -> Bar:
    known = one.placement.macs_share is not None or one.placement.nodes_share == 1  # all nodes have all MACs
    field = "nodes" if one.placement.macs_share is None else "macs"
    amounts = {part.provider: getattr(part, field) or 0 for part in one.placement.placed}
    whole = sum(amounts.values()) or 1
    top = units.percent(one.placement.share) + ("" if known else " of nodes")
    parts = tuple(amounts.get(name, 0) / whole for name in names)
    return Bar(units.known(one.point.length or None), top, parts, hatched=one.point.emulated)
