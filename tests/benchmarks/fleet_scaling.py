"""How the wall time of a run grows with the devices in it, and what is sent.

One, two and four agents on this machine, whose devices sleep for a second in place of each visit: what is left is what
edgeprof, Dask and the connections take. All devices measure the same points, so the time of one device is the ideal.
The runs are made in turn, three of each, each with files that were sent before.

Bytes: to a device that has nothing, what `files` of a model take together, and what of them is sent.
"""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from edgeprof import load_run
from edgeprof.api.targets import one_model
from edgeprof.fleet.opening import open_links
from edgeprof.fleet.send import content_of, send_files
from tests.benchmarks import fleets
from tests.benchmarks.harness import HERE, edgeprof, spread
from tests.benchmarks.sleeping_device import VISIT_S

TITLE = "Fleet: wall time over devices, and bytes sent"
FLEETS, TURNS = (1, 2, 4), 3
ROUNDS = 3
PROFILE = ("profile", "bert-mini", "--precision", "fp32,int8", "--seq", "16,32,64", "--rounds", ROUNDS, "--max-time", 0)
POINTS = 6


def run() -> list[str]:
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        edgeprof("export", "bert-mini", "--weights", "random", "--precision", "fp32,int8", cwd=work)
        return [*_walls(work), "", *_bytes(work)]


def _walls(work: Path) -> list[str]:
    slept_s = POINTS * ROUNDS * VISIT_S
    names = [f"board{number}" for number in range(max(FLEETS))]
    walls: dict[int, list[float]] = {size: [] for size in FLEETS}
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(fleets.scheduler(work, names))
        for name in names:
            words = (sys.executable, HERE / "sleeping_agent.py", name, address)
            stack.enter_context(fleets.agent(work, name, address, *words))
        edgeprof(*map(str, PROFILE), "--on", ",".join(names), "--name", "sent", cwd=work)
        for turn in range(TURNS):
            for size in FLEETS:
                name, on = f"{size}-{turn}", ",".join(names[:size])
                walls[size].append(edgeprof(*map(str, PROFILE), "--on", on, "--name", name, cwd=work).wall_s)
                visits = load_run(work / "reports" / name).measurements
                assert len(visits) == size * POINTS * ROUNDS
    lines = ["| devices | visits | wall, s | besides the visits of one device, s |", "|---|---|---|---|"]
    for size in FLEETS:
        besides = spread([wall_s - slept_s for wall_s in walls[size]])
        lines.append(f"| {size} | {size * POINTS * ROUNDS} | {spread(walls[size])} | {besides} |")
    return lines


def _bytes(work: Path) -> list[str]:
    lines = ["| sent | files, MB | sent, MB |", "|---|---|---|"]
    os.environ["EDGEPROF_CACHE"] = str(work / "cache-bytes")
    try:
        with open_links(["local"]) as (link,):
            edgeprof("export", "bert-mini", "--weights", "random", "--static", "--seq", "16", cwd=work)
            for what, target in (
                ("fp32", "bert-mini:fp32"),
                (
                    "a graph of it of one shape, which reads its weights",
                    work / "models/bert-mini/fp32/prefill-1x16.onnx",
                ),
                ("int8", "bert-mini:int8"),
                ("int8 again", "bert-mini:int8"),
            ):
                files = content_of(one_model(str(target), work / "models"))
                whole = sum(file.size_bytes for file in files.content)
                lines.append(f"| {what} | {whole / 1e6:.2f} | {send_files(link, files) / 1e6:.2f} |")
    finally:
        os.environ.pop("EDGEPROF_CACHE")
    return lines
