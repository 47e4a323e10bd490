"""What the measuring loop adds to a run: against a bare loop of run_with_iobinding.

Both loops run one session in one process in turn, with tensors bound to it in a binding of their own, in blocks of at
least 5 runs and 20 ms; a ratio is that of the medians of two blocks that follow each other. So the level of a process
and of the machine cancel, which differ by more than a harness does. Twelve ratios are a round, of which the median
counts; the interval over rounds is that of `compare`. Asked for: within 0.5 %. "Against itself" is the bare loop in
both places.
"""

import json
import tempfile
from pathlib import Path

from tests.benchmarks.harness import HERE, edgeprof, python

TITLE = "Overhead of the measuring loop"
MODELS = (("bert-mini", "prefill"), ("gpt2", "decode"))
LENGTHS = (1, 16, 512)


def run() -> list[str]:
    lines = ["| model | phase | tokens | bare, ms | harness / bare (97 % interval) | against itself |"]
    lines += ["|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        edgeprof("export", *dict(MODELS), "--weights", "random", cwd=work)
        for model, phase in MODELS:
            for length in LENGTHS:
                words = (HERE / "alternating_loop.py", model, phase, str(length))
                told = json.loads(python(*words, cwd=work).output.splitlines()[-1])
                lines.append(
                    f"| {model} | {phase} | {length} | {told['bare_ms']:.3f} | {told['ratio']} | {told['self']} |"
                )
    return lines
