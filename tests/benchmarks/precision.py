"""The median that `edgeprof profile` reports, divided by that of a hand-written onnxruntime loop with I/O binding.

Asked for: within 1 %. Three visits in turn, each in a new process: bare, edgeprof, bare. Where the two bare ones differ
by more than 3 %, the machine moved and the visit between them says nothing: such pairs are left out, and counted.
"""

import tempfile
from pathlib import Path

from edgeprof import load_run
from tests.benchmarks.harness import HERE, edgeprof, python, spread

TITLE = "Precision: edgeprof against a bare loop"
PAIRS = 8
TRIES = 30
STEADY = 0.03


def run() -> list[str]:
    lines = ["| model | tokens | steady pairs, of all | median of the ratios (range) |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        edgeprof("export", "bert-base", "bert-mini", "--weights", "random", cwd=work)
        for model, tokens, runs in (("bert-base", 128, 20), ("bert-mini", 128, 300)):
            ratios: list[float] = []
            tries = 0
            while len(ratios) < PAIRS and tries < TRIES:
                ratio, moved = _pair(work, model, tokens, runs, tries)
                tries += 1
                if abs(moved - 1) <= STEADY:
                    ratios.append(ratio)
            lines.append(f"| {model} | {tokens} | {len(ratios)} of {tries} | {spread(ratios)} |")
    return lines


def _pair(work: Path, model: str, tokens: int, runs: int, index: int) -> tuple[float, float]:
    """edgeprof / bare, and bare / bare of two bare visits around it: what the machine itself does."""
    before = _bare(work, model, tokens, runs)
    name = f"{model}-{index}"
    settings = ("--rounds", "1", "--runs", str(runs), "--min-time", "0", "--name", name)
    edgeprof("profile", model, "--seq", str(tokens), *settings, cwd=work)
    (point,) = load_run(work / "reports" / name).points
    assert point.latency_median_s is not None
    after = _bare(work, model, tokens, runs)
    return point.latency_median_s / ((before + after) / 2), after / before


def _bare(work: Path, model: str, tokens: int, runs: int) -> float:
    file = work / "models" / model / "fp32" / "model.onnx"
    return float(python(HERE / "bare_loop.py", file, str(tokens), str(runs), cwd=work).output.split()[-1])
