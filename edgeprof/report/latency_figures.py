"""What was measured as a chart: points into small multiples, so that twenty lines need not share one box."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from edgeprof import units
from edgeprof.report import style
from edgeprof.report.chart import Chart, Guide, Line, Mark, Panel, Scale
from edgeprof.report.figures import Figure
from edgeprof.schema import Findings, Point

NAMED = 3  # of what is crossed out

SETTINGS: dict[str, Callable[[Any], str]] = {
    "batch": "batch {}".format,
    "threads": partial(units.counted, what="thread"),
}
"""Fields of a point, and how a figure tells them."""


class Shown(NamedTuple):
    """A point with its place on the axes."""

    point: Point
    mark: Mark


def arrange(figure: Figure, points: Sequence[Point], findings: Findings) -> Chart | None:
    """A figure with its data; None when there is nothing to draw.

    Over length there is a panel per family, else one for all; another provider, batch or thread count is another
    panel. Colours stand for the same variant (or family) in every figure of a run.
    """
    source = findings.reference if figure.by == "size" else points
    shown = [Shown(point, mark) for point in source if (mark := _mark(figure, point))]
    if not shown or (figure.by == "size" and len({mark.x for _, mark in shown}) < 2):
        return None  # one size says nothing about size
    looks = _Looks(figure, points)
    groups: dict[tuple[object, ...], list[Shown]] = {}
    for one in shown:
        family = one.point.family if figure.by == "length" else ""
        groups.setdefault((family, *_setting(one.point)), []).append(one)
    ranks = _ranks(one.point.family for one in shown)
    ordered = sorted(groups.values(), key=lambda group: (ranks[group[0].point.family], *_standing(group[0].point)))
    return Chart(
        title=figure.title,
        remarks=tuple(_remarks(figure, [point for group in ordered for point, _ in group])),
        x=figure.x.scale,
        panels=tuple(
            Panel(
                title=_title(figure, group, shown),
                y=_scale(figure, group[0].point),
                lines=_lines(figure, group, looks),
                guides=tuple(_guides(figure, group)),
                hatched=group[0].point.emulated,
            )
            for group in ordered
        ),
        square=bool(figure.diagonal),
    )


def _scale(figure: Figure, point: Point) -> Scale:
    """What is emulated has a scale of its own: a common one would look like a comparison, and squeeze the rest."""
    scale = figure.y.scale
    return replace(scale, label=f"{scale.label}, emulated") if point.emulated else scale


def _mark(figure: Figure, point: Point) -> Mark | None:
    """None where the point has no place on logarithmic axes (0 cached tokens): it is left to the table."""
    if point.phase != figure.phase:
        return None
    x, y = figure.x.of(point), figure.y.of(point)
    if not x or not y or x.low <= 0 or y.low <= 0:
        return None
    name = _short_name(point) if figure.by == "size" else ""
    band = figure.filled.band(point) if figure.filled else None
    return Mark(x.middle, y, name, band, crossed=bool(point.verdict_told))


def _short_name(point: Point) -> str:
    """The variant without the family that is named beside it anyway: "base" for bert-base."""
    return point.variant.removeprefix(f"{point.family}-") or point.variant


def _lines(figure: Figure, shown: Sequence[Shown], looks: "_Looks") -> tuple[Line, ...]:
    lines: dict[tuple[str, str], list[Shown]] = {}
    for one in shown:
        point = one.point
        name = _short_name(point) if figure.by == "length" else point.family or point.variant
        lines.setdefault((name, point.precision), []).append(one)
    differ = len({one.point.share_told for one in shown}) > 1
    return tuple(
        Line(
            label=(f"{name} {precision}" if looks.several_precisions else name)
            + (_bracketed(one.point for one in members) if differ else ""),
            colour=looks.colour(members[0].point),
            stroke=looks.stroke(members[0].point),
            marks=tuple(sorted((mark for _, mark in members), key=lambda mark: mark.x)),
            joined=figure.by != "family",
        )
        for (name, precision), members in lines.items()
    )


def _guides(figure: Figure, shown: Sequence[Shown]) -> Iterable[Guide]:
    if figure.filled:
        grounds = sorted(ground for point, _ in shown if (ground := figure.filled.ground(point)))
        if grounds:
            yield Guide(figure.filled.ground_label, grounds[len(grounds) // 2])
    if figure.diagonal:
        yield Guide(figure.diagonal, 1, power=1)


class _Looks:
    """Colour by variant (its rank in its family, by size) or by family; stroke by precision."""

    def __init__(self, figure: Figure, points: Sequence[Point]) -> None:
        self._by_variant = figure.by == "length"
        self._precisions = _ranks(point.precision for point in points)
        self._families = _ranks(point.family for point in points)
        by_size = sorted(points, key=lambda point: point.params)
        self._variants = {
            name: rank
            for family in self._families
            for name, rank in _ranks(p.variant for p in by_size if p.family == family).items()
        }

    @property
    def several_precisions(self) -> bool:
        return len(self._precisions) > 1

    def colour(self, point: Point) -> str:
        return style.colour(self._variants[point.variant] if self._by_variant else self._families[point.family])

    def stroke(self, point: Point) -> style.Stroke:
        return style.stroke(point.precision, self._precisions[point.precision])


def _ranks(names: Iterable[str]) -> dict[str, int]:
    return {name: rank for rank, name in enumerate(dict.fromkeys(names))}


# --- words ---------------------------------------------------------------------------------------------


def _setting(point: Point) -> tuple[str, bool, int, int]:
    return (point.provider, point.emulated, point.batch, point.threads)


def _standing(point: Point) -> tuple[bool, bool, str]:
    """The CPU first, what is emulated last: the columns of a figure with several families are of a provider each."""
    return (point.emulated, point.provider != "cpu", point.provider)


def _title(figure: Figure, group: Sequence[Shown], shown: Sequence[Shown]) -> str:
    """The family, and whatever is not the same in all panels; of a provider that ran only a part, how much."""
    point = group[0].point

    def varies(field: str) -> bool:
        return len({getattr(one.point, field) for one in shown}) > 1

    parts = [point.family] if figure.by == "length" and point.family else []
    share = _share(one.point for one in group)
    if varies("provider") or point.emulated or share:
        parts.append(point.provider + (" (emulated)" if point.emulated else ""))
        parts += [share] if share else []
    if varies("batch"):
        parts.append(f"batch {point.batch}")
    if varies("threads"):
        parts.append(units.counted(point.threads, "thread"))
    return ", ".join(parts)


def _share(points: Iterable[Point]) -> str:
    """ "83 % of MACs": of all that a panel shows, or the least of it."""
    told = {point.share_told: point for point in points}
    partly = [point for share, point in told.items() if share]
    if not partly:
        return ""
    least = min(partly, key=lambda point: point.share or 0.0)
    return least.share_told if len(told) == 1 else f"at least {least.share_told}"


def _bracketed(points: Iterable[Point]) -> str:
    share = _share(points).removesuffix(" of MACs").replace("at least ", "≥ ")
    return f" ({share})" if share else ""


def _remarks(figure: Figure, shown: Sequence[Point]) -> list[str]:
    """What holds for all of a figure: how to read a mark, and the settings that its panels share."""
    said = [figure.key, figure.filled.key if figure.filled else ""]
    if figure.by == "size":
        lengths = sorted({point.length for point in shown})
        span = units.counted(lengths[-1], "cached token" if figure.phase == "decode" else "token")
        said.append(f"at {span}" if len(lengths) == 1 else f"at {lengths[0]:,} to {span}")
    told: dict[str, Callable[[Any], str]] = {"provider": str, **SETTINGS}
    for field, text in told.items():
        values = {getattr(point, field) for point in shown}
        said += [text(*values)] if len(values) == 1 else []
    return [*filter(None, said), *_weights(shown), *_wrong(shown)]


def _wrong(shown: Sequence[Point]) -> list[str]:
    """What is crossed out, and by how much it is off."""
    worst = {}
    for point in sorted(shown, key=lambda point: point.max_rel_error or 0.0):
        worst[f"{point.variant} {point.precision} on {point.provider}"] = point.verdict_told
    alike: dict[str, list[str]] = {}
    for name, verdict in worst.items():
        alike.setdefault(verdict, []).append(name)
    said = [f"{verdict} ({_some(names)})" for verdict, names in alike.items() if verdict]
    return [f"crossed out: {'; '.join(said)}"] if said else []


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _weights(shown: Sequence[Point]) -> list[str]:
    random = {point.variant for point in shown if point.weights.startswith("random")}
    if not random:
        return []
    everything = len(random) == len({point.variant for point in shown})
    return ["random weights" if everything else f"random weights: {', '.join(sorted(random))}"]
