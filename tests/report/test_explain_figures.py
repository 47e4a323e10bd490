"""Figures and pages of what was counted."""

import re
import struct
from pathlib import Path

import browser
import ledgers
import legible
import msgspec
import pytest
import runs
from builders.records import changed

from edgeprof import report, store
from edgeprof.report import explain_figures, pictures, style, table
from edgeprof.report.chart import Chart, ChartValue, Event, Line, Mark, Panel, Scale
from edgeprof.report.drawing import draw
from edgeprof.report.figures import EXPLAINED, MIXERS
from edgeprof.schema import Cost, Explanation

MACS, MEMORY = EXPLAINED


def arranged(row: object, explanation: Explanation) -> Chart:
    chart = explain_figures.arrange(
        row,  # type: ignore[arg-type]
        {explanation.ledger.name: explanation.lengths},
        explanation.crossovers,
        of=explanation.ledger.name,
    )
    assert chart is not None
    return chart


def values(panel: Panel) -> dict[str, list[tuple[float, float]]]:
    return {line.label: [(mark.x, mark.y.middle) for mark in line.marks] for line in panel.lines}


# --- what is where ---------------------------------------------------------------------------------------


def test_macs_of_each_part() -> None:
    (panel,) = arranged(MACS, ledgers.explanation()).panels
    assert values(panel) == {
        "projections": [(10, 1_000), (100, 10_000), (1000, 100_000)],
        "attention": [(10, 200), (100, 20_000), (1000, 2_000_000)],
        "MLP": [(10, 2_000), (100, 20_000), (1000, 200_000)],
    }
    assert panel.events == (Event("attention overtakes the MLP at 101 tokens", 101),)


def test_memory_is_weights_cache_and_what_is_alive() -> None:
    (panel,) = arranged(MEMORY, ledgers.explanation()).panels
    assert values(panel) == {
        "weights": [(10, 1_000), (100, 1_000), (1000, 1_000)],
        "KV cache": [(10, 100), (100, 1_000), (1000, 10_000)],
        "live activations": [(10, 600), (100, 15_000), (1000, 1_050_000)],
    }
    assert panel.events == (Event("the KV cache overtakes the weights at 101 tokens", 101),)


def test_what_a_model_has_none_of_is_not_drawn() -> None:
    (panel,) = arranged(MEMORY, ledgers.explanation(cache=False)).panels
    assert set(values(panel)) == {"weights", "live activations"}
    assert panel.events == ()
    cached = arranged(MEMORY, ledgers.explanation()).panels[0].lines
    assert [line.colour for line in panel.lines] == [cached[0].colour, cached[2].colour]  # the same with and without


def test_only_crossovers_within_the_lengths_are_marked() -> None:
    assert arranged(MACS, ledgers.explanation(10, 100)).panels[0].events == ()
    never = msgspec.structs.replace(ledgers.explanation().crossovers[0], tokens=None)
    assert arranged(MACS, msgspec.structs.replace(ledgers.explanation(), crossovers=(never,))).panels[0].events == ()


def test_decode_is_over_cached_tokens() -> None:
    chart = arranged(MACS, ledgers.explanation(phase="decode"))
    assert chart.x.label == "Tokens in the KV cache"
    assert chart.panels[0].events[0].label == "attention overtakes the MLP at 101 cached tokens"
    nothing_cached = ledgers.explanation(0, 10, 100, phase="decode")
    assert [mark.x for mark in arranged(MACS, nothing_cached).panels[0].lines[0].marks] == [10, 100]


def test_a_graph_has_the_roles_of_its_nodes() -> None:
    def graph(length: int) -> list[Cost]:
        roles = {"weight matmuls": 300 * length, "activation matmuls": 2 * length**2, "others": 0}
        return [Cost(name=name, count=3, macs=macs) for name, macs in roles.items()]

    lengths = tuple(
        msgspec.structs.replace(ledgers.ledger("m.onnx", graph(n), n, live=7 * n), source="graph") for n in (8, 16)
    )
    explanation = Explanation(ledger=lengths[0], lengths=lengths)
    chart = arranged(MACS, explanation)
    assert values(chart.panels[0]) == {
        "weight matmuls": [(8, 2400), (16, 4800)],
        "activation matmuls": [(8, 128), (16, 512)],
    }
    assert chart.remarks[0] == "counted on the graph, not measured"
    assert values(arranged(MEMORY, explanation).panels[0]) == {"live tensors": [(8, 56), (16, 112)]}


def test_one_length_is_no_figure() -> None:
    one = ledgers.explanation(100)
    assert [explain_figures.arrange(row, {"toy": one.lengths}) for row in EXPLAINED] == [None, None]
    assert explain_figures.arrange(MIXERS, {}) is None


def test_mixers_from_dense_to_pointwise() -> None:
    chart = explain_figures.arrange(MIXERS, ledgers.mixers())
    assert chart
    params, macs = map(values, chart.panels)
    assert {name: line[-1] for name, line in params.items()} == {
        "mixer-dense": (512, 154_618_822_656),
        "mixer-pointwise": (512, 589_824),
        "mixer-attention": (512, 1_769_472),
        "mixer-block": (512, 7_087_872),
        "embedding-word2vec": (512, 900_000_000),
    }
    assert "embedding-word2vec" not in macs
    assert macs["mixer-gram"][-1] == (512, 402_653_184)  # 2 x 512^2 x 768
    assert chart.remarks[-2:] == ("no parameters: mixer-gram", "no MACs: embedding-word2vec")
    looks = [{line.label: line.colour for line in panel.lines} for panel in chart.panels]
    assert all(looks[0][name] == looks[1][name] for name in looks[0].keys() & looks[1].keys())


# --- how it is drawn -------------------------------------------------------------------------------------

LONG = "a-checkpoint-of-somebody-who-likes-long-names-v2.1-instruct"
CHARTS = {
    "macs": arranged(MACS, ledgers.explanation()),
    "memory": arranged(MEMORY, ledgers.explanation(*(2**power for power in range(4, 18)))),
    "decode": arranged(MEMORY, ledgers.explanation(phase="decode")),
    "first": arranged(MACS, ledgers.explanation(101, 100_000)),  # the marked length is the first
    "last": arranged(MEMORY, ledgers.explanation(1, 101)),
    "long": arranged(MEMORY, ledgers.explanation(name=LONG)),
    "mixers": explain_figures.arrange(MIXERS, ledgers.mixers()),
    "far": explain_figures.arrange(MIXERS, ledgers.mixers([2**power for power in range(4, 18)])),
}


@pytest.mark.parametrize("chart", CHARTS.values(), ids=CHARTS)
def test_explained_figures_can_be_read(chart: Chart) -> None:
    drawing = draw(chart)
    legible.check(drawing.canvas)
    data = drawing.save("png")
    assert struct.unpack(">II", data[16:24])[0] >= 8 * style.DPI
    svg = drawing.save("svg")
    assert svg == draw(chart).save("svg")
    message = legible.texts(svg)
    for panel in chart.panels:
        assert {panel.y.label, *(line.label for line in panel.lines), *(event.label for event in panel.events)} <= {
            *message
        }
    assert chart.title in message


def test_token_lengths_are_not_rounded() -> None:
    assert "1,024" in legible.texts(draw(CHARTS["memory"]).save("svg"))


def test_an_event_stands_where_it_happens_and_its_name_above_the_box() -> None:
    canvas = draw(CHARTS["macs"]).canvas
    (axes,) = canvas.axes
    (event,) = (line for line in axes.get_lines() if list(line.get_xdata()) == [101, 101])
    (name,) = (text for text in axes.texts if text.get_text().startswith("attention overtakes"))
    with style.look():
        canvas.draw_without_rendering()
        assert name.get_window_extent().y0 >= axes.get_window_extent().y1 - 1
        assert event.get_window_extent().height >= axes.get_window_extent().height


def test_panels_of_one_scale_share_limits_and_others_have_their_own() -> None:
    def panel(scale: Scale, *ys: float) -> Panel:
        marks = tuple(Mark(x, ChartValue.exact(y)) for x, y in zip((1, 10), ys, strict=True))
        return Panel("", scale, (Line("line", "#000000", style.stroke("fp32"), marks),))

    seconds, grams = Scale("s"), Scale("g")
    canvas = draw(Chart("t", (), Scale("x"), (panel(seconds, 1, 2), panel(seconds, 1, 8)))).canvas
    assert canvas.axes[0].get_ylim() == canvas.axes[1].get_ylim()
    assert [axes.get_ylabel() for axes in canvas.axes] == ["s", ""]
    canvas = draw(Chart("t", (), Scale("x"), (panel(seconds, 1, 2), panel(grams, 100, 1000)))).canvas
    assert canvas.axes[0].get_ylim()[1] < 3 < 80 < canvas.axes[1].get_ylim()[0]
    assert [axes.get_ylabel() for axes in canvas.axes] == ["s", "g"]


# --- files and pages -------------------------------------------------------------------------------------


def test_an_explanation_is_a_page_with_pictures(tmp_path: Path) -> None:
    paths = report.write_explanation(tmp_path / "explain-toy", ledgers.explanation())
    assert [str(path.relative_to(tmp_path / "explain-toy")) for path in paths] == [
        "explanation.md",
        "figures/explain-macs.png",
        "figures/explain-macs.svg",
        "figures/explain-memory.png",
        "figures/explain-memory.svg",
    ]
    assert all(path.is_file() for path in paths)
    text = paths[0].read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    heads = "Component, Count, Parameters, Share, MACs, Share, MACs at twice the tokens, Weights, KV cache, Activations"
    assert rows[0] == heads.split(", ")
    by_name = {row[0]: row[1:] for row in rows[2:]}
    # 250 parameters, 50,000 MACs at 100 tokens; at 200 tokens attention has 4 times as many.
    assert by_name["attention scores"] == ["2", "", "", "10,000", "20.0 %", "4x", "", "", ""]
    assert by_name["MLP up"] == ["2", "60", "24.0 %", "10,000", "20.0 %", "2x", "240 B", "", ""]
    assert by_name["one block of 2"] == ["", "100", "40.0 %", "25,000", "50.0 %", "2.8x", "400 B", "500 B", ""]
    assert by_name["total"] == ["", "250", "100.0 %", "50,000", "100.0 %", "2.8x", "1 kB", "1 kB", ""]
    assert r"toy is a \*toy\*." in text
    assert re.findall(r"!\[[^\]]+\]\(([^)]+)\)\n\n(.+)", text) == [
        ("figures/explain-macs.png", "What MACs do."),
        ("figures/explain-memory.png", "What memory does."),
    ]
    assert "\n\n\n" not in text


def test_one_length_is_a_page_without_pictures(tmp_path: Path) -> None:
    report.write_explanation(tmp_path, ledgers.explanation())
    alone = msgspec.structs.replace(ledgers.explanation(), lengths=(), doubled=None)
    assert report.write_explanation(tmp_path, alone) == [tmp_path / "explanation.md"]
    assert list((tmp_path / "figures").iterdir()) == []  # those of the explanation before are gone
    assert "twice the tokens" not in (tmp_path / "explanation.md").read_text()


def test_several_explanations_have_names_of_their_own() -> None:
    several = [
        ledgers.explanation(),
        ledgers.explanation(),
        ledgers.explanation(phase="decode"),
        ledgers.explanation(name="a/b c.onnx"),
    ]
    names = [plan.name for plan in pictures.of_explanations(several) if plan.name.startswith("explain-macs")]
    assert names == ["explain-macs-toy", "explain-macs-toy-2", "explain-macs-toy-decode", "explain-macs-a-b-c.onnx"]


def test_a_report_has_a_section_of_what_was_explained(tmp_path: Path) -> None:
    points, _ = runs.analyzed()
    findings = runs.captions.sentences(points, ledgers.mixers())
    explained = [ledgers.explanation(), ledgers.explanation(name="b<i>g")]
    page = report.write(
        tmp_path / "run",
        store.load_machine(runs.RUN),
        points,
        findings,
        explanations=explained,
        mixers=ledgers.mixers(),
    )
    visit = browser.open_page(page, tmp_path)
    assert visit.console == ()
    section = visit.dom.partition('<section id="explained">')[2].partition("</section>")[0]
    assert re.findall(r'<figure id="([^"]+)"', section) == [
        "explain-macs-toy", "explain-memory-toy", "explain-macs-b-i-g", "explain-memory-b-i-g", "mixers"
    ]  # fmt: skip
    assert section.count("What MACs do.</figcaption>") == 2
    assert "mixer-dense" in section
    assert '<a href="#explained">Explained</a>' in visit.dom
    markdown = (tmp_path / "run" / "report.md").read_text()
    assert "## Explained\n" in markdown
    links = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", markdown)
    assert len(links) == 13 + 5
    assert all((tmp_path / "run" / link).is_file() for link in links)
    assert "\n\n\n" not in markdown


def test_predictions_are_columns_where_there_are_any() -> None:
    points = [
        p
        for p in runs.analyzed()[0]
        if (p.subject.model, p.subject.precision.recipe, p.load.tokens) == ("gpt2", "fp32", 512)
    ]
    (point,) = (changed(p, memory_working_bytes=6_000_000, memory_predicted_bytes=4_000_000) for p in points)
    with_one = table.results([point, changed(point, memory_predicted_bytes=None)])
    heads = [column.head for column in with_one.columns]
    at = heads.index("Working / predicted")
    assert heads[at - 2 : at + 1] == ["Working (MB)", "Predicted (MB)", "Working / predicted"]
    assert [row[at - 2 : at + 1] for row in with_one.rows] == [("6.00", "4.00", "1.50"), ("6.00", "", "")]
    without = table.results([changed(point, memory_predicted_bytes=None)])
    assert "Predicted (MB)" not in [column.head for column in without.columns]


def test_the_method_says_what_a_prediction_is(tmp_path: Path) -> None:
    some = [point for point in runs.analyzed()[0] if point.subject.model == "bert-tiny"][:1]
    findings = runs.captions.sentences(some)
    machine = store.load_machine(runs.RUN)
    message = "an estimate of working memory, counted on the exported graph"
    page = report.write(tmp_path / "with", machine, some, findings)
    assert message in page.read_text() and message in (tmp_path / "with" / "report.md").read_text()
    none = [changed(point, memory_predicted_bytes=None) for point in some]
    assert message not in report.write(tmp_path / "without", machine, none, findings).read_text()
