"""Other work on the cores shows in a visit, and a visit that was disturbed is told from one that was not."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from builders.records import changed
from toys import save_matmuls, x

from edgeprof import store
from edgeprof.analysis.disturbance import Quiet, disturbed
from edgeprof.measure.contention import Contention, waited_ns
from edgeprof.measure.launch import LATENCY_WORKER
from edgeprof.process import call
from edgeprof.schema import Measurement, Reading, Request, StoppingRule


def tasks(folder: Path, *texts: str) -> Path:
    for number, text in enumerate(texts):
        (folder / str(number)).mkdir(parents=True, exist_ok=True)
        (folder / str(number) / "schedstat").write_text(text)
    return folder


def test_the_waiting_of_all_threads_is_added_up(tmp_path: Path) -> None:
    """run time, time waited, time slices: 200 + 70 nanoseconds were waited."""
    assert waited_ns(tasks(tmp_path / "task", "1000 200 3\n", "5000 70 1\n")) == 270


@pytest.mark.parametrize("text", ["", "1000\n", "a b c\n"])
def test_a_kernel_that_does_not_count_tells_nothing(text: str, tmp_path: Path) -> None:
    folder = tasks(tmp_path / "task", text)
    assert waited_ns(folder) is None
    assert waited_ns(tmp_path / "nowhere") is None
    assert Contention(folder).share(1) is None


def test_processes_that_want_the_same_cores_show(tmp_path: Path) -> None:
    """Four that never rest, on every core there is: a thread gets a fifth of one, and waits for the rest."""
    cores = len(os.sched_getaffinity(0))
    model = save_matmuls(tmp_path / "model.onnx", width=512, layers=4)
    request = Request(
        model=str(model),
        threads=1,
        inputs=(x(1, 16, 512),),
        stopping=StoppingRule(min_runs=10, min_time_s=1.0, max_time_s=20.0),
    )
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4 * cores)]
    try:
        reading = call(LATENCY_WORKER, request, Reading, timeout_s=60)
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert reading.contention is not None
    assert reading.contention > 0.3


def record(contention: float | None, latencies_s: tuple[float, ...]) -> Measurement:
    source = store.load_measurements(Path(__file__).parents[1] / "data" / "run")[0]
    assert source.outcome.reading is not None
    reading = msgspec.structs.replace(source.outcome.reading, contention=contention, latencies_s=latencies_s)
    return changed(source, reading=reading)


@pytest.mark.parametrize(
    ("contention", "latencies_s", "expected"),
    [
        (0.10, (0.1, 0.1), True),
        (0.01, (0.1, 0.1), False),
        (0.90, (0.01, 0.01), False),  # too short to tell
        (None, (0.1, 0.1), False),
    ],
)
def test_a_visit_is_disturbed_by_more_than_three_percent_of_waiting(
    contention: float | None, latencies_s: tuple[float, ...], expected: bool
) -> None:
    assert disturbed(record(contention, latencies_s), Quiet({})) == expected


def test_a_visit_without_a_reading_is_not_disturbed() -> None:
    assert not disturbed(changed(record(0.5, (1.0,)), status="failed", reading=None), Quiet({}))
