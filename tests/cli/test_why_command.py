"""`edgeprof why` as a user runs it."""

from pathlib import Path

import pytest
from builders import operator_runs
from command import Command

from edgeprof import store

HEAVY = ("torch", "transformers", "matplotlib", "onnxruntime", "jinja2")


@pytest.fixture
def run(tmp_path: Path) -> str:
    """bert-base in fp32 and int8, whose int8 wins at 16 tokens and loses at 64, with operators and products."""
    operator_runs.write(tmp_path / "reports" / "mine")
    return "mine"


def test_it_shows_verdict_table_reasons_and_processor(run: str, edgeprof: Command) -> None:
    ran = edgeprof("why", "bert-base:fp32", "bert-base:int8", "--run", run, PYTHONPROFILEIMPORTTIME="1")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[0] == "A: bert-base fp32   B: bert-base int8   (cpu, batch 1, 2 threads)"
    assert lines[2].startswith("Prefill: int8 is faster than fp32 at 16 tokens (2x as fast) and slower than fp32 at 64")
    header, short, long = (line.split("  ") for line in lines[4:7])
    assert [cell.strip() for cell in header if cell][:6] == ["phase", "tokens", "A", "B", "A / B", "95 % interval"]
    assert [cell.strip() for cell in short if cell][:5] == ["prefill", "16", "20 ms", "10 ms", "2x"]
    assert [cell.strip() for cell in long if cell][-3:] == ["30 ms → 40 ms", "10 ms → 10 ms", "0 ns → 50 ms"]
    assert "Why" in lines and "Processor" in lines
    assert any(line.startswith("- Measured: one product with 2048 x 2048 weights") for line in lines)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in ran.sentences}
    assert not imported.intersection(HEAVY)


def test_a_program_can_read_it(run: str, edgeprof: Command) -> None:
    (result,) = edgeprof("why", "bert-base:fp32", "bert-base:int8", "--run", run, "--json").json
    assert result["turns"] == [{"phase": "prefill", "below": 16, "above": 64, "winner": "A"}]
    assert result["places"][1]["classes"][0] == {"name": "matmul", "a_s": 0.03, "b_s": 0.04}


def test_it_measures_files(models: Path, edgeprof: Command, tmp_path: Path) -> None:
    files = [models / "bert-tiny" / precision / "model.onnx" for precision in ("fp32", "int8")]
    quick = ("--seq", 4, "--rounds", 1, "--max-time", 0, "--runs", 2, "--min-time", 0, "--threads", 1)
    ran = edgeprof("why", *files, *quick, "--name", "two")
    assert ran.code == 0, ran.err
    assert ran.out.startswith(
        "A: bert-tiny fp32   B: bert-tiny int8   (cpu, batch 1, 1 thread)"
    )  # by most of their bytes
    assert "none of the 13 weight matmuls of int8 multiplies in fp32" in ran.out
    assert [each.subject.model for each in store.load_operators(tmp_path / "reports" / "two")] == [
        "bert-tiny",
        "bert-tiny",
    ]
    shown = edgeprof("profile", *files[:1], *quick, "--ops", "--name", "two")
    (row,) = (line for line in shown.out.splitlines() if "12 MatMul" in line)
    assert row.split()[:5] == ["bert-tiny", "fp32", "prefill", "1", "4"]
    assert len(store.load_operators(tmp_path / "reports" / "two")) == 2


def test_wrong_usage(run: str, edgeprof: Command) -> None:
    ran = edgeprof("why", "bert-base", "bert-base:int8", "--run", run)
    assert (ran.code, ran.sentences) == (
        2,
        ["edgeprof: This run has bert-base in several precisions. Name one of them: bert-base:fp32, bert-base:int8."],
    )
    assert edgeprof("why", "bert-base:fp32", "bert-base:int8", "--run", "yours").code == 2
    assert edgeprof("why", "gpt2:fp32").code == 2
