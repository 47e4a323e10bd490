"""Charts of measured points, as small multiples: twenty lines need not share one panel."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from edgeprof import units
from edgeprof.recipe_table import Stroke
from edgeprof.report import style
from edgeprof.report.chart import Chart, Guide, Line, Mark, Panel, Scale
from edgeprof.report.figures import INTERVAL, Figure
from edgeprof.schema import Findings, Law, Point, PointKey

FITTED = 40  # parts of a drawn law
NAMED = 3  # crossed-out points that a remark lists by name

SETTINGS: tuple[Callable[[Point], str], ...] = (
    lambda point: f"batch {point.load.batch}",
    lambda point: units.counted(point.place.threads, "thread"),
)
"""Text of the settings of a point."""


class Shown(NamedTuple):
    """A point with its mark."""

    point: Point
    mark: Mark


def arrange(figure: Figure, points: Sequence[Point], findings: Findings, laws: Sequence[Law] = ()) -> Chart | None:
    """The chart of a figure; None where there is nothing to draw.

    A figure over lengths has a panel per family, others one for all; each provider, batch size and thread count has its
    own panel, as has each device of a run over several, except where the devices are the lines. A colour means the same
    variant (or family, or device) in every figure of a run. A law is a thin line.
    """
    source = findings.reference if figure.by == "size" else points
    shown = [Shown(point, mark) for point in source if (mark := _mark(figure, point))]
    if not shown or (figure.by == "size" and len({mark.x for _, mark in shown}) < 2):
        return None  # a single size shows no growth
    if figure.by == "device" and len({each.point.place.host for each in shown}) < 2:
        return None
    looks = _Looks(figure, points, findings.hosts)
    groups: dict[tuple[object, ...], list[Shown]] = {}
    for each in shown:
        family = each.point.facts.family if figure.by in ("length", "device") else ""
        groups.setdefault((family, *_setting(each.point, over_devices=figure.by == "device")), []).append(each)
    ranks = _ranks(each.point.facts.family for each in shown)
    known = {law.key: law for law in laws} if figure.law else {}
    ordered = sorted(groups.values(), key=lambda group: _order(group[0].point, ranks))
    return Chart(
        title=figure.title,
        remarks=tuple(_remarks(figure, [point for group in ordered for point, _ in group], known)),
        x=figure.x.scale,
        panels=tuple(
            Panel(
                title=_title(figure, group, shown),
                y=_scale(figure, group[0].point),
                lines=_lines(figure, group, looks, known),
                guides=tuple(_guides(figure, group)),
                hatched=group[0].point.place.emulated,
            )
            for group in ordered
        ),
        square=bool(figure.diagonal),
    )


def _scale(figure: Figure, point: Point) -> Scale:
    """The scale of a panel; emulated panels have their own, because a common one would suggest a comparison."""
    scale = figure.y.scale
    return replace(scale, label=f"{scale.label}, emulated") if point.place.emulated else scale


def _mark(figure: Figure, point: Point) -> Mark | None:
    """The mark of a point; None for points of 0, such as 0 cached tokens, which only the table shows."""
    if point.load.phase != figure.phase:
        return None
    x, y = figure.x.of(point), figure.y.of(point)
    if not x or not y or x.low <= 0 or y.low <= 0:
        return None
    name = _short_name(point) if figure.by == "size" else ""
    band = figure.filled.band(point) if figure.filled else None
    return Mark(
        x.middle,
        y,
        name,
        band,
        crossed=bool(point.receipt.difference_text),
        circled=_is_doubtful(figure, point),
    )


def _is_doubtful(figure: Figure, point: Point) -> bool:
    """Whether a figure of times shows a point whose time is not steady."""
    return figure.key == INTERVAL and point.verdict not in (None, "steady")


def _short_name(point: Point) -> str:
    """The variant without its family, which the figure names anyway: "base" for bert-base."""
    return point.subject.model.removeprefix(f"{point.facts.family}-") or point.subject.model


def _lines(figure: Figure, shown: Sequence[Shown], looks: "_Looks", laws: Mapping[PointKey, Law]) -> tuple[Line, ...]:
    lines: dict[tuple[str, str], list[Shown]] = {}
    for each in shown:
        point = each.point
        name = looks.name(point)
        lines.setdefault((name, str(point.subject.precision)), []).append(each)
    differ = len({each.point.receipt.share_text for each in shown}) > 1
    return tuple(
        Line(
            label=(f"{name} {precision}" if looks.several_precisions and figure.by != "device" else name)
            + (_bracketed(each.point for each in members) if differ else ""),
            colour=looks.colour(members[0].point),
            stroke=looks.stroke(members[0].point),
            marks=tuple(sorted((mark for _, mark in members), key=lambda mark: mark.x)),
            joined=figure.by != "family",
            fitted=_fitted(members[0], laws.get(members[0].point.key.series)),
        )
        for (name, precision), members in lines.items()
    )


def _fitted(shown: Shown, law: Law | None) -> tuple[tuple[float, float], ...]:
    """The law of a line along its lengths, in the unit of the figure."""
    if law is None or shown.point.latency is None:
        return ()
    unit = shown.mark.y.middle / shown.point.latency.median_s
    step = (law.lengths[-1] / law.lengths[0]) ** (1 / FITTED)
    lengths = [law.lengths[0] * step**index for index in range(FITTED + 1)]
    return tuple((length, unit * law.curve.at(length)) for length in lengths)


def _guides(figure: Figure, shown: Sequence[Shown]) -> Iterable[Guide]:
    if figure.filled:
        grounds = sorted(ground for point, _ in shown if (ground := figure.filled.ground(point)))
        if grounds:
            yield Guide(figure.filled.ground_label, grounds[len(grounds) // 2])
    if figure.diagonal:
        yield Guide(figure.diagonal, 1, power=1)


class _Looks:
    """Names and colours of lines: by variant (its rank in its family, by size), family or device; stroke by precision.

    Args:
        hosts: device -> its name with its machine.
    """

    def __init__(self, figure: Figure, points: Sequence[Point], hosts: Mapping[str, str]) -> None:
        self._by, self._hosts = figure.by, hosts
        self._host_ranks = _ranks([*hosts, *(point.place.host for point in points)])
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

    def name(self, point: Point) -> str:
        if self._by == "device":
            return self._hosts.get(point.place.host, point.place.host)
        return _short_name(point) if self._by == "length" else point.facts.family or point.subject.model

    def colour(self, point: Point) -> str:
        if self._by == "device":
            return style.colour(self._host_ranks[point.place.host])
        model, family = point.subject.model, point.facts.family
        return style.colour(self._variants[model] if self._by == "length" else self._families[family])

    def stroke(self, point: Point) -> Stroke:
        precision = str(point.subject.precision)
        return style.stroke(precision, self._precisions[precision])


def _ranks(names: Iterable[str]) -> dict[str, int]:
    return {name: rank for rank, name in enumerate(dict.fromkeys(names))}


# --- text ----------------------------------------------------------------------------------------------


def _setting(point: Point, *, over_devices: bool) -> tuple[object, ...]:
    """What the points of one panel share; devices may have different threads."""
    place, subject = point.place, point.subject
    shared = (place.provider, place.emulated, point.load.batch)
    return (*shared, subject.model, subject.precision) if over_devices else (*shared, place.threads, place.host)


def _order(point: Point, ranks: Mapping[str, int]) -> tuple[int, bool, bool, str, str]:
    """Sort key of panels: by family, then the CPU first and emulated devices last, then by the device of the run."""
    place = point.place
    return (ranks[point.facts.family], place.emulated, place.provider != "cpu", place.provider, place.host)


def _title(figure: Figure, group: Sequence[Shown], shown: Sequence[Shown]) -> str:
    """The family, the settings that vary among panels, and the share of a provider that ran only a part."""
    point = group[0].point

    def varies(text: Callable[[Point], str]) -> bool:
        return len({text(each.point) for each in shown}) > 1

    parts = [point.facts.family] if figure.by == "length" and point.facts.family else []
    if figure.by == "device":
        parts = [f"{point.subject.model} {point.subject.precision}"]
    elif varies(lambda point: point.place.host):
        parts.append(point.place.host)
    share = _share(each.point for each in group)
    if varies(lambda point: point.place.provider) or point.place.emulated or share:
        parts.append(point.place.provider + (" (emulated)" if point.place.emulated else ""))
        parts += [share] if share else []
    settings = SETTINGS[:1] if figure.by == "device" else SETTINGS
    return ", ".join([*parts, *(text(point) for text in settings if varies(text))])


def _share(points: Iterable[Point]) -> str:
    """ "83 % of MACs": the share of all points of a panel, or "at least" the smallest."""
    shares = {point.receipt.share_text: point for point in points}
    partly = [point for share, point in shares.items() if share]
    if not partly:
        return ""
    least = min(partly, key=lambda point: point.receipt.share or 0.0)
    return least.receipt.share_text if len(shares) == 1 else f"at least {least.receipt.share_text}"


def _bracketed(points: Iterable[Point]) -> str:
    share = _share(points).removesuffix(" of MACs").replace("at least ", "≥ ")
    return f" ({share})" if share else ""


def _remarks(figure: Figure, shown: Sequence[Point], laws: Collection[PointKey]) -> list[str]:
    """How to read a mark, and the settings that all panels share."""
    remarks = [figure.key, figure.filled.key if figure.filled else ""]
    if any(point.key.series in laws for point in shown):
        remarks.append("thin line: law fitted to the best levels")
    if figure.by == "size":
        lengths = sorted({point.load.length for point in shown})
        span = units.counted(lengths[-1], "cached token" if figure.phase == "decode" else "token")
        remarks.append(f"at {span}" if len(lengths) == 1 else f"at {lengths[0]:,} to {span}")
    for text in (lambda point: point.place.provider, *SETTINGS):
        values = {text(point) for point in shown}
        remarks += values if len(values) == 1 else ()
    circled = ["circled: not steady (see the table)"] if any(_is_doubtful(figure, point) for point in shown) else []
    return [*filter(None, remarks), *circled, *_weights(shown), *_wrong(shown)]


def _wrong(shown: Sequence[Point]) -> list[str]:
    """The remark on crossed-out points: their names and errors."""
    worst = {}
    for point in sorted(shown, key=lambda point: point.receipt.max_rel_error or 0.0):
        on = point.place.label or point.place.provider
        name = f"{point.subject.model} {point.subject.precision} on {on}"
        worst[name] = point.receipt.difference_text
    by_verdict: dict[str, list[str]] = {}
    for name, verdict in worst.items():
        by_verdict.setdefault(verdict, []).append(name)
    texts = [f"{verdict} ({_some(names)})" for verdict, names in by_verdict.items() if verdict]
    return [f"crossed out: {'; '.join(texts)}"] if texts else []


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _weights(shown: Sequence[Point]) -> list[str]:
    random = {point.subject.model for point in shown if point.subject.weights.kind == "random"}
    if not random:
        return []
    everything = len(random) == len({point.subject.model for point in shown})
    return ["random weights" if everything else f"random weights: {', '.join(sorted(random))}"]
