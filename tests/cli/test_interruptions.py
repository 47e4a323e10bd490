"""Killed, interrupted, out of disk: what was finished is kept, and the same command goes on from there."""

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from builders.records import flat
from command import Command, command_line

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def start(at: Path, *words: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command_line(*words),
        cwd=at,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(condition: Callable[[], bool], running: "subprocess.Popen[str]") -> None:
    """Until it holds; the minute is there so that a failure ends."""
    deadline = time.monotonic() + 60
    while not condition():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ended(children: list[psutil.Process]) -> bool:
    """Whether all end within seconds: a process that is killed takes a moment, to give its memory back."""
    deadline = time.monotonic() + 5
    while any(map(runs, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(runs, children))


def runs(child: psutil.Process) -> bool:
    try:
        return child.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def finish(running: "subprocess.Popen[str]", how: signal.Signals) -> tuple[int, str]:
    """Send a signal to the command and all its children; its exit code and what it said."""
    os.killpg(running.pid, how)
    _, message = running.communicate(timeout=60)
    return running.returncode, message


@pytest.fixture
def profiling(models: Path) -> tuple[object, ...]:
    """Four points, in two processes each; timed so briefly that none is taken for disturbed and measured once more."""
    where = ("--models", models, "--name", "run", "--phase", "prefill", "--threads", 1, "--max-time", 0)
    return ("profile", "bert-tiny", "--seq", "4,8", "--rounds", 2, "--runs", 2, "--min-time", 0.02, *where)


def records(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def lines_in(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


def test_a_run_that_was_killed_goes_on_where_it_was(
    profiling: tuple[object, ...], edgeprof: Command, tmp_path: Path
) -> None:
    file = tmp_path / "reports" / "run" / "measurements.jsonl"
    running = start(tmp_path, *profiling)
    wait_until(lambda: lines_in(file) >= 3, running)
    code, _ = finish(running, signal.SIGKILL)
    assert code == -signal.SIGKILL
    before = file.read_bytes()
    whole = before[: before.rfind(b"\n") + 1]
    assert whole.count(b"\n") < 8
    assert edgeprof(*profiling).code == 0
    assert file.read_bytes().startswith(whole)
    seen = [(r["precision"], r["tokens"], r["round"]) for r in map(flat, records(file))]
    expected = [(precision, n, r) for precision in ("fp32", "int8") for n in (4, 8) for r in (0, 1)]
    assert sorted(seen) == sorted(expected)
    complete = file.read_bytes()
    assert edgeprof(*profiling).code == 0
    assert file.read_bytes() == complete


ENDED = [
    (signal.SIGINT, 130, "Interrupted"),
    (signal.SIGTERM, 143, "Terminated"),
    (signal.SIGHUP, 129, "Hung up"),
]


@pytest.mark.parametrize(("how", "exit_code", "word"), ENDED, ids=[word for _, _, word in ENDED])
def test_a_run_that_was_interrupted_has_all_its_files(
    how: signal.Signals, exit_code: int, word: str, profiling: tuple[object, ...], tmp_path: Path
) -> None:
    folder = tmp_path / "reports" / "run"
    running = start(tmp_path, *profiling)
    wait_until(lambda: lines_in(folder / "measurements.jsonl") >= 3, running)
    children = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(how)
    _, message = running.communicate(timeout=60)
    assert running.returncode == exit_code
    assert message.splitlines() == [f"edgeprof: {word}; finished results are on disk."]
    assert ended(children)
    measured = {(r["precision"], r["tokens"]) for r in map(flat, records(folder / "measurements.jsonl"))}
    with (folder / "measurements.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["precision"], int(row["tokens"])) for row in rows} == measured
    assert {row["status"] for row in rows} == {"ok"}
    assert [path.name for path in folder.parent.iterdir()] == ["run"]


def test_a_command_that_waits_for_several_children_ends_at_once(tmp_path: Path) -> None:
    running = start(tmp_path, "devices", "--refresh")
    wait_until(lambda: len(psutil.Process(running.pid).children()) > 0, running)
    children = psutil.Process(running.pid).children()
    running.send_signal(signal.SIGTERM)
    _, message = running.communicate(timeout=60)
    assert (running.returncode, message) == (143, "edgeprof: Terminated; finished results are on disk.\n")
    assert ended(children)


def test_a_command_that_was_started_with_nohup_goes_on(tmp_path: Path) -> None:
    running = subprocess.Popen(
        ["nohup", *map(str, command_line("devices", "--refresh"))], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    wait_until(lambda: len(psutil.Process(running.pid).children()) > 0, running)
    running.send_signal(signal.SIGHUP)
    running.communicate(timeout=120)
    assert running.returncode == 0


def test_two_runs_of_one_name_do_not_mix(profiling: tuple[object, ...], edgeprof: Command, tmp_path: Path) -> None:
    file = tmp_path / "reports" / "run" / "measurements.jsonl"
    running = start(tmp_path, *profiling)
    wait_until(lambda: lines_in(file) >= 1, running)
    ran = edgeprof(*profiling)
    assert (ran.code, ran.out) == (1, "")
    (message,) = ran.sentences
    assert f"reports/run is being written by process {running.pid}, since " in message
    running.communicate(timeout=120)
    assert running.returncode == 0
    assert len(records(file)) == 8


def test_two_exports_of_one_target_make_it_once(tmp_path: Path) -> None:
    both = [start(tmp_path, "export", "bert-tiny", "--weights", "random", "--json") for _ in range(2)]
    outcomes = [json.loads(running.communicate(timeout=300)[0])[0]["up_to_date"] for running in both]
    assert sorted(outcomes) == [False, True]
    assert [path.name for path in (tmp_path / "models" / "bert-tiny").iterdir()] == ["fp32"]


def test_an_export_that_was_killed_leaves_nothing_in_the_way(edgeprof: Command, tmp_path: Path) -> None:
    home = tmp_path / "models" / "bert-tiny"
    running = start(tmp_path, "export", "bert-tiny", "--weights", "random")
    wait_until(lambda: any(home.glob(".fp32.partial-*/reference.npz")), running)
    finish(running, signal.SIGKILL)
    assert [path.name[:14] for path in sorted(home.iterdir())] == [".fp32.lock", ".fp32.partial-"]
    assert edgeprof("verify").err.startswith("edgeprof: Nothing is exported in models yet")
    assert edgeprof("export", "bert-tiny", "--weights", "random").code == 0
    assert [path.name for path in home.iterdir()] == ["fp32"]


def test_an_export_that_was_interrupted_cleans_up(tmp_path: Path) -> None:
    home = tmp_path / "models" / "bert-tiny"
    running = start(tmp_path, "export", "bert-tiny", "--weights", "random")
    wait_until(lambda: any(home.glob(".fp32.partial-*/reference.npz")), running)
    code, message = finish(running, signal.SIGINT)
    assert (code, "Traceback" in message) == (130, False)
    assert list(home.iterdir()) == []


# --- a full disk -----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB: room for one bert-tiny, not for two."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_fails_a_quantization_with_the_same_sentence(
    small_disk: Path, models: Path, edgeprof: Command
) -> None:
    """Room for the weights twice, which is asked for beforehand, but not for what calibration writes meanwhile."""
    subprocess.run(["mount", "-o", "remount,size=36m", str(small_disk)], check=True)
    shutil.copytree(models / "bert-tiny" / "fp32", small_disk / "bert-tiny" / "fp32")
    recipe = ("--precision", "fp32,int8-static", "--calibration", "random")
    ran = edgeprof("export", "bert-tiny", *recipe, "--out", small_disk)
    assert (ran.code, ran.out) == (1, "")
    (message,) = ran.sentences
    assert f"Cannot write {small_disk / 'bert-tiny'}: the disk " in message  # "is full", or "took only a part"
    assert [path.name for path in (small_disk / "bert-tiny").iterdir()] == ["fp32"]


def test_a_disk_that_is_too_small_is_reported_beforehand(small_disk: Path, models: Path, edgeprof: Command) -> None:
    """24 MB, of which fp32 has 17.6: its weights do not fit once more."""
    shutil.copytree(models / "bert-tiny" / "fp32", small_disk / "bert-tiny" / "fp32")
    recipe = ("--precision", "fp32,int8-static", "--calibration", "random")
    ran = edgeprof("export", "bert-tiny", *recipe, "--out", small_disk)
    assert (ran.code, ran.out) == (1, "")
    (message,) = ran.sentences
    assert "Exporting bert-tiny needs about" in message
    assert "17.5 MB of disk" in message


def test_a_full_disk_ends_a_run_whose_records_stay_whole(
    small_disk: Path, profiling: tuple[object, ...], edgeprof: Command
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"0" * (24 * 2**20 - 5 * 4096))  # leaves room for machine.json and a few lines
    ran = edgeprof(*profiling, "--out", small_disk)
    assert ran.code == 1
    (message,) = ran.sentences
    assert "the disk is full" in message
    filler.unlink()
    measured = lines_in(small_disk / "run" / "measurements.jsonl")
    assert measured < 8
    assert edgeprof(*profiling, "--out", small_disk).code == 0
    assert len(records(small_disk / "run" / "measurements.jsonl")) == 8


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_that_may_not_grow_fails_an_export_and_leaves_the_old_one(models: Path, tmp_path: Path) -> None:
    """4 MB, and bert-tiny takes 17: a limit that can be set without being root."""
    shutil.copytree(models / "bert-tiny" / "fp32", tmp_path / "models" / "bert-tiny" / "fp32")
    before = content(tmp_path)
    done = subprocess.run(
        command_line("export", "bert-tiny", "--weights", "random", "--force"),
        cwd=tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2**22, 2**22)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (message,) = [line for line in done.stderr.splitlines() if line.strip()]
    assert "Cannot write models/bert-tiny: a file may not be so large here. Free or choose another place" in message
    assert content(tmp_path) == before
