"""Names that are too long, or not printable, in a picture."""

import hostile_files
import legible
import pytest

from edgeprof.recipe_table import Stroke
from edgeprof.report import bars, drawing
from edgeprof.report.chart import Bar, Chart, ChartValue, Event, Group, Line, Mark, Panel, Scale, Stack, Stacks
from edgeprof.report.text_fit import fitted


def chart(*labels: str) -> Chart:
    marks = tuple(Mark(float(x), ChartValue.exact(float(x))) for x in (16, 64))
    lines = tuple(Line(label, "#000000", Stroke((), "o", False), marks) for label in labels)
    event = Event(f"{labels[0]} overtakes", 32.0)
    panel = Panel(labels[0], Scale("Latency (ms)"), lines, events=(event,))
    return Chart(f"{labels[0]}: MACs over token length", (f"random weights: {labels[0]}",), Scale("Tokens"), (panel,))


def test_long_names_are_shortened_and_stay_different() -> None:
    built = fitted(chart(*hostile_files.LONG))
    labels = [line.label for line in built.panels[0].lines]
    assert len(set(labels)) == 2
    assert all(len(label) <= 48 and label.startswith("net-aaaa") for label in labels)
    assert "-left-" in labels[0]
    assert built.title.endswith(": MACs over token length")
    assert len(built.title) <= 96
    assert max(map(len, built.remarks[0].split())) <= 48
    assert built.panels[0].y.label == "Latency (ms)"


def test_short_names_are_left_alone() -> None:
    assert fitted(chart("bert-base fp32", "gpt2 int8")) == chart("bert-base fp32", "gpt2 int8")


@pytest.mark.parametrize("names", [hostile_files.LONG, (hostile_files.NAME, "bert")])
def test_a_picture_of_such_names_can_be_read(names: tuple[str, ...]) -> None:
    drawn = drawing.draw(fitted(chart(*names)))
    legible.check(drawn.canvas)
    texts = legible.texts(drawn.save("svg"))
    assert hostile_files.unprintable("".join(texts)) == set()
    assert drawn.page_size_px[0] <= 2000


@pytest.mark.parametrize("name", [*hostile_files.LONG, hostile_files.NAME])
def test_bars_of_such_names_can_be_read(name: str) -> None:
    groups = (Group(name, (Bar(name, "1 ms", (0.5, 0.5)),)),)
    built = fitted(
        Stacks(f"{name}: time", (name,), "Time", (("a", "#000000"), (name, "#ffffff")), (Stack(name, groups),))
    )
    assert hostile_files.unprintable("".join(name for name, _ in built.names)) == set()
    legible.check(bars.draw(built).canvas)
