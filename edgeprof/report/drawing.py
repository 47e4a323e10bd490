"""How a row of the table becomes a picture: one common way for all of them.

The layout is computed in inches, before anything is drawn, from the text that has to fit: nothing is clipped, whatever
the names are. Drawing uses matplotlib's objects and never its global state.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeprof.report import labels, style
from edgeprof.report.figures import Axis, Band, Figure
from edgeprof.report.panels import Line, Mark, Panel, arrange, remarks
from edgeprof.schema import Findings, Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

WIDTH_IN = {1: 8.0, 2: 9.5, 3: 10.5}  # by columns
HEIGHT_IN = 3.3  # of the box of a panel
PAGE_PX_PER_IN = 100
LABEL_GAP_IN = 1.22 * style.LABEL_PT / 72


class Drawing:
    """A figure that has data, ready to be saved."""

    def __init__(self, canvas: "Canvas") -> None:
        self.canvas = canvas

    @property
    def page_size_px(self) -> tuple[int, int]:
        """Width and height in a page: text of one size in all figures, about that of the page."""
        width, height = self.canvas.get_size_inches()
        return round(width * PAGE_PX_PER_IN), round(height * PAGE_PX_PER_IN)

    def save(self, kind: str) -> bytes:
        """The file, "png" or "svg": the same bytes for the same records."""
        file = io.BytesIO()
        with style.look():
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            self.canvas.savefig(file, format=kind, dpi=style.DPI, metadata=metadata)
        return file.getvalue()


def draw(figure: Figure, points: Sequence[Point], findings: Findings) -> Drawing | None:
    """Draw a row of the table, or return None where no point of the run belongs on it."""
    from matplotlib.figure import Figure as Canvas

    panels = arrange(figure, points, findings)
    if not panels:
        return None
    with style.look():
        canvas = Canvas(dpi=style.DPI)
        layout = _layout(figure, panels)
        canvas.set_size_inches(layout.width, layout.height)
        _head(canvas, layout, figure.title)
        x_limits, y_limits = _limits(figure, panels)
        lengths = sorted({mark.x for panel in panels for mark in panel.marks})
        for index, panel in enumerate(panels):
            axes = canvas.add_axes(layout.box(index))
            axes.set(xscale="log", yscale="log", xlim=x_limits, ylim=y_limits)
            _ticks(axes, figure, layout, index, lengths)
            axes.set_title(panel.title, loc="left", fontsize=style.FONT_PT, fontweight="bold", color=style.INK)
            for line in panel.lines:
                _line(axes, figure, line)
            _name_lines(axes, figure, panel, layout)
            if figure.by == "size":
                _name_sizes(axes, panel)
    return Drawing(canvas)


# --- layout --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """Inches from the figure's edges; boxes of equal size, row by row."""

    columns: int
    count: int
    width: float
    head: tuple[str, ...]  # lines below the title
    right: float  # room for the labels beside each box
    titled: bool  # panels have a title

    top_pad, title, line, left, bottom, between = 0.15, 0.34, 0.24, 1.0, 0.6, 0.62

    @property
    def top(self) -> float:
        return self.top_pad + self.title + self.line * len(self.head) + (0.36 if self.titled else 0.12)

    @property
    def rows(self) -> int:
        return -(-self.count // self.columns)

    @property
    def height(self) -> float:
        return self.top + self.rows * HEIGHT_IN + (self.rows - 1) * self.between + self.bottom

    @property
    def box_width(self) -> float:
        return (self.width - self.left) / self.columns - self.right

    def box(self, index: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a panel, as shares of the figure."""
        row, column = divmod(index, self.columns)
        left = self.left + column * (self.box_width + self.right)
        bottom = self.height - self.top - (row + 1) * HEIGHT_IN - row * self.between
        return (left / self.width, bottom / self.height, self.box_width / self.width, HEIGHT_IN / self.height)

    def lowest(self, index: int) -> bool:
        """No panel stands below this one."""
        return index + self.columns >= self.count


def _layout(figure: Figure, panels: Sequence[Panel]) -> Layout:
    columns = min(len(panels), 3) if len(panels) != 4 else 2
    names = [line.label for panel in panels for line in panel.lines]
    names += [figure.band.ground_label] if figure.band else []
    right = max(map(_width_in, names)) + 0.3
    # Long names (checkpoints) widen the picture rather than squeeze the boxes. Titles are bold: a tenth wider.
    title = max(1.1 * _width_in(panel.title) for panel in panels)
    width = max(WIDTH_IN[columns], Layout.left + columns * max(1.6 + right, title + 0.2))
    return Layout(
        columns=columns,
        count=len(panels),
        width=width,
        head=_wrap(remarks(figure, panels), width - 0.3),
        right=right,
        titled=any(panel.title for panel in panels),
    )


def _width_in(text: str) -> float:
    """How wide a text is, at the size of labels."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    return float(TextPath((0, 0), text, size=style.LABEL_PT, prop=FontProperties()).get_extents().width) / 72


def _wrap(parts: Sequence[str], width_in: float) -> tuple[str, ...]:
    """Remarks into lines that fit."""
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        if _width_in(longer) <= width_in:
            lines[-1] = longer
        else:
            lines.append(part)
    return tuple(filter(None, lines))


def _head(canvas: "Canvas", layout: Layout, title: str) -> None:
    def text(inches_down: float, words: str, **look: Any) -> None:
        canvas.text(0.15 / layout.width, 1 - inches_down / layout.height, words, va="top", **look)

    text(layout.top_pad, title, fontsize=style.TITLE_PT, fontweight="bold")
    for number, line in enumerate(layout.head):
        down = layout.top_pad + layout.title + layout.line * number
        text(down, line, fontsize=style.FONT_PT, color=style.QUIET)


# --- axes ----------------------------------------------------------------------------------------------


def _limits(figure: Figure, panels: Sequence[Panel]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The same for all panels, so that they can be compared."""
    marks = [mark for panel in panels for mark in panel.marks]
    ys = [edge for mark in marks for edge in (mark.y.low, mark.y.high)]
    if figure.band:
        ys += [ground for mark in marks if (ground := figure.band.ground(mark.point))]
    return _margin([mark.x for mark in marks], 0.05), _margin(ys, 0.06)


def _margin(values: Sequence[float], share: float) -> tuple[float, float]:
    """Limits a share of the (logarithmic) range beyond the data; at least a factor of 2 in all."""
    low, high = min(values), max(values)
    if high / low < 2:
        middle = (low * high) ** 0.5
        low, high = min(low, middle / 2**0.5), max(high, middle * 2**0.5)
    factor = (high / low) ** share
    return low / factor, high * factor


def _ticks(axes: "Axes", figure: Figure, layout: Layout, index: int, lengths: Sequence[float]) -> None:
    from matplotlib.ticker import NullLocator

    tick_width_in = 0.45 if figure.x.base == 2 else 0.65
    for axis, quantity, limits, most in (
        (axes.xaxis, figure.x, axes.get_xlim(), int(layout.box_width / tick_width_in)),
        (axes.yaxis, figure.y, axes.get_ylim(), int(HEIGHT_IN / 0.35)),
    ):
        ticks = _places(quantity, *limits, most, lengths)
        axis.set_ticks(ticks, [quantity.tick(tick) for tick in ticks])
        axis.set_minor_locator(NullLocator())
    axes.tick_params(length=0, labelleft=index % layout.columns == 0, labelbottom=layout.lowest(index))
    if index % layout.columns == 0:
        axes.set_ylabel(figure.y.label)
    if layout.lowest(index):
        axes.set_xlabel(figure.x.label)


def _places(quantity: Axis, low: float, high: float, most: int, lengths: Sequence[float]) -> list[float]:
    """Ticks; on an axis of token lengths that spans no two powers of two, the lengths that were measured."""
    if quantity.base == 10:
        return labels.decades(low, high, most)
    ticks = labels.octaves(low, high, most)
    return ticks if len(ticks) >= 2 else [*lengths[:: max(1, -(-len(lengths) // most))]]


# --- lines ---------------------------------------------------------------------------------------------


def _line(axes: "Axes", figure: Figure, line: Line) -> None:
    xs = [mark.x for mark in line.marks]
    axes.plot(
        xs,
        [mark.y.middle for mark in line.marks],
        color=line.colour,
        dashes=line.stroke.dashes or (None, None),
        marker=line.stroke.marker,
        markerfacecolor="white" if line.stroke.hollow else line.colour,
        zorder=3,
    )
    if figure.interval:
        lows, highs = [mark.y.low for mark in line.marks], [mark.y.high for mark in line.marks]
        axes.vlines(xs, lows, highs, color=line.colour, linewidth=1.4, zorder=2.5)
    if figure.band:
        _band(axes, figure.band, line)


def _band(axes: "Axes", band: Band, line: Line) -> None:
    rows = [(mark.x, band.floor(mark.point), band.height(mark.point)) for mark in line.marks]
    known = [(x, low, low + height) for x, low, height in rows if low and height is not None]
    if known:
        xs, lows, highs = zip(*known, strict=True)
        axes.fill_between(xs, lows, highs, color=line.colour, alpha=0.22, linewidth=0, zorder=2)
        axes.plot(xs, lows, color=line.colour, linewidth=0.8, alpha=0.7, zorder=2.2)


# --- names ---------------------------------------------------------------------------------------------


def _name_lines(axes: "Axes", figure: Figure, panel: Panel, layout: Layout) -> None:
    """Each line's name beside its right end, moved apart where ends are close, tied to its end by a thin stroke."""
    ends = [(line.label, line.colour, line.marks[-1].x, line.marks[-1].y.middle) for line in panel.lines]
    if figure.band:
        ends += _ground(axes, figure.band, panel)
    to_axes = axes.transData + axes.transAxes.inverted()
    places = [to_axes.transform((x, y)) for _, _, x, y in ends]
    heights = labels.spread([y for _, y in places], LABEL_GAP_IN / HEIGHT_IN, 0.0, 1.0)
    turn, text = 1 + 0.14 / layout.box_width, 1 + 0.18 / layout.box_width
    in_axes: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    for (label, colour, _, _), (x, y), height in zip(ends, places, heights, strict=True):
        axes.plot([x, 1, turn], [y, height, height], color=colour, linewidth=0.7, alpha=0.6, **in_axes)
        look: dict[str, Any] = {"fontsize": style.LABEL_PT, "color": style.darker(colour), "va": "center_baseline"}
        axes.text(text, height, label, **look, **in_axes)


def _ground(axes: "Axes", band: Band, panel: Panel) -> list[tuple[str, str, float, float]]:
    """The quiet line below all bands; comes back as one more line to be named."""
    grounds = sorted(ground for mark in panel.marks if (ground := band.ground(mark.point)))
    if not grounds:
        return []
    middle = grounds[len(grounds) // 2]
    axes.axhline(middle, color=style.QUIET, linewidth=1.2, linestyle=(0, (1, 2)), zorder=1.5)
    return [(band.ground_label, style.QUIET, axes.get_xlim()[1], middle)]


def _name_sizes(axes: "Axes", panel: Panel) -> None:
    """The variant beside its first mark, above or below the line; left out where it would touch anything."""
    unit = axes.figure.dpi / 72 * style.LABEL_PT
    to_pixels = axes.transData.transform
    on_lines: list[tuple[float, float]] = []
    first: dict[str, tuple[Line, Mark]] = {}
    for line in panel.lines:
        on_lines += labels.along([tuple(to_pixels((mark.x, mark.y.middle))) for mark in line.marks], unit / 2)
        for mark in line.marks:
            first.setdefault(mark.point.variant, (line, mark))
    within = labels.Box(*axes.get_window_extent().extents)
    taken: list[labels.Box] = []
    for line, mark in first.values():
        place = (mark.x, mark.y.middle)
        boxes = _beside(*to_pixels(place), width=0.66 * unit * len(mark.short_name), unit=unit)
        side = labels.first_free(boxes, within, taken, on_lines)
        if side is None:
            continue
        taken.append(boxes[side])
        ha, va, offset = (("right", "bottom", (-5, 2)), ("left", "top", (5, -2)))[side]
        look: dict[str, Any] = {"ha": ha, "va": va, "fontsize": style.LABEL_PT, "color": style.darker(line.colour)}
        axes.annotate(mark.short_name, place, xytext=offset, textcoords="offset points", **look)


def _beside(x: float, y: float, *, width: float, unit: float) -> tuple[labels.Box, labels.Box]:
    """Room for a name above and to the left of a mark, and below and to the right."""
    near, far = 0.4 * unit, 0.4 * unit + width
    return (
        labels.Box(x - far, y + 0.2 * unit, x - near, y + 1.2 * unit),
        labels.Box(x + near, y - 1.2 * unit, x + far, y - 0.2 * unit),
    )
