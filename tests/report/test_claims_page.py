"""claims.md: every claim with its evidence, and the run of the measured ones."""

import re
from pathlib import Path

import pytest
from builders import length_runs

from edgeprof.analysis import claims, statistics
from edgeprof.report.claims import write_claims


def page(folder: Path, **built: object) -> str:
    points = statistics.points(length_runs.visits(**built))  # type: ignore[arg-type]
    checked = claims.check(points, run=str(folder))
    written = write_claims(folder, length_runs.MACHINE, checked, started_at="2026-03-01T12:00:00+00:00")
    assert written == folder / "claims.md"
    return written.read_text()


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(tmp_path_factory.mktemp("reports") / "mine")


def rows(text: str, columns: int) -> list[list[str]]:
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in cells if len(row) == columns]


def test_every_claim_is_a_row(text: str) -> None:
    table = [row for row in rows(text, 5) if row[0].isdigit()]
    assert [int(row[0]) for row in table] == [claim.number for claim in claims.CLAIMS]
    assert table[1][1:] == [
        "A layer applied to every token alone has 768 x 768 weights, under 1 M.",
        "computed",
        "589,824 weights, whatever the number of tokens",
        "confirmed",
    ]
    assert table[0][4].startswith("confirmed with a correction: It has 154.6 B weights.")
    assert table[10][4].startswith("wrong: The model of 175 B parameters")
    assert "15 claims: 4 confirmed with a correction, 10 confirmed, 1 wrong." in text
    assert "recorded" not in text.replace("the recorded one", "")


def test_measured_values_stand_beside_the_curve(text: str) -> None:
    assert "## gpt2 fp32, prefill, batch 1, 2 threads over token lengths" in text
    measured = [row for row in rows(text, 7) if row[0].isdigit()]
    assert len(measured) == 10
    assert measured[0][:3] == ["16", "1.36 GMAC", "18.2 ms"]
    assert measured[0][4:] == ["18.2 ms", "6.6 MB", "6.6 MB"]


def test_machine_run_and_weights_are_named(text: str) -> None:
    assert "this run, mine, measured from 2026-03-01 12:00:00 UTC" in text
    assert "| CPU | Example Edge CPU (x86\\_64) |" in text
    assert "Weights are random for bert-base and gpt2: latency and memory are valid" in text
    assert "edgeprof claims mine --measure" in text


def test_trained_weights_and_changed_verdicts_are_reported(tmp_path: Path) -> None:
    text = page(tmp_path / "flat", seconds=lambda tokens: 0.1, weights="pretrained")
    assert "random" not in text
    assert "Verdicts that differ from the recorded ones: claim 8." in text
    assert "| not shown (recorded: confirmed): The time of bert-base does not differ clearly" in text
