"""The layout of a chart, in inches from the edges of the figure, computed before anything is drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from edgeprof.report import style
from edgeprof.report.chart import EMULATED, Chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

WIDTH_IN = {1: 8.0, 2: 9.5, 3: 10.5}  # by columns
HEIGHT_IN = 3.3  # of the box of a panel
LEFT_IN = 1.0  # minimum for a scale


@dataclass(frozen=True)
class Layout:
    """Boxes of equal size, row by row."""

    columns: int
    count: int
    width: float
    head: tuple[str, ...]  # lines below the title
    hatched: bool  # one more line explains the hatching
    right: float  # space for the labels beside each box
    titled: bool  # panels have a title
    events: int  # lines of text above each box
    shared: bool  # one scale for all panels, beside the first of each row

    left: float  # space for a scale

    top_pad, title, line, bottom, between = 0.15, 0.34, 0.24, 0.6, 0.62

    @property
    def over(self) -> float:
        """Space above a box for the names of its events."""
        return self.line * self.events

    @property
    def top(self) -> float:
        head = self.top_pad + self.title + self.line * (len(self.head) + self.hatched)
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
        """Whether the panel has a scale beside it."""
        return not self.shared or index % self.columns == 0

    def lowest(self, index: int) -> bool:
        """Whether no panel is below this one."""
        return index + self.columns >= self.count


def layout(chart: Chart) -> Layout:
    panels = chart.panels
    columns = min(len(panels), 3) if len(panels) != 4 else 2
    shared = len({panel.y for panel in panels}) == 1
    names = [line.label for panel in panels for line in panel.lines]
    names += [guide.label for panel in panels for guide in panel.guides]
    right = max(map(text_width_in, names)) + 0.3
    scale = max([LEFT_IN, *(0.55 + text_width_in(text) for text in _longest_ticks(chart))])
    left = scale if shared else columns * scale
    # Long names (checkpoints) widen the figure, so that boxes keep their size.
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
        hatched=chart.hatched,
        right=right,
        titled=any(panel.title for panel in panels),
        events=max(len(panel.events) for panel in panels),
        shared=shared,
        left=scale,
    )


def _longest_ticks(chart: Chart) -> list[str]:
    """The widest ticks to expect: round numbers near both ends of every scale."""
    drawn = [(panel.y.tick, [mark.y.middle for mark in panel.marks]) for panel in chart.panels if panel.marks]
    ends = [(tick, end) for tick, values in drawn for end in (min(values), max(values))]
    return [tick(10.0 ** math.floor(math.log10(end))) for tick, end in ends]


def text_width_in(text: str, size: float = style.LABEL_PT, *, bold: bool = False) -> float:
    """The width of a text as drawn, in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    font = FontProperties(weight="bold" if bold else "normal")
    return float(TextPath((0, 0), text, size=size, prop=font).get_extents().width) / 72


def wrap(parts: Sequence[str], width_in: float) -> tuple[str, ...]:
    """Wrap remarks into lines that fit; a remark that is too long for one line is broken between words."""
    lines = [""]
    for part in chain.from_iterable(_broken(remark, width_in) for remark in parts):
        longer = f"{lines[-1]} · {part}" if lines[-1] else part
        if text_width_in(longer) <= width_in:
            lines[-1] = longer
        else:
            lines.append(part)
    return tuple(filter(None, lines))


def _broken(part: str, width_in: float) -> list[str]:
    lines = [""]
    for word in part.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if not lines[-1] or text_width_in(longer) <= width_in:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def write_head(canvas: "Canvas", title: str, lines: Sequence[str], *, hatched: bool = False) -> None:
    """Write the title of a figure, its remarks, and the legend of the hatching where there is some."""
    width, height = canvas.get_size_inches()

    def write(inches_down: float, text: str, **look: Any) -> None:
        canvas.text(0.15 / width, 1 - inches_down / height, text, va="top", **look)

    write(Layout.top_pad, title, fontsize=style.TITLE_PT, fontweight="bold")
    for number, line in enumerate(lines):
        down = Layout.top_pad + Layout.title + Layout.line * number
        write(down, line, fontsize=style.FONT_PT, color=style.QUIET)
    if hatched:
        down = Layout.top_pad + Layout.title + Layout.line * len(lines)
        _swatch(canvas, down)
        canvas.text(0.55 / width, 1 - down / height, EMULATED, va="top", fontsize=style.FONT_PT, color=style.INK)


def _swatch(canvas: "Canvas", inches_down: float) -> None:
    from matplotlib.patches import Rectangle

    width, height = canvas.get_size_inches()
    place = (0.15 / width, 1 - (inches_down + 0.16) / height)
    look: dict[str, Any] = {"facecolor": "white", "edgecolor": style.QUIET, "linewidth": 0.6}
    canvas.add_artist(Rectangle(place, 0.32 / width, 0.16 / height, hatch=style.HATCH, **look))
