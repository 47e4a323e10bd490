"""Why a precision is faster, or is not: the picture and the section of the report."""

import re
from pathlib import Path
from typing import Any

import browser
import legible
import pytest
from builders import operator_runs

from edgeprof import report, write_report
from edgeprof.analysis import captions, statistics
from edgeprof.analysis.operator_classes import NAMES
from edgeprof.analysis.why import sides, why
from edgeprof.report import bars
from edgeprof.report.figures import CLASSES
from edgeprof.report.operator_bars import arrange
from edgeprof.schema import ClassTime, ComparedLength, Place, Precision, Side, Why


def side(model: str, precision: str) -> Side:
    return Side(model=model, precision=Precision.parse(precision))


(FP32, INT8) = (side("bert-base", precision) for precision in ("fp32", "int8"))


def recipe_comparison() -> Why:
    points = statistics.points(operator_runs.visits())
    (pair,) = sides(points)
    (result,) = why(*pair, points, operator_runs.passes(), operator_runs.MACHINE, operator_runs.products())
    return result


def comparison(precision: str, lengths: tuple[int, ...], variant: str = "gpt2") -> Why:
    """All classes, in prefill and decode; B takes twice the time in each."""
    times = tuple(ClassTime(name=name, a_s=0.01, b_s=0.02) for name in NAMES)
    speed: dict[str, Any] = {"a_s": 0.1, "b_s": 0.2, "speed": 0.5, "speed_low": 0.4, "speed_high": 0.6}
    places = [ComparedLength(phase=p, length=n, classes=times, **speed) for p in ("prefill", "decode") for n in lengths]  # type: ignore[arg-type]
    return Why(
        a=side("gpt2", "fp32"),
        b=side(variant, precision),
        place=Place(machine_id="m", provider="cpu", threads=2),
        batch=1,
        places=tuple(places),
        turns=(),
        verdicts=("Prefill: slower.",),
        findings=(),
        machine=(),
    )


def test_bars_are_as_high_as_their_operators_against_those_of_fp32() -> None:
    """At 16 tokens fp32 takes 15 + 5 ms and int8 6 + 4; at 64 it is 30 + 10 against 40 + 10 + 50."""
    chart = arrange(CLASSES, [recipe_comparison()])
    assert chart is not None
    assert [name for name, _ in chart.names] == ["matmul", "attention", "quantize/dequantize/cast"]
    (panel,) = chart.panels
    assert [(group.label, [bar.label for bar in group.bars]) for group in panel.groups] == [
        ("16 tokens", ["fp32", "int8"]),
        ("64 tokens", ["fp32", "int8"]),
    ]
    short, long = panel.groups
    assert [bar.parts for bar in short.bars] == [pytest.approx((0.75, 0.25, 0)), pytest.approx((0.3, 0.2, 0))]
    assert [bar.parts for bar in long.bars] == [pytest.approx((0.75, 0.25, 0)), pytest.approx((1, 0.25, 1.25))]
    assert [bar.top for bar in long.bars] == ["40 ms", "100 ms"]


@pytest.mark.parametrize(
    "whys",
    [
        [comparison("int8", (16,))],
        [comparison("int8", (16, 64, 128, 256, 512))],
        [comparison(precision, (16, 64, 128, 256, 512)) for precision in ("int8", "int8-static", "a16w8", "int4-hqq")],
        [comparison("int8", (16, 128), variant="a-checkpoint-with-a-long-name")],
    ],
    ids=["one length", "five lengths", "five precisions", "long names"],
)
def test_the_picture_can_be_read(whys: list[Why]) -> None:
    chart = arrange(CLASSES, whys)
    assert chart is not None
    drawn = bars.draw(chart)
    legible.check(drawn.canvas)
    message = legible.texts(drawn.save("svg"))
    assert chart.title in message
    assert {name for name, _ in chart.names} <= set(message)
    assert (
        message.count(str(whys[0].b.precision) if whys[0].b.model == "gpt2" else "gpt2 fp32")
        == 2 * len(whys[0].places) // 2
    )
    assert drawn.save("svg") == bars.draw(chart).save("svg")


def test_nothing_profiled_is_no_picture() -> None:
    points = statistics.points(operator_runs.visits())
    (result,) = why(FP32, INT8, points, [], operator_runs.MACHINE)
    assert arrange(CLASSES, [result]) is None


# --- the report ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = operator_runs.write(tmp_path_factory.mktemp("reports") / "run")
    write_report(folder)
    return folder


def test_the_section_is_there_and_the_page_at_peace(folder: Path, tmp_path: Path) -> None:
    visit = browser.open_page(folder / "index.html", tmp_path)
    assert visit.console == ()
    assert [address for address in visit.requests if address != (folder / "index.html").as_uri()] == []
    section = visit.dom.partition('<section id="why">')[2].partition("</section>")[0]
    result = recipe_comparison()
    for line in (*result.verdicts, *result.findings, *result.machine):
        assert line in section
    assert len(re.findall(r"<img src=.data:image/svg", section)) == 1
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", section)
    assert cells[:5] == ["prefill", "16", "20.0", "10.0", "2x"]
    assert cells[-3:] == ["30.0 → 40.0", "10.0 → 10.0", "0 → 50.0"]
    assert '<a href="#why">' in visit.dom


def test_markdown_has_the_same(folder: Path) -> None:
    section = (folder / "report.md").read_text().partition("## Why is int8 (not) faster?\n")[2].partition("\n## ")[0]
    (picture,) = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", section)
    assert (folder / picture).is_file()
    assert "### bert-base: int8 against fp32" in section
    assert "30.0 → 40.0" in section
    assert recipe_comparison().verdicts[0] in section


def test_files_of_two_names_are_distinguished_in_the_heading(tmp_path: Path) -> None:
    points = statistics.points(operator_runs.visits())
    result = [comparison("int8", (16,), variant="other")]
    report.write(tmp_path / "run", operator_runs.MACHINE, points[:1], captions.sentences(points[:1]), whys=result)
    lines = (tmp_path / "run" / "report.md").read_text().splitlines()
    heading = lines.index("### other: int8 against fp32 of gpt2")
    assert lines[heading + 1 : heading + 3] == ["", "- Prefill: slower."]
    assert "<h3>other: int8 against fp32 of gpt2</h3>" in (tmp_path / "run" / "index.html").read_text()


def test_a_run_without_operators_has_no_such_section(tmp_path: Path) -> None:
    folder = operator_runs.write(tmp_path / "run")
    (folder / "operators.jsonl").unlink()
    page = write_report(folder)
    assert "Why is int8" not in page.read_text()
    assert not list((folder / "figures").glob("why*"))
