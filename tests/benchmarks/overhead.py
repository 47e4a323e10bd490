"""Wall time of a five-length profile divided by the time spent inside timed runs.

What is not timed: new processes, loading, first runs, warming up until steady. All defaults (three rounds).
"""

import tempfile
from pathlib import Path

from edgeprof import load_run
from tests.benchmarks.harness import edgeprof

TITLE = "Overhead: wall time over timed time"


def run() -> list[str]:
    lines = ["| model | token lengths | visits | wall, s | inside timed runs, s | ratio |", "|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        edgeprof("export", "bert-base", "bert-mini", "--weights", "random", cwd=work)
        for model in ("bert-mini", "bert-base"):
            cost = edgeprof("profile", model, "--seq", "16,64,128,256,512", "--name", model, cwd=work)
            readings = [visit.outcome.reading for visit in load_run(work / "reports" / model).measurements]
            timed_s = sum(sum(reading.latencies_s) for reading in readings if reading)
            lines.append(
                f"| {model} | 16, 64, 128, 256, 512 | {len(readings)} | {cost.wall_s:.1f} | {timed_s:.1f} "
                f"| {cost.wall_s / timed_s:.2f} |"
            )
    return lines
