"""The median that `edgeprof profile` reports, divided by that of a hand-written onnxruntime loop with I/O binding.

Asked for: within 1 %. The two are visited in turn, each time in new processes; a pair is one visit of each.
"""

import tempfile
from pathlib import Path
from statistics import median

from edgeprof import load_run
from tests.benchmarks.harness import HERE, edgeprof, python, spread

TITLE = "Precision: edgeprof against a bare loop"
PAIRS = 10


def run() -> list[str]:
    lines = ["| model | tokens | pairs | ratio of medians (range) | both ways of a bare loop against itself |"]
    lines.append("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        edgeprof("export", "bert-base", "bert-mini", "--weights", "random", cwd=work)
        for model, tokens, runs in (("bert-base", 128, 20), ("bert-mini", 128, 200)):
            ratios, control = zip(*(_pair(work, model, tokens, runs, index) for index in range(PAIRS)), strict=True)
            overall = median(ratios)
            lines.append(
                f"| {model} | {tokens} | {PAIRS} | {overall:.4f} ({min(ratios):.3f} to {max(ratios):.3f}) "
                f"| {spread(list(control))} |"
            )
    return lines


def _pair(work: Path, model: str, tokens: int, runs: int, index: int) -> tuple[float, float]:
    """edgeprof / bare, and bare / bare of two bare visits around it: what the machine itself does."""
    before = _bare(work, model, tokens, runs)
    name = f"{model}-{index}"
    settings = ("--rounds", "1", "--max-time", 0, "--runs", str(runs), "--min-time", "0", "--name", name)
    edgeprof("profile", model, "--seq", str(tokens), *settings, cwd=work)
    (point,) = load_run(work / "reports" / name).points
    assert point.latency_median_s is not None
    after = _bare(work, model, tokens, runs)
    return point.latency_median_s / ((before + after) / 2), after / before


def _bare(work: Path, model: str, tokens: int, runs: int) -> float:
    file = work / "models" / model / "fp32" / "model.onnx"
    return float(python(HERE / "bare_loop.py", file, str(tokens), str(runs), cwd=work).output.split()[-1])
