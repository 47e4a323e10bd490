"""The speed of long runs over time, with temperature and clock where the system tells them."""

from collections.abc import Callable, Iterator, Sequence

from edgeprof.report import style
from edgeprof.report.chart import Chart, ChartValue, Line, Mark, Panel, Scale
from edgeprof.schema import Spell, SustainedPass

NAME, TITLE = "sustained", "Speed of long runs over time"
TIME = Scale("Time (s)")

PANELS: tuple[tuple[str, Scale, Callable[[Spell], float | None]], ...] = (
    ("Speed", Scale("Runs per second"), lambda spell: 1 / spell.median_s),
    ("Temperature", Scale("Hottest sensor (°C)"), lambda spell: spell.temperature_c),
    ("Clock", Scale("Fastest core (MHz)"), lambda spell: spell.clock_mhz),
)


def arrange(passes: Sequence[SustainedPass]) -> Chart | None:
    """A panel for each quantity that is known; None where no point was run for long."""
    panels = [
        Panel(title=title, y=scale, lines=lines) for title, scale, of in PANELS if (lines := tuple(_lines(passes, of)))
    ]
    return Chart(title=TITLE, remarks=("each mark: one spell",), x=TIME, panels=tuple(panels)) if panels else None


def _lines(passes: Sequence[SustainedPass], of: Callable[[Spell], float | None]) -> Iterator[Line]:
    for rank, one in enumerate(passes):
        spells = one.outcome.reading.spells if one.outcome.reading else ()
        marks = tuple(Mark(spell.end_s, ChartValue.exact(value)) for spell in spells if (value := of(spell)))
        if marks:
            precision = str(one.subject.precision)
            yield Line(label=one.key.label, colour=style.colour(rank), stroke=style.stroke(precision, 0), marks=marks)
