"""Every figure, drawn from records."""

import struct
import zlib
from itertools import pairwise
from typing import Any

import legible
import pytest
import runs
from builders import records
from legible import texts

from edgeprof.analysis.captions import CAPTIONS
from edgeprof.report import style
from edgeprof.report.chart import Chart
from edgeprof.report.drawing import Drawing, draw
from edgeprof.report.figures import BY_DEVICE, FIGURES, Figure
from edgeprof.report.latency_figures import arrange
from edgeprof.schema import Findings, Point

SMALL = runs.analyzed()
LARGE = runs.analyzed(runs.large())
by_name = pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)


def arranged(figure: Figure, run: tuple[list[Point], Findings]) -> Chart:
    chart = arrange(figure, *run)
    assert chart is not None
    return chart


def drawn(figure: Figure, run: tuple[list[Point], Findings]) -> Drawing:
    return draw(arranged(figure, run))


def row(name: str) -> Figure:
    return next(figure for figure in FIGURES if figure.name == name)


def test_the_record_set_is_what_its_script_makes() -> None:
    assert runs.generated() == runs.store.load_measurements(runs.RUN)


def test_figures_and_captions_have_the_same_names() -> None:
    every = (*FIGURES, *BY_DEVICE)
    assert {figure.name: figure.phase for figure in every} == {name: phase for name, phase, _ in CAPTIONS}
    assert set(SMALL[1].captions) == {figure.name for figure in FIGURES}


@by_name
def test_png_is_whole_and_crisp(figure: Figure) -> None:
    data = drawn(figure, SMALL).save("png")
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert width >= 8 * style.DPI
    assert height >= 4 * style.DPI
    assert data[-12:] == b"\0\0\0\0IEND" + struct.pack(">I", zlib.crc32(b"IEND"))


@by_name
def test_svg_says_in_text_what_it_shows(figure: Figure) -> None:
    message = texts(drawn(figure, SMALL).save("svg"))
    assert figure.title in message
    assert figure.x.scale.label in message
    assert figure.y.scale.label in message
    assert any("random weights" in text for text in message)
    for panel in arranged(figure, SMALL).panels:
        assert all(line.label in message for line in panel.lines)


@by_name
def test_same_records_same_file(figure: Figure) -> None:
    assert drawn(figure, SMALL).save("svg") == drawn(figure, SMALL).save("svg")


@pytest.mark.parametrize("run", [SMALL, LARGE], ids=["small", "large"])
@by_name
def test_text_can_be_read(figure: Figure, run: tuple[list[Point], Findings]) -> None:
    legible.check(drawn(figure, run).canvas)


def test_token_axis_has_plain_powers_of_two() -> None:
    message = texts(drawn(row("decode-latency"), SMALL).save("svg"))
    assert [text for text in message if text.isdigit()][:6] == ["16", "32", "64", "128", "256", "512"]


def test_families_have_a_panel_each_and_variants_one_colour() -> None:
    panels = arranged(row("prefill-latency"), SMALL).panels
    assert [panel.title for panel in panels] == ["bert", "gpt2", "vit"]
    bert = {line.label: line for line in panels[0].lines}
    assert set(bert) == {f"{size} {precision}" for size in ("tiny", "small", "base") for precision in ("fp32", "int8")}
    assert bert["base fp32"].colour == bert["base int8"].colour != bert["tiny fp32"].colour
    assert bert["base fp32"].stroke != bert["base int8"].stroke
    assert all(before.x < after.x for line in panels[0].lines for before, after in pairwise(line.marks))


def test_failed_points_are_left_out() -> None:
    (line,) = (
        line
        for panel in arranged(row("prefill-latency"), SMALL).panels
        for line in panel.lines
        if (panel.title, line.label) == ("bert", "small fp32")
    )
    assert [mark.x for mark in line.marks] == [16, 64, 128]


def test_throughput_turns_the_interval_round() -> None:
    point = next(point for point in SMALL[0] if point.subject.model == "bert-base" and point.load.tokens == 128)
    reading = row("prefill-throughput").y.of(point)
    assert reading and point.latency.median_s and point.latency.ci_low_s and point.latency.ci_high_s
    assert reading.middle == pytest.approx(128 / point.latency.median_s)
    assert reading.low == pytest.approx(128 / point.latency.ci_high_s)
    assert reading.high == pytest.approx(128 / point.latency.ci_low_s)


def test_a_prediction_is_a_mark_beside_the_diagonal() -> None:
    chart = arranged(row("prefill-memory-predicted"), SMALL)
    (panel,) = chart.panels
    assert [line.label for line in panel.lines] == ["bert fp32", "bert int8", "gpt2 fp32", "gpt2 int8"]  # vit has none
    assert [(guide.label, guide.factor, guide.power) for guide in panel.guides] == [("as predicted", 1, 1)]
    point = next(
        p for p in SMALL[0] if (p.subject.model, p.subject.precision.recipe, p.load.tokens) == ("gpt2", "fp32", 512)
    )
    assert point.facts.memory_predicted_bytes and point.memory.working_bytes
    place = (point.facts.memory_predicted_bytes / 1e6, point.memory.working_bytes / 1e6)
    assert place in [(mark.x, mark.y.middle) for mark in panel.lines[2].marks]
    (axes,) = draw(chart).canvas.axes
    assert axes.get_xlim() == axes.get_ylim()
    marks = [line for line in axes.get_lines() if line.get_marker() in ("o", "s")]
    assert [line.get_linestyle() for line in marks] == ["None"] * 4  # points of a cloud, in no order


def test_no_prediction_no_figure() -> None:
    assert arrange(row("prefill-memory-predicted"), *analyzed(changed(SMALL[0], memory_predicted_bytes=None))) is None


def changed(points: list[Point], **fields: Any) -> list[Point]:
    return [records.changed(point, **fields) for point in points]


def analyzed(points: list[Point]) -> tuple[list[Point], Findings]:
    return points, runs.captions.sentences(points)


def test_a_figure_without_data_is_not_drawn() -> None:
    run = analyzed([point for point in SMALL[0] if point.facts.family == "bert"])
    assert [figure.name for figure in FIGURES if arrange(figure, *run)] == [
        figure.name for figure in FIGURES if figure.phase == "prefill"
    ]


def test_a_single_point_is_a_figure_too() -> None:
    run = analyzed([point for point in SMALL[0] if point.subject.model == "bert-base"][:1])
    assert "64" not in texts(drawn(row("prefill-latency"), run).save("svg"))  # the axis names the length measured
    assert arrange(row("prefill-latency-by-size"), *run) is None  # a single size shows no growth


def test_emulated_points_have_a_panel_of_their_own_that_says_so() -> None:
    bert = [point for point in SMALL[0] if point.facts.family == "bert"]
    run = analyzed([*bert, *changed(bert, provider="qnn", emulated=True)])
    panels = arranged(row("prefill-latency"), run).panels
    assert [panel.title for panel in panels] == ["bert, cpu", "bert, qnn (emulated)"]
    assert len(arranged(row("prefill-latency-by-size"), run).panels) == 1


def test_other_batches_have_panels_of_their_own() -> None:
    bert = [point for point in SMALL[0] if point.facts.family == "bert"]
    panels = arranged(row("prefill-latency"), analyzed([*bert, *changed(bert, batch=4)])).panels
    assert [panel.title for panel in panels] == ["bert, batch 1", "bert, batch 4"]


def test_names_are_text_whatever_they_hold() -> None:
    odd = changed(
        [point for point in SMALL[0] if point.facts.family == "bert"], variant="a$b$<c>&_{d}" * 3, family="x$y$"
    )
    svg = drawn(row("prefill-latency"), analyzed(odd)).save("svg")
    assert "a$b$<c>&_{d}" * 3 + " fp32" in texts(svg)


def test_drawing_leaves_the_callers_matplotlib_alone() -> None:
    import matplotlib

    with matplotlib.rc_context({"font.size": 23.0}):
        drawn(row("prefill-latency"), SMALL).save("svg")
        assert matplotlib.rcParams["font.size"] == 23.0
