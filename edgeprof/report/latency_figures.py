"""What was measured as a chart: points into small multiples, so that twenty lines need not share one box."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from edgeprof import units
from edgeprof.recipe_table import Stroke
from edgeprof.report import style
from edgeprof.report.chart import Chart, Guide, Line, Mark, Panel, Scale
from edgeprof.report.figures import Figure
from edgeprof.schema import Findings, Point

NAMED = 3  # of what is crossed out

SETTINGS: tuple[Callable[[Point], str], ...] = (
    lambda point: f"batch {point.load.batch}",
    lambda point: units.counted(point.place.threads, "thread"),
)
"""Settings of a point as a figure names them."""


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
        family = one.point.facts.family if figure.by == "length" else ""
        groups.setdefault((family, *_setting(one.point)), []).append(one)
    ranks = _ranks(one.point.facts.family for one in shown)
    ordered = sorted(groups.values(), key=lambda group: _standing(group[0].point, ranks))
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
                hatched=group[0].point.place.emulated,
            )
            for group in ordered
        ),
        square=bool(figure.diagonal),
    )


def _scale(figure: Figure, point: Point) -> Scale:
    """What is emulated has a scale of its own: a common one would look like a comparison, and squeeze the rest."""
    scale = figure.y.scale
    return replace(scale, label=f"{scale.label}, emulated") if point.place.emulated else scale


def _mark(figure: Figure, point: Point) -> Mark | None:
    """None where the point has no place on logarithmic axes (0 cached tokens): it is left to the table."""
    if point.load.phase != figure.phase:
        return None
    x, y = figure.x.of(point), figure.y.of(point)
    if not x or not y or x.low <= 0 or y.low <= 0:
        return None
    name = _short_name(point) if figure.by == "size" else ""
    band = figure.filled.band(point) if figure.filled else None
    return Mark(x.middle, y, name, band, crossed=bool(point.receipt.difference_text))


def _short_name(point: Point) -> str:
    """The variant without the family that is named beside it anyway: "base" for bert-base."""
    return point.subject.model.removeprefix(f"{point.facts.family}-") or point.subject.model


def _lines(figure: Figure, shown: Sequence[Shown], looks: "_Looks") -> tuple[Line, ...]:
    lines: dict[tuple[str, str], list[Shown]] = {}
    for one in shown:
        point = one.point
        name = _short_name(point) if figure.by == "length" else point.facts.family or point.subject.model
        lines.setdefault((name, str(point.subject.precision)), []).append(one)
    differ = len({one.point.receipt.share_text for one in shown}) > 1
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
        self._precisions = _ranks(str(point.subject.precision) for point in points)
        self._families = _ranks(point.facts.family for point in points)
        by_size = sorted(points, key=lambda point: point.facts.params)
        self._variants = {
            name: rank
            for family in self._families
            for name, rank in _ranks(p.subject.model for p in by_size if p.facts.family == family).items()
        }

    @property
    def several_precisions(self) -> bool:
        return len(self._precisions) > 1

    def colour(self, point: Point) -> str:
        model, family = point.subject.model, point.facts.family
        return style.colour(self._variants[model] if self._by_variant else self._families[family])

    def stroke(self, point: Point) -> Stroke:
        precision = str(point.subject.precision)
        return style.stroke(precision, self._precisions[precision])


def _ranks(names: Iterable[str]) -> dict[str, int]:
    return {name: rank for rank, name in enumerate(dict.fromkeys(names))}


# --- words ---------------------------------------------------------------------------------------------


def _setting(point: Point) -> tuple[str, bool, int, int]:
    return (point.place.provider, point.place.emulated, point.load.batch, point.place.threads)


def _standing(point: Point, ranks: Mapping[str, int]) -> tuple[int, bool, bool, str]:
    """The CPU first, what is emulated last: the columns of a figure with several families are of a provider each."""
    place = point.place
    return (ranks[point.facts.family], place.emulated, place.provider != "cpu", place.provider)


def _title(figure: Figure, group: Sequence[Shown], shown: Sequence[Shown]) -> str:
    """The family, and whatever is not the same in all panels; of a provider that ran only a part, how much."""
    point = group[0].point

    def varies(text: Callable[[Point], str]) -> bool:
        return len({text(one.point) for one in shown}) > 1

    parts = [point.facts.family] if figure.by == "length" and point.facts.family else []
    share = _share(one.point for one in group)
    if varies(lambda point: point.place.provider) or point.place.emulated or share:
        parts.append(point.place.provider + (" (emulated)" if point.place.emulated else ""))
        parts += [share] if share else []
    return ", ".join([*parts, *(text(point) for text in SETTINGS if varies(text))])


def _share(points: Iterable[Point]) -> str:
    """ "83 % of MACs": of all that a panel shows, or the least of it."""
    told = {point.receipt.share_text: point for point in points}
    partly = [point for share, point in told.items() if share]
    if not partly:
        return ""
    least = min(partly, key=lambda point: point.receipt.share or 0.0)
    return least.receipt.share_text if len(told) == 1 else f"at least {least.receipt.share_text}"


def _bracketed(points: Iterable[Point]) -> str:
    share = _share(points).removesuffix(" of MACs").replace("at least ", "≥ ")
    return f" ({share})" if share else ""


def _remarks(figure: Figure, shown: Sequence[Point]) -> list[str]:
    """What holds for all of a figure: how to read a mark, and the settings that its panels share."""
    said = [figure.key, figure.filled.key if figure.filled else ""]
    if figure.by == "size":
        lengths = sorted({point.load.length for point in shown})
        span = units.counted(lengths[-1], "cached token" if figure.phase == "decode" else "token")
        said.append(f"at {span}" if len(lengths) == 1 else f"at {lengths[0]:,} to {span}")
    for text in (lambda point: point.place.provider, *SETTINGS):
        values = {text(point) for point in shown}
        said += values if len(values) == 1 else ()
    return [*filter(None, said), *_weights(shown), *_wrong(shown)]


def _wrong(shown: Sequence[Point]) -> list[str]:
    """What is crossed out, and by how much it is off."""
    worst = {}
    for point in sorted(shown, key=lambda point: point.receipt.max_rel_error or 0.0):
        name = f"{point.subject.model} {point.subject.precision} on {point.place.provider}"
        worst[name] = point.receipt.difference_text
    alike: dict[str, list[str]] = {}
    for name, verdict in worst.items():
        alike.setdefault(verdict, []).append(name)
    said = [f"{verdict} ({_some(names)})" for verdict, names in alike.items() if verdict]
    return [f"crossed out: {'; '.join(said)}"] if said else []


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _weights(shown: Sequence[Point]) -> list[str]:
    random = {point.subject.model for point in shown if point.subject.weights.kind == "random"}
    if not random:
        return []
    everything = len(random) == len({point.subject.model for point in shown})
    return ["random weights" if everything else f"random weights: {', '.join(sorted(random))}"]
