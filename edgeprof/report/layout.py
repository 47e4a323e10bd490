"""Where a chart's parts go, in inches from the figure's edges, computed before anything is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeprof.report import style
from edgeprof.report.chart import Chart

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

WIDTH_IN = {1: 8.0, 2: 9.5, 3: 10.5}  # by columns
HEIGHT_IN = 3.3  # of the box of a panel


@dataclass(frozen=True)
class Layout:
    """Boxes of equal size, row by row."""

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


def layout(chart: Chart) -> Layout:
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
