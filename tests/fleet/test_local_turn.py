"""What is measured on a device itself takes turns with what others ask of it, and never fails for want of a turn."""

import errno
import fcntl
import threading
from pathlib import Path

import pytest
from builders import probes

from edgeprof import probe, profile, store
from edgeprof.api import local_turn
from edgeprof.api.kept_probe import file_of
from edgeprof.api.local_turn import LocalTurn
from edgeprof.fleet.turn import busy_with, turn, user
from edgeprof.measure import machine
from edgeprof.schema import encode

Line = tuple[str, float | None]


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEPROF_LOCKS", str(tmp_path / "locks"))
    return tmp_path / "locks"


def test_a_run_waits_while_others_measure_and_others_wait_for_it(models: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    waits, seen = threading.Event(), set()

    def progress(activity: str, _share: float | None) -> None:
        lines.append(activity)
        if activity.startswith("waiting"):
            waits.set()
        elif activity.startswith("measures "):
            seen.add(busy_with().partition(", since")[0])

    def measured() -> None:
        quick = {"rounds": 2, "max_time_s": 0, "runs": 2, "min_time_s": 0.0, "precision": ["fp32"]}
        profile(["bert-tiny"], seq=[4], name="mine", models=models, out=tmp_path, progress=progress, **quick)

    run = threading.Thread(target=measured)
    with turn("measures gpt2 fp32, prefill at 16 tokens for anna", 0):
        run.start()
        assert waits.wait(60)
        assert not (tmp_path / "mine/measurements.jsonl").exists()
    run.join(60)
    assert (tmp_path / "mine/measurements.jsonl").read_bytes().count(b"\n") == 2
    (waited,) = (line for line in lines if line.startswith("waiting"))
    assert waited.startswith("waiting, as this machine measures gpt2 fp32, prefill at 16 tokens for anna, since 20")
    assert lines[lines.index(waited) + 1] == "measures bert-tiny fp32, prefill at 4 tokens"
    assert seen == {f"measures bert-tiny fp32, prefill at 4 tokens for {user()}"}
    assert busy_with() == ""


def took(doing: str) -> tuple[list[str], list[str]]:
    """What was shown and noted for two visits."""
    lines: list[str] = []
    own = LocalTurn(lambda activity, _share: lines.append(activity))
    for _ in range(2):
        with own.take(doing):
            pass
    return lines, own.notes


def test_locks_that_cannot_be_used_are_a_note(locks: Path) -> None:
    assert took("measures") == ([], [])
    (locks / "edgeprof-queue.lock").unlink()
    (locks / "edgeprof-queue.lock").mkdir()
    lines, notes = took("measures")
    assert lines == []
    assert notes == [
        f"Other work on this machine was not waited for. {locks}/edgeprof-queue.lock cannot be locked: Is a directory."
    ]


def test_work_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_turn, "WAIT_S", 0.05)
    with turn("measures its ceilings for anna", 0):
        lines, notes = took("measures")
    assert lines[0].startswith("waiting, as this machine measures its ceilings for anna, since 20")
    assert lines[1] == "measures"
    (note,) = notes
    assert note.startswith("Other work on this machine was not waited for. It is busy: measures its ceilings for anna")


def test_a_full_disk_keeps_nobody_from_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with turn("measures its ceilings for anna", 0):
            assert busy_with() == "works on something"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_system_without_locks_is_a_note(locks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_handle: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuses)
    said = f"Files in {locks} cannot be locked: No locks available."
    assert took("measures") == ([], [f"Other work on this machine was not waited for. {said}"])


def test_a_probe_that_is_kept_is_shown_while_others_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(local_turn, "WAIT_S", 0.05)
    seen = probes.probe(machine.describe())
    store.write_atomic(file_of(seen.machine.machine_id, seen.threads), encode(seen))
    lines: list[str] = []
    with turn("measures gpt2 fp32, prefill at 16 tokens for anna", 0):
        assert probe(threads=seen.threads, progress=lambda activity, _share: lines.append(activity)) == seen
    assert lines == []
