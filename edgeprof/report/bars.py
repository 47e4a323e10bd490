"""Draw stacked bars: panels below each other, bars as wide as their names need."""

from typing import TYPE_CHECKING, Any

from edgeprof.report import style
from edgeprof.report.chart import Bar, Group, Stack, Stacks
from edgeprof.report.drawing import Drawing
from edgeprof.report.layout import text_width_in, wrap, write_head

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEFT_IN, BELOW_IN, ABOVE_IN = 0.95, 0.85, 0.42
SIDEWAYS_FROM = 12  # bars in a panel above which their names are rotated
GROUP_GAP = 0.6  # between groups, in widths of a bar
LINE_IN = 0.24
MIN_WIDTH_IN = 6.4


def draw(chart: Stacks) -> Drawing:
    from matplotlib.figure import Figure as Canvas

    with style.look():
        sideways = max(_count(panel) for panel in chart.panels) > SIDEWAYS_FROM
        names, tops = (
            max(text_width_in(getattr(bar, field)) for panel in chart.panels for bar in _bars(panel))
            for field in ("label", "top")
        )
        slot = 0.34 if sideways else max(0.5, names + 0.14, tops + 0.14)
        slot = max(slot, *(_min_slot(group) for panel in chart.panels for group in panel.groups))
        below, above = BELOW_IN + (names if sideways else 0.0), ABOVE_IN + (tops if sideways else 0.1)
        most, tall = max(_slots(panel) for panel in chart.panels), chart.height_in
        box = max(slot * most, 2.0)
        legend = max(text_width_in(name) for name, _ in chart.names) + 0.55
        width = max(LEFT_IN + box + legend, text_width_in(chart.title, style.TITLE_PT, bold=True) + 0.3, MIN_WIDTH_IN)
        box = width - LEFT_IN - legend
        head = wrap(chart.remarks, width - 0.3)
        top = 0.49 + LINE_IN * (len(head) + chart.hatched)
        height = top + len(chart.panels) * (above + tall + below)
        canvas = Canvas(figsize=(width, height), dpi=style.DPI)
        write_head(canvas, chart.title, head, hatched=chart.hatched)
        highest = max(max(sum(bar.parts), bar.line or 0) for panel in chart.panels for bar in _bars(panel))
        for number, panel in enumerate(chart.panels):
            down = top + number * (above + tall + below) + above
            across = box * _slots(panel) / most  # bars are as wide in every panel
            place = (LEFT_IN / width, 1 - (down + tall) / height, across / width, tall / height)
            axes = canvas.add_axes(place)
            axes.set(xlim=(-0.5 - GROUP_GAP / 2, _slots(panel) - 0.5 - GROUP_GAP / 2), ylim=(0, 1.04 * highest))
            axes.set_ylabel(chart.label)
            axes.grid(visible=False, axis="x")
            if chart.tick:
                axes.yaxis.set_major_formatter(lambda value, _: chart.tick(value) if chart.tick else "")
            axes.set_title(
                panel.title,
                loc="left",
                pad=72 * (above - 0.2),
                fontsize=style.FONT_PT,
                fontweight="bold",
                color=style.INK,
            )
            _draw_bars(axes, panel, chart, sideways=sideways, below=(below - 0.42) / tall)
            if number == 0:
                _legend(axes, chart, box)
    return Drawing(canvas)


def _min_slot(group: Group) -> float:
    """The slot width that the name of the group needs, in inches."""
    return (text_width_in(group.label, bold=True) + 0.12) / (len(group.bars) + GROUP_GAP)


def _bars(panel: Stack) -> list[Bar]:
    return [bar for group in panel.groups for bar in group.bars]


def _count(panel: Stack) -> int:
    return len(_bars(panel))


def _slots(panel: Stack) -> float:
    return _count(panel) + GROUP_GAP * len(panel.groups)


def _draw_bars(axes: "Axes", panel: Stack, chart: Stacks, *, sideways: bool, below: float) -> None:
    place, ticks, labels = 0.0, [], []
    turn = 90 if sideways else 0
    for group in panel.groups:
        first = place
        for bar in group.bars:
            floor = 0.0
            for (_, colour), part in zip(chart.names, bar.parts, strict=True):
                hatch = style.HATCH if bar.hatched and part else None
                fill: dict[str, Any] = {"color": colour, "edgecolor": "white", "linewidth": 0.3, "hatch": hatch}
                axes.bar(place, part, bottom=floor, width=0.84, **fill)
                floor += part
            if bar.line is not None:
                axes.plot([place - 0.48, place + 0.48], [bar.line] * 2, color=style.INK, linewidth=1.6)
            axes.annotate(
                bar.top,
                (place, max(floor, bar.line or 0)),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                va="bottom",
                rotation=turn,
                fontsize=style.LABEL_PT,
            )
            ticks.append(place)
            labels.append(bar.label)
            place += 1
        middle = (first + place - 1) / 2
        look: dict[str, Any] = {
            "ha": "center",
            "va": "center_baseline",
            "fontsize": style.LABEL_PT,
            "fontweight": "bold",
        }
        axes.text(middle, -below, group.label, transform=axes.get_xaxis_transform(), **look)
        place += GROUP_GAP
    axes.set_xticks(ticks, labels, rotation=turn)
    axes.tick_params(length=0)


def _legend(axes: "Axes", chart: Stacks, box_in: float) -> None:
    """Draw the names of the parts beside the first panel, in stacking order."""
    for number, (name, colour) in enumerate(reversed(chart.names)):
        height = 1 - (number + 0.5) * LINE_IN / chart.height_in
        axes.plot(
            [1 + 0.2 / box_in], [height], "s", color=colour, markersize=9, transform=axes.transAxes, clip_on=False
        )
        axes.text(1 + 0.36 / box_in, height, name, va="center_baseline", transform=axes.transAxes)
