"""`edgeprof export` of checkpoints that differ in depth alone: SmolLM2-135M's architecture with 4 to 48 layers.

The slope is that of the least-squares line. Asked for: at most 0.1 s per layer, besides what its
weights take: the time of copying them from one file to another.
"""

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.benchmarks import checkpoints
from tests.benchmarks.export_visits import visit
from tests.benchmarks.exporters import EDGEPROF

TITLE = "Export time over depth"
ROUNDS = 1
LAYERS = (4, 12, 24, 48)
CONFIG = checkpoints.SMOLLM2


def run() -> list[str]:
    lines = ["| layers | wall time, s | peak memory, GB | weights, GB |", "|---|---|---|---|"]
    points: list[tuple[int, float]] = []
    copies: list[tuple[int, float]] = []
    for layers in LAYERS:
        with tempfile.TemporaryDirectory() as scratch:
            work = Path(scratch)
            checkpoint = checkpoints.write(work / "llama", {**CONFIG, "num_hidden_layers": layers})
            weights = checkpoint / "model.safetensors"
            started = time.perf_counter()
            shutil.copyfile(weights, work / "copy")
            copies.append((layers, time.perf_counter() - started))
            visits = visit((EDGEPROF,), checkpoint, work, ROUNDS)
            size = weights.stat().st_size / 1e9
        if visits.failures:
            lines.append(f"| {layers} | fails: {visits.failures[EDGEPROF.name]} | | |")
            continue
        costs = visits.costs[EDGEPROF.name]
        points += [(layers, cost.wall_s) for cost in costs]
        walls = ", ".join(f"{cost.wall_s:.1f}" for cost in costs)
        peak = max(cost.tree_rss_bytes for cost in costs) / 1e9
        lines.append(f"| {layers} | {walls} | {peak:.2f} | {size:.2f} |")
    if len(points) < 2:
        return lines
    slope, copying = _slope(points), _slope(copies)
    met = "yes" if slope <= 0.1 + copying else "no"
    told = f"{slope:.3f} s per layer; copying the weights of one takes {copying:.3f} s. Asked: 0.1 s and that: {met}."
    return [*lines, "", told]


def _slope(points: list[tuple[int, float]]) -> float:
    return float(np.polyfit(*zip(*points, strict=True), deg=1)[0])
