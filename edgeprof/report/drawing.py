"""Draw a chart.

The layout is computed in inches, before anything is drawn, from the text that has to fit, so that no name is clipped.
Drawing uses matplotlib's objects and never its global state.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgeprof.report import chart_text, labels, style
from edgeprof.report.chart import Chart, Line, Scale
from edgeprof.report.layout import HEIGHT_IN, Layout, text_width_in, write_head
from edgeprof.report.layout import layout as arrange

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

PAGE_PX_PER_IN = 100


class Drawing:
    """A drawn figure, ready to be saved."""

    def __init__(self, canvas: "Canvas") -> None:
        self.canvas = canvas

    @property
    def page_size_px(self) -> tuple[int, int]:
        """Width and height in a page; text has the same size in all figures, close to that of the page."""
        width, height = self.canvas.get_size_inches()
        return round(width * PAGE_PX_PER_IN), round(height * PAGE_PX_PER_IN)

    def save(self, kind: str) -> bytes:
        """The bytes of a "png" or "svg" file, the same for the same records."""
        file = io.BytesIO()
        with style.look():
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            self.canvas.savefig(file, format=kind, dpi=style.DPI, metadata=metadata)
        return file.getvalue()


def draw(chart: Chart) -> Drawing:
    from matplotlib.figure import Figure as Canvas

    with style.look():
        canvas = Canvas(dpi=style.DPI)
        layout = arrange(chart)
        canvas.set_size_inches(layout.width, layout.height)
        write_head(canvas, chart.title, layout.head, hatched=chart.hatched)
        limits = _limits(chart)
        for index, panel in enumerate(chart.panels):
            axes = canvas.add_axes(layout.box(index))
            x_limits, y_limits = limits[panel.y]
            axes.set(xscale="log", yscale="log", xlim=x_limits, ylim=y_limits)
            _ticks(axes, chart, layout, index)
            chart_text.title(axes, panel, layout)
            if panel.hatched:
                axes.patch.set(hatch=style.HATCH, edgecolor=style.GRID)
            for line in panel.lines:
                _line(axes, line, faint=panel.hatched)
            chart_text.lines(axes, panel, layout)
            chart_text.marks(axes, panel)
            chart_text.events(axes, panel, layout)
    return Drawing(canvas)


# --- axes ----------------------------------------------------------------------------------------------


Limits = tuple[float, float]


def _limits(chart: Chart) -> dict[Scale, tuple[Limits, Limits]]:
    """Limits of x and y for each scale; panels that share a scale have the same limits and can be compared."""
    xs = [mark.x for panel in chart.panels for mark in panel.marks]
    limits = {}
    for scale in dict.fromkeys(panel.y for panel in chart.panels):
        panels = [panel for panel in chart.panels if panel.y == scale]
        ys = [edge for panel in panels for mark in panel.marks for edge in (mark.y.low, mark.y.high)]
        ys += [y for panel in panels for line in panel.lines for _, y in line.fitted]
        ys += [guide.factor for panel in panels for guide in panel.guides if guide.power == 0]
        same = _margin([*xs, *ys], 0.05)
        limits[scale] = (same, same) if chart.square else (_margin(xs, 0.05), _margin(ys, 0.06))
    return limits


def _margin(values: Sequence[float], share: float) -> Limits:
    """Limits that exceed the data by a share of the logarithmic range; they span a factor of 2 at least."""
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
    """Positions of ticks; the known lengths on an axis of token lengths with fewer than two powers of two."""
    if scale.base == 10:
        return labels.decades(low, high, most)
    ticks = labels.octaves(low, high, most)
    return ticks if len(ticks) >= 2 else [*known[:: max(1, -(-len(known) // most))]]


# --- lines ---------------------------------------------------------------------------------------------


def _line(axes: "Axes", line: Line, *, faint: bool) -> None:
    xs = [mark.x for mark in line.marks]
    look: dict[str, Any] = {"linewidth": 1.0, "alpha": 0.6} if faint else {}
    axes.plot(
        xs,
        [mark.y.middle for mark in line.marks],
        color=line.colour,
        **({"dashes": line.stroke.dashes or (None, None)} if line.joined else {"linestyle": "none"}),
        marker=line.stroke.marker,
        markerfacecolor="white" if line.stroke.hollow else line.colour,
        zorder=3,
        **look,
    )
    if line.fitted:
        across, up = zip(*line.fitted, strict=True)
        axes.plot(across, up, color=line.colour, linewidth=0.6, alpha=0.8, zorder=2.4)
    circled = [(mark.x, mark.y.middle) for mark in line.marks if mark.circled]
    if circled:
        across, up = zip(*circled, strict=True)
        axes.plot(across, up, "o", color=style.INK, fillstyle="none", markersize=10, markeredgewidth=0.7, zorder=2.8)
    crossed = [(mark.x, mark.y.middle) for mark in line.marks if mark.crossed]
    if crossed:
        across, up = zip(*crossed, strict=True)
        axes.plot(across, up, "x", color=style.INK, markersize=11, markeredgewidth=1.8, zorder=4)
    if any(mark.y.low < mark.y.high for mark in line.marks):
        lows, highs = [mark.y.low for mark in line.marks], [mark.y.high for mark in line.marks]
        axes.vlines(xs, lows, highs, color=line.colour, **{"linewidth": 1.4, **look}, zorder=2.5)
    bands = [(mark.x, *mark.band) for mark in line.marks if mark.band]
    if bands:
        xs, floors, tops = map(list, zip(*bands, strict=True))
        axes.fill_between(xs, floors, tops, color=line.colour, alpha=0.22, linewidth=0, zorder=2)
        axes.plot(xs, floors, color=line.colour, linewidth=0.8, alpha=0.7, zorder=2.2)
