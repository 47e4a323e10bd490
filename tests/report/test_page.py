"""The pages: complete, self-contained, and at peace with a real browser."""

import re
import shlex
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import browser
import hostile_files
import pytest
import runs
from builders.records import changed

from edgeprof import report, store
from edgeprof.analysis import laws
from edgeprof.errors import RunError, StorageError
from edgeprof.report import latency_figures
from edgeprof.report.figures import FIGURES
from edgeprof.report.reproduce import commands, products
from edgeprof.schema import Point, StoppingRule


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports") / "run"
    points, findings = runs.analyzed()
    page = report.write(folder, store.load_machine(runs.RUN), points, findings, started_at="2026-03-01T12:00:00Z")
    assert page == folder / "index.html"
    return folder


@pytest.fixture(scope="module")
def visit(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> browser.Visit:
    return browser.open_page(folder / "index.html", tmp_path_factory.mktemp("browser"))


class Rows(HTMLParser):
    """Cells of the table bodies, by the id of their section."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self._section, self._cell = "", False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "section":
            self._section = dict(attrs).get("id") or ""
        if tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        if tag == "td":
            self.rows[self._section][-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag != "td"

    def handle_data(self, data: str) -> None:
        if self._cell:
            self.rows[self._section][-1][-1] += data


def body(rows: list[list[str]]) -> list[list[str]]:
    return [row for row in rows if row]  # the head has no td


def test_the_browser_notices_errors_and_requests(tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text("<link rel=icon href='data:,'><img src='http://127.0.0.1:9/x.png'><script>nope()</script>")
    visit = browser.open_page(bad, tmp_path)
    assert "nope is not defined" in visit.console[0]
    assert "http://127.0.0.1:9/x.png" in visit.requests


def test_the_page_opens_without_console_errors_or_requests(visit: browser.Visit, folder: Path) -> None:
    assert visit.console == ()
    assert [address for address in visit.requests if address != (folder / "index.html").as_uri()] == []


def test_all_points_are_in_the_dom(visit: browser.Visit) -> None:
    points, _ = runs.analyzed()
    rows = Rows(visit.dom).rows
    assert len(body(rows["points"])) == sum(point.status == "ok" for point in points) == 70
    base = next(row for row in body(rows["points"]) if row[:5] == ["bert-base", "109M", "fp32", "prefill", "128"])
    point = next(
        p
        for p in points
        if p.subject.model == "bert-base" and p.subject.precision.recipe == "fp32" and p.load.tokens == 128
    )
    assert point.latency.median_s
    assert float(base[6]) == pytest.approx(1e3 * point.latency.median_s, rel=5e-3)
    assert base[10] == "15"  # 3 rounds of 5 latencies


def test_failed_points_are_there_with_reasons(visit: browser.Visit) -> None:
    problems = body(Rows(visit.dom).rows["problems"])
    assert [(row[0], row[-2]) for row in problems] == [("bert-small", "failed"), ("gpt2-medium", "timeout")]
    assert "killed (SIGKILL)" in problems[0][-1]


def test_every_figure_is_inline_with_words_for_those_who_cannot_see_it(visit: browser.Visit) -> None:
    _, findings = runs.analyzed()
    pictures = re.findall(r'<img src="(data:image/svg\+xml;base64,[^"]+)"[^>]* alt="([^"]+)"', visit.dom)
    assert len(pictures) == len(findings.captions) == 13
    assert all(len(alt) > 40 for _, alt in pictures)
    for caption in findings.captions.values():
        assert caption in visit.dom
    for headline in findings.headlines:
        assert headline in visit.dom


def test_figures_lie_beside_the_page(folder: Path) -> None:
    _, findings = runs.analyzed()
    expected = {f"{name}.{kind}" for name in findings.captions for kind in ("png", "svg")}
    assert {file.name for file in (folder / "figures").iterdir()} == expected


def test_markdown_has_the_same_content(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    links = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(links) == 13
    assert all((folder / link).is_file() for link in links)
    points = text.partition("## Points\n")[2].partition("\n## ")[0]
    lines = [line for line in points.splitlines() if line.startswith("|")]
    assert len(lines) == 70 + 2
    assert len({line.count("|") for line in lines}) == 1
    assert "Example Edge CPU" in text
    assert "killed (SIGKILL)" in text
    assert "edgeprof profile gpt2 gpt2-medium --seq 16,64,128,512 --phase both" in text
    assert "\n\n\n\n" not in text


def test_what_records_hold_is_escaped(tmp_path: Path) -> None:
    points, _ = runs.analyzed()
    evil = "<script>alert(1)</script>|`x`\nnext"
    points = [changed(p, error=evil, variant="a<b>&c") for p in points if p.subject.model == "bert-small"]
    findings = runs.captions.sentences(points)
    page = report.write(tmp_path / "run", store.load_machine(runs.RUN), points, findings)
    visit = browser.open_page(page, tmp_path)
    assert visit.console == ()
    assert "<script" not in visit.dom
    assert "a&lt;b&gt;&amp;c" in visit.dom
    markdown = (tmp_path / "run" / "report.md").read_text()
    assert r"\<script\>alert(1)\</script\>\|\`x\`\\nnext" in markdown


def test_names_cannot_steer_a_page(tmp_path: Path) -> None:
    points = [
        changed(point, variant=hostile_files.NAME if point.subject.model == "bert-small" else hostile_files.LONG[0])
        for point in runs.analyzed()[0]
        if point.subject.model in ("bert-small", "bert-base")
    ]
    page = report.write(tmp_path / "run", store.load_machine(runs.RUN), points, runs.captions.sentences(points))
    visit = browser.open_page(page, tmp_path)
    assert visit.console == ()
    assert "<b>" not in visit.dom
    assert "\\x1b[31mred\\u202e" in visit.dom
    markdown = (tmp_path / "run" / "report.md").read_text()
    table = [line for line in markdown.partition("## Points\n")[2].splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table[: len(points)]}) == 1
    assert not re.search("^# head", markdown, re.MULTILINE)
    pictures = [file.read_text() for file in (tmp_path / "run" / "figures").glob("*.svg")]
    assert pictures
    for text in (page.read_text(), markdown, *pictures):
        assert hostile_files.unprintable(text) == set()


def test_an_older_figure_does_not_stay(tmp_path: Path) -> None:
    points, findings = runs.analyzed()
    machine = store.load_machine(runs.RUN)
    (tmp_path / "run" / "figures").mkdir(parents=True)
    (tmp_path / "run" / "figures" / "gone.png").write_bytes(b"")
    only = [point for point in points if point.subject.model == "bert-base"][:1]
    report.write(tmp_path / "run", machine, only, runs.captions.sentences(only))
    assert not (tmp_path / "run" / "figures" / "gone.png").exists()
    assert findings.captions.keys() > {file.stem for file in (tmp_path / "run" / "figures").iterdir()}


def test_only_failures_make_a_page_too(tmp_path: Path) -> None:
    points = [point for point in runs.analyzed()[0] if point.status != "ok"]
    page = report.write(tmp_path / "run", store.load_machine(runs.RUN), points, runs.captions.sentences(points))
    text = page.read_text()
    assert "No point was measured." in text
    assert "<img" not in text


def test_progress_names_each_figure(tmp_path: Path) -> None:
    points = runs.analyzed()[0][:1]
    logged: list[tuple[str, float | None]] = []
    report.write(
        tmp_path / "run",
        store.load_machine(runs.RUN),
        points,
        runs.captions.sentences(points),
        progress=lambda doing, share: logged.append((doing, share)),
    )
    shares = [share for _, share in logged if share is not None]
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1


def test_no_points_is_an_error_with_the_next_step(tmp_path: Path) -> None:
    nothing = runs.captions.sentences([])
    with pytest.raises(RunError, match="edgeprof profile --name run"):
        report.write(tmp_path / "run", store.load_machine(runs.RUN), [], nothing)


def test_a_disk_that_refuses_is_an_error_with_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    points, findings = runs.analyzed()
    with pytest.raises(StorageError, match="Cannot write"):
        report.write(tmp_path / "file" / "run", store.load_machine(runs.RUN), points[:1], findings)


# --- how to reproduce ----------------------------------------------------------------------------------


def covered(points: list[Point]) -> Iterator[tuple[str, ...]]:
    for product in products(points):
        for variant in product["variant"]:
            for precision in product["precision"]:
                for phase in product["phase"]:
                    for length in product["seq"]:
                        yield variant, precision, phase, length


def test_commands_cover_exactly_the_points() -> None:
    points, _ = runs.analyzed()
    assert sorted(covered(points)) == sorted(
        (p.subject.model, p.subject.precision.recipe, p.load.phase, str(p.load.length)) for p in points
    )
    # With one point less the product is not full, and that point is not requested.
    assert sorted(covered(points[1:])) == sorted(
        (p.subject.model, p.subject.precision.recipe, p.load.phase, str(p.load.length)) for p in points[1:]
    )


def test_commands_are_what_was_run() -> None:
    points, _ = runs.analyzed()
    assert commands(points, "showcase") == [
        "edgeprof export bert-base bert-small bert-tiny gpt2 gpt2-medium vit-base vit-tiny "
        "--precision fp32,int8 --weights random",
        "edgeprof profile bert-tiny bert-small bert-base --seq 16,64,128,512 --phase prefill --precision fp32,int8 "
        "--ep cpu --batch 1 --threads 2 --rounds 3 --name showcase",
        "edgeprof profile gpt2 gpt2-medium --seq 16,64,128,512 --phase both --precision fp32,int8 "
        "--ep cpu --batch 1 --threads 2 --rounds 3 --name showcase",
        "edgeprof profile vit-tiny vit-base --seq 10,50,122,485 --phase prefill --precision fp32,int8 "
        "--ep cpu --batch 1 --threads 2 --rounds 3 --name showcase",
    ]


def test_foreign_files_are_not_exported_and_names_are_quoted() -> None:
    points = [changed(p, variant="my model", weights="file") for p in runs.analyzed()[0][:1]]
    (command,) = commands(points, "run")
    assert shlex.split(command)[:3] == ["edgeprof", "profile", "my model.onnx"]


def test_files_from_elsewhere_are_sized_as_they_were() -> None:
    """By the requested length, which may differ from the token length: 1,500 tokens of 3,000 frames."""
    point = changed(runs.analyzed()[0][0], weights="file", variant="audio", fills={"x": "normal values"})
    whole = changed(point, tokens=1500)
    framed = changed(point, tokens=750, seq=1500)
    named = changed(point, tokens=None, dims={"my axis": 3, "rows": 2})
    rest = "--phase prefill --precision fp32 --ep cpu --batch 1 --threads 2 --rounds 3"
    assert commands([whole], "run") == [f"edgeprof profile audio.onnx {rest} --name run"]
    assert commands([framed], "run") == [f"edgeprof profile audio.onnx --seq 1500 {rest} --name run"]
    assert commands([named], "run") == [
        f"edgeprof profile audio.onnx {rest} --dim 'my axis=3' --dim rows=2 --name run",
    ]


def test_points_of_unknown_length_have_a_page(tmp_path: Path) -> None:
    records = [
        changed(record, tokens=None, seq=None, fills={"x": "normal values"}, variant="cnn", family="")
        for record in runs.generated()
        if record.load.phase == "prefill" and record.outcome.status == "ok"
    ]
    points, findings = runs.analyzed(records)
    report.write(tmp_path, store.load_machine(runs.RUN), points, findings, started_at="2026-03-01T12:00:00Z")
    text = (tmp_path / "report.md").read_text()
    assert "| unknown |" in text
    assert "0 tokens" not in text


def test_settings_other_than_the_defaults_are_part_of_the_commands() -> None:
    """10 runs, 1 s and the options in the row of a provider are defaults of `profile`."""
    point = changed(runs.analyzed()[0][0], weights="file", stopping=StoppingRule(min_runs=10, min_time_s=1.0))
    options, own = {"backend_path": "b", "enableInt64": "1"}, {"x": "a b", "soc_model": "73"}
    points = [
        point,
        changed(point, provider="webgpu", provider_options={"enableInt64": "1"}),
        changed(point, provider="qnn", provider_options={"backend_type": "htp", **own}, ep_options=own),
        changed(point, provider="mine", library="/opt/my lib.so", provider_options=options, ep_options=options),
        changed(point, tokens=99, stopping=StoppingRule(min_runs=3, min_time_s=0.25), provider="qnn", compiled=True),
    ]
    common = (
        f"edgeprof profile {point.subject.model}.onnx --seq {{}} --phase prefill --precision fp32 --ep {{}} --batch 1 "
    )
    common += "--threads 2 --rounds 3 "
    assert commands(points, "run") == [
        common.format(16, "cpu,webgpu,qnn,mine")
        + "--ep-option qnn.soc_model=73 --ep-option 'qnn.x=a b' --ep-option mine.backend_path=b "
        "--ep-option mine.enableInt64=1 --ep-library 'mine=/opt/my lib.so' --name run",
        common.format(99, "qnn") + "--compile --runs 3 --min-time 0.25 --name run",
    ]


# --- laws ----------------------------------------------------------------------------------------------


def test_laws_are_a_table_with_their_crossovers_and_thin_lines(tmp_path: Path) -> None:
    points, findings = runs.analyzed([each for each in runs.large() if each.subject.model == "bert-base"])
    fitted = laws.laws(points)
    sentences = [laws.sentence(crossover) for crossover in fitted.crossovers]
    report.write(
        tmp_path / "run", store.load_machine(runs.RUN), points, findings, laws=fitted.laws, law_findings=sentences
    )
    rows = Rows((tmp_path / "run" / "index.html").read_text()).rows["laws"][1:]
    assert len(rows) == len(fitted.laws) > 0
    assert rows[0][:2] == [fitted.laws[0].key.subject.model, str(fitted.laws[0].key.subject.precision)]
    markdown = (tmp_path / "run" / "report.md").read_text()
    assert all(sentence in markdown for sentence in sentences)
    row = next(figure for figure in FIGURES if figure.name == "prefill-latency")
    chart = latency_figures.arrange(row, points, findings, fitted.laws)
    assert chart
    line, law = chart.panels[0].lines[0], fitted.laws[0]
    lengths, times_ms = zip(*line.fitted, strict=True)
    assert (lengths[0], lengths[-1]) == pytest.approx((law.lengths[0], law.lengths[-1]))
    assert times_ms[0] == pytest.approx(line.marks[0].y.middle, rel=0.5)
