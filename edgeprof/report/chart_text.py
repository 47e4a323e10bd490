"""Text within a chart: titles, labels at line ends, events above a panel, names beside marks."""

from typing import TYPE_CHECKING, Any

from edgeprof.report import labels, style
from edgeprof.report.chart import Guide, Line, Mark, Panel
from edgeprof.report.layout import HEIGHT_IN, Layout, text_width_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABEL_GAP_IN = 1.22 * style.LABEL_PT / 72


def title(axes: "Axes", panel: Panel, layout: Layout) -> None:
    pad = 6.0 + 72 * layout.over  # points; 6 is matplotlib's own
    axes.set_title(panel.title, loc="left", pad=pad, fontsize=style.FONT_PT, fontweight="bold", color=style.INK)


def lines(axes: "Axes", panel: Panel, layout: Layout) -> None:
    """Label each line at its right end; labels move apart where ends are close, with a thin stroke to the end."""
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
    """Draw a guide, across the panel or up to its end, and return its right end."""
    xs = axes.get_xlim()
    if guide.power:
        xs = xs[0], max(xs[0], min(xs[1], guide.up_to / guide.factor))
    ys = [guide.factor * x**guide.power for x in xs]
    axes.plot(xs, ys, color=style.QUIET, linewidth=1.2, linestyle=(0, (1, 2)), zorder=1.5)
    return xs[1], ys[1]


def events(axes: "Axes", panel: Panel, layout: Layout) -> None:
    """Draw a vertical line for each event, up to its name above the panel, which no line or label reaches."""
    across = axes.get_xaxis_transform()
    to_axes = axes.transData + axes.transAxes.inverted()
    widest = 1 + (layout.right - 0.12) / layout.box_width  # to the end of the longest label beside the panel
    for number, event in enumerate(sorted(panel.events, key=lambda event: event.x)):
        height = 1 + layout.line * (number + 0.5) / HEIGHT_IN
        look: dict[str, Any] = {"color": style.INK, "clip_on": False}
        axes.plot([event.x] * 2, [0, height - 0.09 / HEIGHT_IN], linewidth=0.9, zorder=1.8, transform=across, **look)
        half = text_width_in(event.label) / 2 / layout.box_width
        middle = min(max(float(to_axes.transform((event.x, 1))[0]), half), widest - half)
        font: dict[str, Any] = {"fontsize": style.LABEL_PT, "ha": "center", "va": "center_baseline"}
        axes.text(middle, height, event.label, transform=axes.transAxes, **font, **look)


def marks(axes: "Axes", panel: Panel) -> None:
    """Name the first mark of each name, above or below the line; skip names that would overlap anything.

    Lines of one colour show the same models, so each name is written once per colour.
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
    occupied: list[labels.Box] = []
    for line, mark in first.values():
        place = (mark.x, mark.y.middle)
        boxes = _beside(*to_pixels(place), width=0.66 * unit * len(mark.name), unit=unit)
        side = labels.first_free(boxes, within, occupied, on_lines)
        if side is None:
            continue
        occupied.append(boxes[side])
        ha, va, offset = (("right", "bottom", (-5, 2)), ("left", "top", (5, -2)))[side]
        look: dict[str, Any] = {"ha": ha, "va": va, "fontsize": style.LABEL_PT, "color": style.darker(line.colour)}
        axes.annotate(mark.name, place, xytext=offset, textcoords="offset points", **look)


def _beside(x: float, y: float, *, width: float, unit: float) -> tuple[labels.Box, labels.Box]:
    """Boxes for a name above left of a mark, and below right of it."""
    near, far = 0.4 * unit, 0.4 * unit + width
    return (
        labels.Box(x - far, y + 0.2 * unit, x - near, y + 1.2 * unit),
        labels.Box(x + near, y - 1.2 * unit, x + far, y - 0.2 * unit),
    )
