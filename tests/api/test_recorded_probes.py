"""Predictions from probes that were kept, held against runs of the same machines. Nothing is timed here."""

from pathlib import Path
from typing import Any

import pytest

import edgeprof

PROBES = Path(__file__).parents[1] / "data" / "probes"
RUNS = sorted(folder for folder in PROBES.iterdir() if folder.is_dir())
LATENCY, MEMORY = 0.15, 0.05
"""The largest errors that were seen are 7 % and 2 %."""


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_a_run_is_predicted_from_the_probe_of_its_machine(folder: Path, artifacts: dict[tuple[str, str], Any]) -> None:
    run = edgeprof.load_run(folder)
    measured = {(str(point.subject.precision), point.load): point for point in run.points}
    for precision in ("fp32", "int8"):
        location = artifacts["bert", precision].location
        lengths = sorted({load.length for _, load in measured})
        answer = edgeprof.predict([location], device=folder / "probe.json", seq=lengths)
        for one in answer.points:
            point = measured[precision, one.load]
            assert point.latency and point.memory and one.memory
            assert abs(one.latency.best_s / point.latency.best_s - 1) <= LATENCY
            assert abs(one.memory.peak_bytes / point.memory.peak_bytes - 1) <= MEMORY
            assert one.latency.low_s and one.latency.high_s
            assert one.latency.low_s <= point.latency.best_s <= one.latency.high_s
