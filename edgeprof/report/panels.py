"""Which line goes where: points into small multiples, so that twenty lines need not share one box."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeprof.report import style
from edgeprof.report.figures import Figure, Reading
from edgeprof.schema import Findings, Point


@dataclass(frozen=True)
class Mark:
    """A point with its place on the axes."""

    point: Point
    x: float
    y: Reading

    @property
    def short_name(self) -> str:
        """The variant without the family that is named beside it anyway: "base" for bert-base."""
        return self.point.variant.removeprefix(f"{self.point.family}-") or self.point.variant


@dataclass(frozen=True)
class Line:
    label: str
    colour: str
    stroke: style.Stroke
    marks: tuple[Mark, ...]  # along x


@dataclass(frozen=True)
class Panel:
    title: str  # empty where one panel is all there is to say
    lines: tuple[Line, ...]

    @property
    def marks(self) -> list[Mark]:
        return [mark for line in self.lines for mark in line.marks]


def arrange(figure: Figure, points: Sequence[Point], findings: Findings) -> list[Panel]:
    """The panels of a figure, empty when there is nothing to draw.

    Over length there is a panel per family, over size one for all; another provider, batch or thread count is
    another panel. Colours stand for the same variant (or family) in every figure of a run.
    """
    source = points if figure.by == "length" else findings.reference
    marks = [mark for point in source if (mark := _mark(figure, point))]
    if figure.by == "size" and len({mark.x for mark in marks}) < 2:
        return []  # one size says nothing about size
    looks = _Looks(figure, points)
    groups: dict[tuple[object, ...], list[Mark]] = {}
    for mark in marks:
        family = mark.point.family if figure.by == "length" else ""
        groups.setdefault((family, *_setting(mark.point)), []).append(mark)
    return [Panel(_title(figure, group[0].point, marks), _lines(figure, group, looks)) for group in groups.values()]


def _mark(figure: Figure, point: Point) -> Mark | None:
    """None where the point has no place on logarithmic axes (0 cached tokens): it is left to the table."""
    if point.phase != figure.phase:
        return None
    x, y = figure.x.of(point), figure.y.of(point)
    return Mark(point, x.middle, y) if x and y and x.low > 0 and y.low > 0 else None


def _lines(figure: Figure, marks: Sequence[Mark], looks: "_Looks") -> tuple[Line, ...]:
    lines: dict[tuple[str, str], list[Mark]] = {}
    for mark in marks:
        name = mark.short_name if figure.by == "length" else mark.point.family or mark.point.variant
        lines.setdefault((name, mark.point.precision), []).append(mark)
    return tuple(
        Line(
            label=f"{name} {precision}" if looks.several_precisions else name,
            colour=looks.colour(members[0].point),
            stroke=looks.stroke(members[0].point),
            marks=tuple(sorted(members, key=lambda mark: mark.x)),
        )
        for (name, precision), members in lines.items()
    )


class _Looks:
    """Colour by variant (its rank in its family, by size) or by family; stroke by precision."""

    def __init__(self, figure: Figure, points: Sequence[Point]) -> None:
        self._by_family = figure.by == "size"
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
        return style.colour(self._families[point.family] if self._by_family else self._variants[point.variant])

    def stroke(self, point: Point) -> style.Stroke:
        return style.stroke(point.precision, self._precisions[point.precision])


def _ranks(names: Iterable[str]) -> dict[str, int]:
    return {name: rank for rank, name in enumerate(dict.fromkeys(names))}


def _setting(point: Point) -> tuple[str, bool, int, int]:
    return (point.provider, point.emulated, point.batch, point.threads)


def _title(figure: Figure, point: Point, marks: Sequence[Mark]) -> str:
    """The family, and whatever is not the same in all panels."""

    def varies(field: str) -> bool:
        return len({getattr(mark.point, field) for mark in marks}) > 1

    parts = [point.family] if figure.by == "length" and point.family else []
    if varies("provider") or point.emulated:
        parts.append(point.provider + (" (emulated)" if point.emulated else ""))
    if varies("batch"):
        parts.append(f"batch {point.batch}")
    if varies("threads"):
        parts.append(f"{point.threads} threads")
    return ", ".join(parts)


def remarks(figure: Figure, panels: Sequence[Panel]) -> list[str]:
    """What holds for all of a figure: how to read a mark, and the settings that its panels share."""
    shown = [mark.point for panel in panels for mark in panel.marks]
    said = [figure.interval, figure.band.key if figure.band else ""]
    if figure.by == "size":
        lengths = sorted({point.length for point in shown})
        span = f"{lengths[0]:,}" if len(lengths) == 1 else f"{lengths[0]:,} to {lengths[-1]:,}"
        said.append(f"at {span} {'cached tokens' if figure.phase == 'decode' else 'tokens'}")
    for field, text in (("provider", "{}"), ("batch", "batch {}"), ("threads", "{} threads")):
        values = {getattr(point, field) for point in shown}
        said += [text.format(*values)] if len(values) == 1 else []
    if any(point.emulated for point in shown):
        said.append("emulated: the times mean nothing")
    return [*filter(None, said), *_weights(shown)]


def _weights(shown: Sequence[Point]) -> list[str]:
    random = {point.variant for point in shown if point.weights.startswith("random")}
    if not random:
        return []
    everything = len(random) == len({point.variant for point in shown})
    return ["random weights" if everything else f"random weights: {', '.join(sorted(random))}"]
