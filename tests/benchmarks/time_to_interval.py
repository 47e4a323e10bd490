"""Wall time until the figure of a point is known: sampling that stops when it knows enough, against fixed runs.

`profile` with its defaults ends when the 95 % interval of the median is within 3 %. Beside it what people do today: 100
runs, once (whose interval says nothing about other processes) and in three processes. All three on each point in turn,
in two rounds. Asked for: at most 0.5 times the time of 100 fixed runs on steady points.
"""

import statistics
import tempfile
from pathlib import Path

from edgeprof import load_run
from edgeprof.schema import Point
from tests.benchmarks.harness import edgeprof

TITLE = "Time to the interval: adaptive against fixed runs"
POINTS = (
    ("bert-mini", "prefill", 128),
    ("bert-base", "prefill", 128),
    ("bert-base", "prefill", 256),
    ("gpt2", "decode", 128),
)
WAYS = {
    "adaptive": (),
    "100 runs": ("--runs", "100", "--min-time", "0", "--rounds", "1", "--max-time", "0"),
    "3 x 100 runs": ("--runs", "100", "--min-time", "0", "--rounds", "3", "--max-time", "0"),
}
ROUNDS = 2


def run() -> list[str]:
    lines = [
        "| model | phase | tokens | verdict | adaptive, s | 100 runs, s | 3 x 100 runs, s | over 100 | over 3 x 100 |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        edgeprof("export", "bert-mini", "bert-base", "gpt2", "--weights", "random", cwd=work)
        for place in POINTS:
            visits = [{way: _visited(way, place, number, work) for way in WAYS} for number in range(ROUNDS)]
            walls = {way: [each[way][0] for each in visits] for way in WAYS}
            ours, once, thrice = (statistics.fmean(walls[way]) for way in WAYS)
            verdicts = ", ".join(
                f"{point.verdict} {point.verdict_note}" for each in visits for _, point in [each["adaptive"]]
            )
            cells = [*map(str, place), verdicts, *(" ".join(f"{one:.1f}" for one in walls[way]) for way in WAYS)]
            lines.append(f"| {' | '.join(cells)} | {ours / once:.2f} | {ours / thrice:.2f} |")
    return lines


def _visited(way: str, place: tuple[str, str, int], number: int, work: Path) -> tuple[float, Point]:
    """Wall time of one profile, and its point."""
    model, phase, length = place
    name = f"{way}-{model}-{phase}-{length}-{number}".replace(" ", "")
    words = ("profile", model, "--phase", phase, "--seq", str(length), "--name", name)
    cost = edgeprof(*words, *WAYS[way], cwd=work)
    (point,) = load_run(work / "reports" / name).points
    return cost.wall_s, point
