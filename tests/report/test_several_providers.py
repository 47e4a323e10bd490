"""Several providers in one run: pictures and pages say what ran where, what was emulated, and what is wrong."""

import re
from pathlib import Path
from typing import Any

import browser
import legible
import pytest
import runs
import several_providers
from builders.records import changed

from edgeprof import report, store
from edgeprof.report import bars, latency_figures, placement_tables
from edgeprof.report.chart import EMULATED, Chart, Stacks
from edgeprof.report.drawing import draw
from edgeprof.report.figures import FIGURES, PLACEMENT, Figure
from edgeprof.report.placement_bars import arrange
from edgeprof.report.table import Table
from edgeprof.schema import Placement, Point

POINTS, FINDINGS, PLACED = several_providers.analyzed()


def row(name: str) -> Figure:
    return next(figure for figure in FIGURES if figure.name == name)


def arranged(figure: Figure, points: list[Point] = POINTS) -> Chart:
    chart = latency_figures.arrange(figure, points, runs.captions.sentences(points))
    assert chart is not None
    return chart


def shares(result: list[Point] = PLACED) -> Stacks:
    chart = arrange(PLACEMENT, result)
    assert chart is not None
    return chart


def all_changed(points: list[Point], **fields: Any) -> list[Point]:
    return [changed(point, **fields) for point in points]


def ran(nodes: int, macs: int | None) -> Placement:
    """So many of 10 nodes, and so many of 100 MACs, on webgpu."""
    return Placement(placed=several_providers.placed("webgpu", (nodes, macs), (10 - nodes, macs and 100 - macs)))


# --- over token length -----------------------------------------------------------------------------------------


def test_every_provider_has_panels_of_its_own_with_its_share() -> None:
    """Real ones on one scale, emulated ones on another; what qnn did not take is not there."""
    chart = arranged(row("prefill-latency"))
    assert [(panel.title, panel.hatched) for panel in chart.panels] == [
        ("bert, cpu", False),
        ("bert, webgpu", False),
        ("bert, qnn (emulated), 83 % of MACs", True),
        ("gpt2, cpu", False),
        ("gpt2, webgpu, 75 % of MACs", False),
        ("gpt2, qnn (emulated), 83 % of MACs", True),
        ("vit, cpu", False),
        ("vit, webgpu", False),
        ("vit, qnn (emulated), 97 % of nodes", True),
    ]
    assert {panel.y.label for panel in chart.panels if not panel.hatched} == {"Latency (ms)"}
    assert {panel.y.label for panel in chart.panels if panel.hatched} == {"Latency (ms), emulated"}
    assert [line.label for line in chart.panels[5].lines] == ["gpt2 int8", "medium int8"]


def test_lines_name_their_share_where_they_differ() -> None:
    bert = [point for point in POINTS if point.subject.model == "bert-base" and point.place.provider == "webgpu"]
    partly = all_changed(bert, variant="bert-large", placement=ran(9, 50))
    partly[0] = changed(partly[0], placement=ran(9, 40))
    nodes = all_changed(bert, variant="bert-huge", placement=ran(9, None))
    (panel,) = arranged(row("prefill-latency"), [*bert, *partly, *nodes]).panels
    assert panel.title == "bert, webgpu, at least 40 % of MACs"
    assert sorted({line.label.removesuffix(")") for line in panel.lines}) == [
        "base fp32",
        "base int8",
        "huge fp32 (90 % of nodes",
        "huge int8 (90 % of nodes",
        "large fp32 (≥ 40 %",
        "large int8 (50 %",
    ]


def test_wrong_results_are_crossed_out_and_named() -> None:
    chart = arranged(row("prefill-latency"))
    crossed = [
        (panel.title[:9], line.label)
        for panel in chart.panels
        for line in panel.lines
        if any(mark.crossed for mark in line.marks)
    ]
    assert len(crossed) == 3 + 2 + 2
    assert all(label.endswith("int8") for _, label in crossed)
    assert chart.remarks[-1] == (
        "crossed out: result differs from the CPU by 1.2: outside tolerance "
        "(bert-tiny int8 on qnn, bert-small int8 on qnn, bert-base int8 on qnn and 4 more)"
    )
    assert EMULATED in legible.texts(draw(chart).save("svg"))


def test_nothing_emulated_no_legend_of_it() -> None:
    real = [point for point in POINTS if not point.place.emulated]
    chart = arranged(row("prefill-latency"), real)
    assert not chart.hatched
    assert EMULATED not in legible.texts(draw(chart).save("svg"))
    assert len({panel.y for panel in chart.panels}) == 1


def test_emulated_points_are_in_no_figure_over_parameters_and_predictions_are_of_the_cpu() -> None:
    assert [panel.title for panel in arranged(row("prefill-latency-by-size")).panels] == [
        "cpu",
        "webgpu, at least 75 % of MACs",
    ]
    predicted = arranged(row("prefill-memory-predicted"))
    assert [panel.title for panel in predicted.panels] == [""]
    assert "cpu" in predicted.remarks


@pytest.mark.parametrize("name", ["prefill-throughput", "decode-memory", "prefill-latency-by-size"])
def test_text_can_be_read(name: str) -> None:
    legible.check(draw(arranged(row(name))).canvas)


# --- share of MACs ---------------------------------------------------------------------------------------------


def test_a_bar_is_what_each_provider_ran() -> None:
    chart = shares()
    assert [name for name, _ in chart.names] == ["webgpu", "qnn", "cpu"]
    assert [panel.title for panel in chart.panels] == [
        "webgpu, prefill (1 of 2)",
        "webgpu, prefill (2 of 2)",
        "webgpu, decode",
        "qnn, prefill (1 of 2)",
        "qnn, prefill (2 of 2)",
        "qnn, decode",
    ]
    result = {
        (panel.title.partition(",")[0], group.label): [
            (bar.label, bar.top, bar.parts, bar.hatched) for bar in group.bars
        ]
        for panel in chart.panels
        for group in panel.groups
        if "prefill" in panel.title
    }
    assert result["webgpu", "bert-base fp32"] == [(n, "100 %", (1, 0, 0), False) for n in ("16", "64", "128", "512")]
    assert result["webgpu", "gpt2 int8"][0] == ("16", "75 %", (0.75, 0, 0.25), False)
    assert result["qnn", "gpt2 int8"][0] == ("16", "83 %", (0, 0.83, 0.17), True)
    assert result["qnn", "vit-tiny fp32"][0] == ("10", "97 % of nodes", (0, 62 / 64, 2 / 64), True)
    assert ("qnn", "gpt2 fp32") not in result  # it ran nowhere
    whole = several_providers.Placement(placed=several_providers.placed("qnn", (64, None), (0, None)))
    (panel,) = shares([changed(PLACED[0], placement=whole)]).panels
    assert (panel.groups[0].bars[0].top, panel.groups[0].bars[0].parts) == ("100 %", (1, 0))  # all nodes, so all MACs
    assert chart.tick is not None
    assert chart.tick(0.5) == "50 %"


@pytest.mark.parametrize(
    "result",
    [
        [point for point in PLACED if point.subject.model in ("bert-tiny", "vit-tiny")],
        PLACED[:1],
        all_changed(PLACED[:3], variant="a-checkpoint" * 4),
        [changed(point, batch=n) for point in PLACED[:8] for n in (1, 8)],
    ],
    ids=["two models", "one point", "long name", "two batches"],
)
def test_the_picture_can_be_read(result: list[Point]) -> None:
    legible.check(bars.draw(shares(result)).canvas)


def test_the_same_records_give_the_same_picture() -> None:
    one, other = (bars.draw(shares(PLACED[:4])).save("svg") for _ in range(2))
    assert one == other


def test_only_the_cpu_no_picture() -> None:
    assert arrange(PLACEMENT, []) is None
    lost = [point for point in PLACED if point.status == "unsupported"]
    assert lost
    assert arrange(PLACEMENT, lost) is None


# --- tables ----------------------------------------------------------------------------------------------------


def rows(table: Table) -> list[dict[str, str]]:
    heads = [column.head for column in table.columns]
    return [dict(zip(heads, cells, strict=True)) for cells in table.rows]


def test_lengths_that_ran_alike_are_one_row() -> None:
    result = [one for one in rows(placement_tables.placements(PLACED)) if one["Variant"] == "gpt2"]
    assert [(one["Provider"], one["Precision"], one["Phase"], one["Tokens"], one["Status"]) for one in result] == [
        ("webgpu", "fp32", "prefill", "16, 64, 128, 512", "ok"),
        ("webgpu", "fp32", "decode", "16, 64, 128, 512", "ok"),
        ("webgpu", "int8", "prefill", "16, 64, 128, 512", "ok"),
        ("webgpu", "int8", "decode", "16, 64, 128, 512", "ok"),
        ("qnn (emulated)", "fp32", "prefill", "16, 64, 128, 512", "unsupported"),
        ("qnn (emulated)", "fp32", "decode", "16, 64, 128, 512", "unsupported"),
        ("qnn (emulated)", "int8", "prefill", "16, 64, 128, 512", "ok"),
        ("qnn (emulated)", "int8", "decode", "16, 64, 128, 512", "ok"),
    ]
    assert (result[0]["MACs on provider"], result[0]["Nodes on provider"], result[0]["Copies"]) == (
        "75 %",
        "60 of 64",
        "8",
    )
    assert (result[0]["Partitions"], result[0]["Decomposed operators"], result[0]["Shapes"]) == (
        "3",
        "2 Gelu",
        "as exported",
    )
    assert (result[6]["Difference from CPU"], result[6]["Shapes"]) == ("1.2: outside tolerance", "fixed")
    assert result[4]["Nodes on provider"] == "0 of 64"


def test_what_was_left_is_grouped_with_its_reason() -> None:
    assert [tuple(one.values()) for one in rows(placement_tables.left(PLACED))] == [
        (
            *("qnn (emulated)", "MatMul", "48", "up to 75 %"),
            *("gpt2 fp32 prefill, gpt2 fp32 decode, gpt2-medium fp32 prefill and 1 more", "fp32 weights"),
        ),
        (
            *("qnn (emulated)", "Attention", "2", "up to 17 %"),
            *("bert-tiny fp32 prefill, bert-tiny int8 prefill, bert-small fp32 prefill and 11 more", "none reported"),
        ),
        (
            *("webgpu", "Attention", "4", "up to 25 %"),
            *("gpt2 fp32 prefill, gpt2 fp32 decode, gpt2 int8 prefill and 5 more", several_providers.REASON),
        ),
    ]


def test_what_only_the_first_run_takes() -> None:
    point = next(one for one in POINTS if one.place.provider == "webgpu")
    point = changed(point, load_s=0.5, first_run_s=2.5, latency_median_s=0.1)
    (one,) = rows(placement_tables.starts([point]))
    assert (one["Load (s)"], one["First run (ms)"], one["Later runs (ms)"], one["First-run overhead (ms)"]) == (
        *("0.500", "2,500"),
        *("100", "2,400"),
    )


def test_load_with_and_without_what_was_compiled() -> None:
    point = changed(POINTS[0], provider="qnn", compiled=True, load_s=0.08, compile_s=3.0, load_plain_s=2.0)
    (one,) = rows(placement_tables.starts([point]))
    assert (one["Load (s)"], one["Load, compiled (s)"], one["Compile time (s)"]) == ("2.00", "0.0800", "3.00")
    assert "Load, compiled (s)" not in rows(placement_tables.starts(POINTS))[0]


def test_devices_tell_of_their_memory() -> None:
    assert placement_tables.devices(POINTS) == [
        "qnn (emulated): HTP emulator; host memory only: device memory is not reported.",
        "webgpu: Example GPU 7; device memory is in the table.",
    ]


# --- pages -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two models in prefill, so that there is little to draw."""
    known = [one for one in store.load_measurements(runs.RUN) if one.load.phase == "prefill" and one.load.tokens < 99]
    visits = [one for one in known if one.subject.model in ("bert-tiny", "gpt2")]
    points, findings, placed = several_providers.analyzed(visits)
    folder = tmp_path_factory.mktemp("reports") / "run"
    report.write(folder, store.load_machine(runs.RUN), points, findings, placed=placed)
    return folder


def test_the_page_tells_of_providers_and_is_at_peace(folder: Path, tmp_path: Path) -> None:
    visit = browser.open_page(folder / "index.html", tmp_path)
    assert visit.console == ()
    section = visit.dom.partition('<section id="providers">')[2].partition("</section>")[0]
    titles = re.findall(r"<h3>([^<]+)</h3>", section)
    assert titles == ["Placement", "Operators on the CPU", "Unsupported points", "Load and first run"]
    (alt,) = re.findall(r'<img src="data:image/svg[^>]* alt="([^"]+)"', section)
    assert alt.startswith("Share of MACs per provider. ")
    assert "webgpu ran all multiplications of" in alt
    assert "qnn took none of the 64 nodes: fp32 weights" in section
    points = visit.dom.partition('<section id="points">')[2].partition("</section>")[0]
    assert '<td class="number" data-verdict="wrong">1.2: outside tolerance</td>' in points
    assert "75 % of MACs" in points
    assert "host memory only" in points
    assert "unsupported" not in points
    assert "<strong>Outside tolerance</strong>: the results of" in visit.dom


def test_markdown_has_the_same(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    section = text.partition("\n## Providers\n")[2].partition("\n## ")[0]
    assert "![Share of MACs per provider](figures/placement.png)" in section
    assert (folder / "figures" / "placement.png").is_file()
    for title in ("Placement", "Operators on the CPU", "Unsupported points", "Load and first run"):
        lines = section.partition(f"### {title}\n")[2].partition("\n### ")[0].splitlines()
        table = [line for line in lines if line.startswith("|")]
        assert len(table) > 2
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    assert "qnn took none of the 64 nodes: fp32 weights" in section
    assert "\n\n\n\n" not in text


def test_a_run_on_the_cpu_alone_has_no_such_section(tmp_path: Path) -> None:
    points = [point for point in POINTS if point.place.provider == "cpu" and point.subject.model == "bert-tiny"][:1]
    page = report.write(tmp_path / "run", store.load_machine(runs.RUN), points, runs.captions.sentences(points))
    assert 'id="providers"' not in page.read_text()
    assert "## Providers" not in (tmp_path / "run" / "report.md").read_text()
