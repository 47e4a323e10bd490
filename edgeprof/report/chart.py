"""What a picture is made of, as plain numbers and words: a drawing knows neither points nor ledgers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from edgeprof import units
from edgeprof.recipe_table import Stroke

EMULATED = "emulated: the path is proven, the time means nothing"
"""What stands beside a hatched swatch."""


class ChartValue(NamedTuple):
    """A value with its interval; without one, all three are equal."""

    middle: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> "ChartValue":
        return cls(value, value, value)


class Band(NamedTuple):
    """From where to where the area below a mark is filled."""

    low: float
    high: float


@dataclass(frozen=True)
class Scale:
    """A logarithmic axis: what stands beside it, and how its ticks are written."""

    label: str
    tick: Callable[[float], str] = units.number
    base: Literal[2, 10] = 10


@dataclass(frozen=True)
class Mark:
    """One place on the axes; all values are positive."""

    x: float
    y: ChartValue
    name: str = ""  # stands beside the mark where there is room
    band: Band | None = None
    crossed: bool = False  # drawn, but not valid


@dataclass(frozen=True)
class Line:
    label: str
    colour: str
    stroke: Stroke
    marks: tuple[Mark, ...]  # along x
    joined: bool = True  # else the marks stand for themselves


@dataclass(frozen=True)
class Guide:
    """A quiet line behind all others: y = factor * x ** power, which is straight on logarithmic axes."""

    label: str
    factor: float
    power: Literal[0, 1] = 0


@dataclass(frozen=True)
class Event:
    """Something that happens at an x: a vertical line, named above the box."""

    label: str
    x: float


@dataclass(frozen=True)
class Panel:
    title: str  # empty where one panel is all there is to say
    y: Scale
    lines: tuple[Line, ...]
    guides: tuple[Guide, ...] = ()
    events: tuple[Event, ...] = ()
    hatched: bool = False  # what it shows was emulated

    @property
    def marks(self) -> list[Mark]:
        return [mark for line in self.lines for mark in line.marks]


@dataclass(frozen=True)
class Chart:
    """A figure ready to be drawn. Panels with the same `y` share its limits, so that they can be compared."""

    title: str
    remarks: tuple[str, ...]  # below the title: how to read a mark, what holds for all of it
    x: Scale
    panels: tuple[Panel, ...]
    square: bool = False  # x and y are the same quantity, within the same limits

    @property
    def hatched(self) -> bool:
        return any(panel.hatched for panel in self.panels)


# --- bars ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bar:
    label: str  # below
    top: str  # above
    parts: tuple[float, ...]  # heights from the ground up, one for each name of the chart
    hatched: bool = False  # what it shows was emulated


@dataclass(frozen=True)
class Group:
    """Bars that stand together."""

    label: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Stack:
    """A panel of stacked bars."""

    title: str
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Stacks:
    """A figure of stacked bars, ready to be drawn; its panels share a linear scale that begins at nothing."""

    title: str
    remarks: tuple[str, ...]
    label: str  # of the scale
    names: tuple[tuple[str, str], ...]  # of the parts, each with its colour
    panels: tuple[Stack, ...]
    height_in: float = 2.6  # of a panel
    tick: Callable[[float], str] | None = None  # how a tick of the scale is written, if not as a number

    @property
    def hatched(self) -> bool:
        return any(bar.hatched for panel in self.panels for group in panel.groups for bar in group.bars)
