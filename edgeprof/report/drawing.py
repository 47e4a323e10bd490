"""How a chart becomes a picture: one common way for all of them.

The layout is computed in inches, before anything is drawn, from the text that has to fit: nothing is clipped, whatever
the names are. Drawing uses matplotlib's objects and never its global state.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeprof.report import labels, style
from edgeprof.report.chart import Chart, Guide, Line, Mark, Panel, Scale

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


def draw(chart: Chart) -> Drawing:
    from matplotlib.figure import Figure as Canvas

    with style.look():
        canvas = Canvas(dpi=style.DPI)
        layout = _layout(chart)
        canvas.set_size_inches(layout.width, layout.height)
        write_head(canvas, chart.title, layout.head)
        limits = _limits(chart)
        for index, panel in enumerate(chart.panels):
            axes = canvas.add_axes(layout.box(index))
            x_limits, y_limits = limits[panel.y]
            axes.set(xscale="log", yscale="log", xlim=x_limits, ylim=y_limits)
            _ticks(axes, chart, layout, index)
            _title(axes, panel, layout)
            for line in panel.lines:
                _line(axes, line)
            _name_lines(axes, panel, layout)
            _name_marks(axes, panel)
            _events(axes, panel, layout)
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
    events: int  # lines of text above each box
    shared: bool  # one scale for all panels: it stands beside the first of a row

    top_pad, title, line, left, bottom, between = 0.15, 0.34, 0.24, 1.0, 0.6, 0.62

    @property
    def over(self) -> float:
        """Room above a box for the names of its events."""
        return self.line * self.events

    @property
    def top(self) -> float:
        head = self.top_pad + self.title + self.line * len(self.head)
        return head + (0.36 if self.titled else 0.12) + self.over

    @property
    def rows(self) -> int:
        return -(-self.count // self.columns)

    @property
    def height(self) -> float:
        return self.top + self.rows * HEIGHT_IN + (self.rows - 1) * (self.between + self.over) + self.bottom

    @property
    def pitch(self) -> float:
        """From the left edge of a box to that of the next."""
        return (self.width - self.left + (0 if self.shared else self.left)) / self.columns

    @property
    def box_width(self) -> float:
        return self.pitch - self.right - (0 if self.shared else self.left)

    def box(self, index: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a panel, as shares of the figure."""
        row, column = divmod(index, self.columns)
        left = self.left + column * self.pitch
        bottom = self.height - self.top - (row + 1) * HEIGHT_IN - row * (self.between + self.over)
        return (left / self.width, bottom / self.height, self.box_width / self.width, HEIGHT_IN / self.height)

    def scaled(self, index: int) -> bool:
        """The panel has its scale beside it."""
        return not self.shared or index % self.columns == 0

    def lowest(self, index: int) -> bool:
        """No panel stands below this one."""
        return index + self.columns >= self.count


def _layout(chart: Chart) -> Layout:
    panels = chart.panels
    columns = min(len(panels), 3) if len(panels) != 4 else 2
    shared = len({panel.y for panel in panels}) == 1
    names = [line.label for panel in panels for line in panel.lines]
    names += [guide.label for panel in panels for guide in panel.guides]
    right = max(map(text_width_in, names)) + 0.3
    left = Layout.left if shared else columns * Layout.left
    # Long names (checkpoints) widen the picture rather than squeeze the boxes.
    over = [text_width_in(panel.title, bold=True) for panel in panels]
    over += [text_width_in(event.label) for panel in panels for event in panel.events]
    inner = max((1.6 if shared else 2.5) + right, 0.2 + max(over))
    title = text_width_in(chart.title, style.TITLE_PT, bold=True) + 0.3
    width = max(WIDTH_IN[columns], left + columns * inner, title)
    return Layout(
        columns=columns,
        count=len(panels),
        width=width,
        head=wrap(chart.remarks, width - 0.3),
        right=right,
        titled=any(panel.title for panel in panels),
        events=max(len(panel.events) for panel in panels),
        shared=shared,
    )


def text_width_in(text: str, size: float = style.LABEL_PT, *, bold: bool = False) -> float:
    """How wide a text is when it is drawn."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    font = FontProperties(weight="bold" if bold else "normal")
    return float(TextPath((0, 0), text, size=size, prop=font).get_extents().width) / 72


def wrap(parts: Sequence[str], width_in: float) -> tuple[str, ...]:
    """Remarks into lines that fit."""
    lines = [""]
    for part in parts:
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        if text_width_in(longer) <= width_in:
            lines[-1] = longer
        else:
            lines.append(part)
    return tuple(filter(None, lines))


def write_head(canvas: "Canvas", title: str, lines: Sequence[str]) -> None:
    """The title of a figure, and what holds for all of it."""
    width, height = canvas.get_size_inches()

    def text(inches_down: float, words: str, **look: Any) -> None:
        canvas.text(0.15 / width, 1 - inches_down / height, words, va="top", **look)

    text(Layout.top_pad, title, fontsize=style.TITLE_PT, fontweight="bold")
    for number, line in enumerate(lines):
        down = Layout.top_pad + Layout.title + Layout.line * number
        text(down, line, fontsize=style.FONT_PT, color=style.QUIET)


# --- axes ----------------------------------------------------------------------------------------------


Limits = tuple[float, float]


def _limits(chart: Chart) -> dict[Scale, tuple[Limits, Limits]]:
    """Of x and y, for each scale; panels that share a scale have the same, so that they can be compared."""
    xs = [mark.x for panel in chart.panels for mark in panel.marks]
    found = {}
    for scale in dict.fromkeys(panel.y for panel in chart.panels):
        panels = [panel for panel in chart.panels if panel.y == scale]
        ys = [edge for panel in panels for mark in panel.marks for edge in (mark.y.low, mark.y.high)]
        ys += [guide.factor for panel in panels for guide in panel.guides if guide.power == 0]
        same = _margin([*xs, *ys], 0.05)
        found[scale] = (same, same) if chart.square else (_margin(xs, 0.05), _margin(ys, 0.06))
    return found


def _margin(values: Sequence[float], share: float) -> Limits:
    """Limits a share of the (logarithmic) range beyond the data; at least a factor of 2 in all."""
    low, high = min(values), max(values)
    if high / low < 2:
        middle = (low * high) ** 0.5
        low, high = min(low, middle / 2**0.5), max(high, middle * 2**0.5)
    factor = (high / low) ** share
    return low / factor, high * factor


def _ticks(axes: "Axes", chart: Chart, layout: Layout, index: int) -> None:
    from matplotlib.ticker import NullLocator

    x, y = chart.x, chart.panels[index].y
    known = sorted({mark.x for panel in chart.panels for mark in panel.marks})
    tick_width_in = 0.45 if x.base == 2 else 0.65
    tick_width_in = max(tick_width_in, text_width_in(x.tick(known[-1])) + 0.12)
    for axis, scale, limits, most in (
        (axes.xaxis, x, axes.get_xlim(), int(layout.box_width / tick_width_in)),
        (axes.yaxis, y, axes.get_ylim(), int(HEIGHT_IN / 0.35)),
    ):
        ticks = _places(scale, *limits, most, known)
        axis.set_ticks(ticks, [scale.tick(tick) for tick in ticks])
        axis.set_minor_locator(NullLocator())
    axes.tick_params(length=0, labelleft=layout.scaled(index), labelbottom=layout.lowest(index))
    if layout.scaled(index):
        axes.set_ylabel(y.label)
    if layout.lowest(index):
        axes.set_xlabel(x.label)


def _places(scale: Scale, low: float, high: float, most: int, known: Sequence[float]) -> list[float]:
    """Ticks; on an axis of token lengths that spans no two powers of two, the lengths that there are."""
    if scale.base == 10:
        return labels.decades(low, high, most)
    ticks = labels.octaves(low, high, most)
    return ticks if len(ticks) >= 2 else [*known[:: max(1, -(-len(known) // most))]]


# --- lines ---------------------------------------------------------------------------------------------


def _line(axes: "Axes", line: Line) -> None:
    xs = [mark.x for mark in line.marks]
    axes.plot(
        xs,
        [mark.y.middle for mark in line.marks],
        color=line.colour,
        **({"dashes": line.stroke.dashes or (None, None)} if line.joined else {"linestyle": "none"}),
        marker=line.stroke.marker,
        markerfacecolor="white" if line.stroke.hollow else line.colour,
        zorder=3,
    )
    if any(mark.y.low < mark.y.high for mark in line.marks):
        lows, highs = [mark.y.low for mark in line.marks], [mark.y.high for mark in line.marks]
        axes.vlines(xs, lows, highs, color=line.colour, linewidth=1.4, zorder=2.5)
    bands = [(mark.x, *mark.band) for mark in line.marks if mark.band]
    if bands:
        xs, floors, tops = map(list, zip(*bands, strict=True))
        axes.fill_between(xs, floors, tops, color=line.colour, alpha=0.22, linewidth=0, zorder=2)
        axes.plot(xs, floors, color=line.colour, linewidth=0.8, alpha=0.7, zorder=2.2)


# --- names ---------------------------------------------------------------------------------------------


def _title(axes: "Axes", panel: Panel, layout: Layout) -> None:
    pad = 6.0 + 72 * layout.over  # points; 6 is matplotlib's own
    axes.set_title(panel.title, loc="left", pad=pad, fontsize=style.FONT_PT, fontweight="bold", color=style.INK)


def _name_lines(axes: "Axes", panel: Panel, layout: Layout) -> None:
    """Each line's name beside its right end, moved apart where ends are close, tied to its end by a thin stroke."""
    ends = [(line.label, line.colour, line.marks[-1].x, line.marks[-1].y.middle) for line in panel.lines]
    ends += [(guide.label, style.QUIET, *_guide(axes, guide)) for guide in panel.guides]
    to_axes = axes.transData + axes.transAxes.inverted()
    places = [to_axes.transform((x, y)) for _, _, x, y in ends]
    heights = labels.spread([y for _, y in places], LABEL_GAP_IN / HEIGHT_IN, 0.0, 1.0)
    turn, text = 1 + 0.14 / layout.box_width, 1 + 0.18 / layout.box_width
    in_axes: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    for (label, colour, _, _), (x, y), height in zip(ends, places, heights, strict=True):
        axes.plot([x, 1, turn], [y, height, height], color=colour, linewidth=0.7, alpha=0.6, **in_axes)
        look: dict[str, Any] = {"fontsize": style.LABEL_PT, "color": style.darker(colour), "va": "center_baseline"}
        axes.text(text, height, label, **look, **in_axes)


def _guide(axes: "Axes", guide: Guide) -> tuple[float, float]:
    """Draw a guide across the box; comes back with its right end."""
    xs = axes.get_xlim()
    ys = [guide.factor * x**guide.power for x in xs]
    axes.plot(xs, ys, color=style.QUIET, linewidth=1.2, linestyle=(0, (1, 2)), zorder=1.5)
    return xs[1], ys[1]


def _events(axes: "Axes", panel: Panel, layout: Layout) -> None:
    """A vertical line for each event, up to its name above the box: there no line and no other name can be."""
    across = axes.get_xaxis_transform()
    to_axes = axes.transData + axes.transAxes.inverted()
    widest = 1 + (layout.right - 0.12) / layout.box_width  # as far as the longest name beside the box
    for number, event in enumerate(sorted(panel.events, key=lambda event: event.x)):
        height = 1 + layout.line * (number + 0.5) / HEIGHT_IN
        look: dict[str, Any] = {"color": style.INK, "clip_on": False}
        axes.plot([event.x] * 2, [0, height - 0.09 / HEIGHT_IN], linewidth=0.9, zorder=1.8, transform=across, **look)
        half = text_width_in(event.label) / 2 / layout.box_width
        middle = min(max(float(to_axes.transform((event.x, 1))[0]), half), widest - half)
        words: dict[str, Any] = {"fontsize": style.LABEL_PT, "ha": "center", "va": "center_baseline"}
        axes.text(middle, height, event.label, transform=axes.transAxes, **words, **look)


def _name_marks(axes: "Axes", panel: Panel) -> None:
    """A name beside the first mark that has it, above or below the line; left out where it would touch anything.

    Lines of one colour are about the same things: what one of them names, the others need not.
    """
    unit = axes.figure.dpi / 72 * style.LABEL_PT
    to_pixels = axes.transData.transform
    on_lines: list[tuple[float, float]] = []
    first: dict[tuple[str, str], tuple[Line, Mark]] = {}
    for line in panel.lines:
        on_lines += labels.along([tuple(to_pixels((mark.x, mark.y.middle))) for mark in line.marks], unit / 2)
        for mark in line.marks:
            if mark.name:
                first.setdefault((line.colour, mark.name), (line, mark))
    within = labels.Box(*axes.get_window_extent().extents)
    taken: list[labels.Box] = []
    for line, mark in first.values():
        place = (mark.x, mark.y.middle)
        boxes = _beside(*to_pixels(place), width=0.66 * unit * len(mark.name), unit=unit)
        side = labels.first_free(boxes, within, taken, on_lines)
        if side is None:
            continue
        taken.append(boxes[side])
        ha, va, offset = (("right", "bottom", (-5, 2)), ("left", "top", (5, -2)))[side]
        look: dict[str, Any] = {"ha": ha, "va": va, "fontsize": style.LABEL_PT, "color": style.darker(line.colour)}
        axes.annotate(mark.name, place, xytext=offset, textcoords="offset points", **look)


def _beside(x: float, y: float, *, width: float, unit: float) -> tuple[labels.Box, labels.Box]:
    """Room for a name above and to the left of a mark, and below and to the right."""
    near, far = 0.4 * unit, 0.4 * unit + width
    return (
        labels.Box(x - far, y + 0.2 * unit, x - near, y + 1.2 * unit),
        labels.Box(x + near, y - 1.2 * unit, x + far, y - 0.2 * unit),
    )
