"""The records of a chart, as plain numbers and text: drawing does not know points or ledgers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from edgeprof import units
from edgeprof.recipe_table import Stroke

EMULATED = "emulated: the path works, but its times are not meaningful"
"""The legend of a hatched swatch."""


class ChartValue(NamedTuple):
    """A value with its interval; without one, all three are equal."""

    middle: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> "ChartValue":
        return cls(value, value, value)


class Band(NamedTuple):
    """The lower and upper edge of the filled area at a mark."""

    low: float
    high: float


@dataclass(frozen=True)
class Scale:
    """A logarithmic axis: its label, and the format of its ticks."""

    label: str
    tick: Callable[[float], str] = units.number
    base: Literal[2, 10] = 10


@dataclass(frozen=True)
class Mark:
    """One position on the axes; all values are positive."""

    x: float
    y: ChartValue
    name: str = ""  # written beside the mark where there is space
    band: Band | None = None
    crossed: bool = False  # drawn, but not valid
    circled: bool = False  # drawn, but not to be relied on


@dataclass(frozen=True)
class Line:
    label: str
    colour: str
    stroke: Stroke
    marks: tuple[Mark, ...]  # along x
    joined: bool = True  # whether a line connects the marks
    fitted: tuple[tuple[float, float], ...] = ()  # a curve fitted to the marks, along x


@dataclass(frozen=True)
class Guide:
    """A reference line behind the others: y = factor * x ** power, straight on logarithmic axes."""

    label: str
    factor: float
    power: Literal[0, 1] = 0
    up_to: float = math.inf  # the y at which a line that rises ends


@dataclass(frozen=True)
class Event:
    """A vertical line at an x, named above the panel."""

    label: str
    x: float


@dataclass(frozen=True)
class Panel:
    title: str  # empty for a single panel
    y: Scale
    lines: tuple[Line, ...]
    guides: tuple[Guide, ...] = ()
    events: tuple[Event, ...] = ()
    hatched: bool = False  # its device is emulated

    @property
    def marks(self) -> list[Mark]:
        return [mark for line in self.lines for mark in line.marks]


@dataclass(frozen=True)
class Chart:
    """A figure ready to be drawn. Panels with the same `y` share its limits, which makes them comparable."""

    title: str
    remarks: tuple[str, ...]  # below the title: how to read a mark, and settings common to all panels
    x: Scale
    panels: tuple[Panel, ...]
    square: bool = False  # x and y are the same quantity, within the same limits

    @property
    def hatched(self) -> bool:
        return any(panel.hatched for panel in self.panels)


# --- bars ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    label: str  # below the bar
    top: str  # above the bar
    parts: tuple[float, ...]  # heights from bottom to top, one for each name of the chart
    hatched: bool = False  # its device is emulated
    line: float | None = None  # a height marked across the bar


@dataclass(frozen=True)
class Group:
    """Adjacent bars under one label."""

    label: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Stack:
    """A panel of stacked bars."""

    title: str
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Stacks:
    """A figure of stacked bars, ready to be drawn; its panels share a linear scale that starts at 0."""

    title: str
    remarks: tuple[str, ...]
    label: str  # of the scale
    names: tuple[tuple[str, str], ...]  # parts, each with its colour
    panels: tuple[Stack, ...]
    height_in: float = 2.6  # of a panel
    tick: Callable[[float], str] | None = None  # format of a tick; None writes a plain number

    @property
    def hatched(self) -> bool:
        return any(bar.hatched for panel in self.panels for group in panel.groups for bar in group.bars)
