"""A fleet of one against local: the wall time of a profile, and the figures; and what an idle agent costs.

An agent on this machine, over loopback. The same profile is run in turn: locally alone, locally with an agent that
waits beside it, and through the agent. Wall times are of the whole command, files already sent; figures are the medians
of each point, as a ratio to those measured locally alone in the same turn. The last row is local alone, measured twice
in each turn: what two equal things differ by here.
"""

import contextlib
import tempfile
from pathlib import Path

from edgeprof import load_run
from tests.benchmarks import fleets
from tests.benchmarks.harness import edgeprof, spread

TITLE = "Fleet of one: overhead, and what an idle agent costs"
TURNS = 4
LENGTHS = "16,128"
PROFILE = ("profile", "bert-mini", "--seq", LENGTHS, "--max-time", "0", "--rounds", "3", "--min-time", "1")
HOW = {"beside": "local, an agent waits beside it", "through": "through the agent", "again": "local again"}


def run() -> list[str]:
    walls: dict[str, list[float]] = {"alone": []} | {how: [] for how in HOW}
    ratios: dict[str, list[float]] = {how: [] for how in HOW}
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        edgeprof("export", "bert-mini", "--weights", "random", cwd=work)
        with fleets.scheduler(work, ["here"]) as address:
            with fleets.agent(work, "here", address):  # the files are sent, and the runtime's memory is read, once
                edgeprof(*PROFILE[:2], "--seq", LENGTHS, "--on", "here", "--rounds", "1", "--max-time", "0", cwd=work)
            edgeprof(*PROFILE[:2], "--seq", "16", "--rounds", "1", "--max-time", "0", cwd=work)
            for turn in range(TURNS):
                figures = {how: _measure(work, address, how, turn, walls) for how in ("alone", *HOW)}
                for how in HOW:
                    ratios[how] += [figures[how][key] / figures["alone"][key] for key in figures["alone"]]
    lines = [
        "| | wall, s | figures over local alone |",
        "|---|---|---|",
        f"| local alone | {spread(walls['alone'])} | |",
    ]
    return [*lines, *(f"| {text} | {spread(walls[how])} | {spread(ratios[how])} |" for how, text in HOW.items())]


def _measure(work: Path, address: str, how: str, turn: int, walls: dict[str, list[float]]) -> dict[int, float]:
    """The median of each length."""
    with contextlib.ExitStack() as stack:
        if how in ("beside", "through"):
            stack.enter_context(fleets.agent(work, "here", address))
        name = f"{how}-{turn}"
        words = (*PROFILE, "--name", name, *(("--on", "here") if how == "through" else ()))
        walls[how].append(edgeprof(*words, cwd=work).wall_s)
    points = load_run(work / "reports" / name).points
    return {point.load.tokens or 0: point.latency.median_s for point in points if point.latency}
