"""Agent, scheduler and command of a run that are killed: what was finished stays, and nothing is left running."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import command_line
from run_devices import wait_until
from transport_parts import Started, free_port, save
from whole_runs import measures, run_line, visits

ROUNDS = 3
EVERY = [("solo", tokens, number, "ok") for tokens in (4, 16) for number in range(ROUNDS)]


class Solo:
    """A scheduler and one agent, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder, folder / "cache"
        address = f"tcp://127.0.0.1:{free_port()}"
        self.fleet = save(folder / "fleet.toml", f'scheduler = "{address}"\n[devices.solo]\n')
        self.running: dict[str, Started] = {}

    def start(self, which: str) -> None:
        if which == "scheduler":
            self.running[which] = Started(command_line("fleet", "scheduler", "--fleet", self.fleet))
            self.running[which].wait_for("Agents can join")
        else:
            own = {"EDGEPROF_CACHE": str(self.cache), "EDGEPROF_LOCKS": str(self.folder)}
            self.running[which] = Started(command_line("agent", "--name", "solo", "--fleet", self.fleet), **own)
            self.running[which].wait_for("has joined")

    def kill(self, which: str) -> None:
        started = self.running.pop(which)
        started.process.kill()
        started.process.wait()
        started.reader.join(5)
        assert started.process.stdout
        started.process.stdout.close()

    def measures(self) -> bool:
        return measures(self.cache)


@pytest.fixture(scope="module")
def solo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Solo]:
    solo = Solo(tmp_path_factory.mktemp("solo"))
    solo.start("scheduler")
    solo.start("agent")
    yield solo
    for which in list(solo.running):
        solo.kill(which)


@contextlib.contextmanager
def measuring(solo: Solo, models: Path, out: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The command of a run, of which some visits are finished."""
    line = run_line("solo", solo.fleet, models, out, "--rounds", ROUNDS)
    command = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: len(visits(out / "boards")) >= 1)
        yield command
    finally:
        command.kill()
        command.communicate()


@pytest.mark.parametrize("which", ["agent", "scheduler"])
def test_a_run_survives_what_it_goes_through(which: str, solo: Solo, models: Path, tmp_path: Path) -> None:
    with measuring(solo, models, tmp_path) as command:
        solo.kill(which)
        wait_until(lambda: not solo.measures(), 10)
        before = visits(tmp_path / "boards")
        assert 1 <= len(before) < len(EVERY)
        solo.start(which)
        printed, _ = command.communicate(timeout=100)
        assert command.returncode == 0, printed.decode()
    after = visits(tmp_path / "boards")
    assert after[: len(before)] == before
    assert sorted(after) == sorted(EVERY)


def test_a_killed_command_goes_on_where_it_was(solo: Solo, models: Path, tmp_path: Path) -> None:
    with measuring(solo, models, tmp_path) as command:
        command.kill()
        command.wait()
        wait_until(lambda: not solo.measures(), 10)
    before = visits(tmp_path / "boards")
    assert 1 <= len(before) < len(EVERY)
    subprocess.run(run_line("solo", solo.fleet, models, tmp_path, "--rounds", ROUNDS), capture_output=True, check=True)
    after = visits(tmp_path / "boards")
    assert after[: len(before)] == before
    assert sorted(after) == sorted(EVERY)
