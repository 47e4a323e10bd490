"""Visits: whatever becomes of the child, there is a record; and no child outlives its parent."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import psutil
import pytest
from toys import ENDLESS, make_job, save_matmuls, x

from edgeprof.measure.launch import measure
from edgeprof.measure.schedule import Job, Visit
from edgeprof.schema import Measurement, StoppingRule, decode, encode
from edgeprof.store import state_of

ROOT = Path(__file__).parents[2]


def visit(job: Job) -> Measurement:
    return measure(Visit(job=job, round=1))


def test_a_visit_that_goes_well(toy: Path) -> None:
    record = visit(make_job(toy, (x(1, 2, 8),), macs=256))
    assert (record.outcome.status, record.outcome.error) == ("ok", "")
    assert record.outcome.reading
    assert len(record.outcome.reading.latencies_s) == 3
    assert (record.subject.model, record.load.tokens, record.round, record.machine_id) == ("toy", 2, 1, "here")
    assert (record.facts.params, record.facts.macs, record.subject.weights.kind) == (7, 256, "file")
    assert datetime.fromisoformat(record.outcome.started_at).utcoffset() is not None
    assert decode(encode(record), Measurement, "memory") == record


def test_a_visit_that_fails_says_why_on_one_line(toy: Path, tmp_path: Path) -> None:
    record = visit(make_job(tmp_path / "none.onnx", (x(1, 2, 8),)))
    assert (record.outcome.status, record.outcome.reading) == ("failed", None)
    assert "doesn't exist" in record.outcome.error
    record = visit(make_job(toy, (x(1, 2, 9),)))
    assert record.outcome.status == "failed"
    assert "\n" not in record.outcome.error
    assert "invalid dimensions" in record.outcome.error


def test_a_visit_that_runs_out_of_time(toy: Path) -> None:
    record = visit(make_job(toy, (x(1, 2, 8),), ENDLESS, timeout_s=1.0))
    assert (record.outcome.status, record.outcome.reading) == ("timeout", None)
    assert "within 1 s" in record.outcome.error


def test_more_memory_than_there_is(tmp_path: Path) -> None:
    model = save_matmuls(tmp_path / "wide.onnx", width=8, layers=1)
    record = visit(make_job(model, (x(1, 2**42, 8),)))
    assert record.outcome.status == "out of memory"
    assert record.outcome.error.startswith("Memory ran out while running")


def overwritten(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(b"")
    os.utime(file, ns=(0, 0))


def replaced(file: Path) -> None:
    file.with_suffix(".new").write_bytes(file.read_bytes())
    file.with_suffix(".new").replace(file)


CHANGES = {"overwritten": overwritten, "replaced": replaced, "removed": Path.unlink}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_changed_after_the_request_is_not_measured(
    change: Callable[[Path], object], toy: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "weights"
    weights.touch()
    files = (state_of(toy), state_of(weights))
    assert visit(make_job(toy, (x(1, 2, 8),), files=files)).outcome.status == "ok"
    change(weights)
    record = visit(make_job(toy, (x(1, 2, 8),), files=files))
    assert (record.outcome.status, record.outcome.reading) == ("failed", None)
    assert str(weights) in record.outcome.error


def test_a_file_that_is_replaced_during_a_visit_makes_it_fail(toy: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(toy.read_bytes())
    stopping = StoppingRule(min_runs=3, min_time_s=3.0)
    replacer = threading.Thread(target=lambda: (measuring_child(os.getpid()), replaced(model)))
    replacer.start()
    record = visit(make_job(model, (x(1, 2, 8),), stopping, files=(state_of(model),)))
    replacer.join()
    assert (record.outcome.status, record.outcome.reading) == ("failed", None)
    assert record.outcome.error == f"{model} was changed or replaced while it was measured. Run the command again."


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_child_that_is_killed(toy: Path) -> None:
    killer = threading.Thread(target=lambda: os.kill(measuring_child(os.getpid()).pid, signal.SIGKILL))
    killer.start()
    record = visit(make_job(toy, (x(1, 2, 8),), ENDLESS))
    killer.join()
    assert (record.outcome.status, record.outcome.reading) == ("failed", None)
    assert "SIGKILL" in record.outcome.error
    assert "memory" in record.outcome.error


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_child_ends_with_its_parent(toy: Path, tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "job.json").write_bytes(encode(make_job(toy, (x(1, 2, 8),), ENDLESS)))
    script = """
        import sys
        from pathlib import Path
        from edgeprof.measure.schedule import Job, Visit
        from edgeprof.measure.launch import measure
        from edgeprof.schema import decode
        measure(Visit(job=decode(Path(sys.argv[1]).read_bytes(), Job, "test"), round=0))
        """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "job.json")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    child = measuring_child(parent.pid)
    parent.send_signal(number)
    parent.wait(timeout=30)
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def measuring_child(parent: int) -> psutil.Process:
    """The child of that process, once it is measuring (its memory peak has been reset, the model runs)."""
    children: list[psutil.Process] = []

    def is_measuring() -> bool:
        children[:] = psutil.Process(parent).children()
        return bool(children) and sum(children[0].cpu_times()[:2]) > 0.5

    wait_until(is_measuring)
    return children[0]


def wait_until(met: Callable[[], bool], limit_s: float = 30.0) -> None:
    end = time.monotonic() + limit_s
    while not met():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_a_visit_that_is_stretched(toy: Path) -> None:
    record = measure(Visit(job=make_job(toy, (x(1, 2, 8),)), round=1, stretch=3.0))
    assert record.outcome.reading
    assert len(record.outcome.reading.latencies_s) == 9  # of the three that the rule of toys asks for
    assert record.stopping and record.stopping.min_runs == 3
    assert record.settings_key == visit(make_job(toy, (x(1, 2, 8),))).settings_key
