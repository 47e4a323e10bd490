"""A command line run in this process: as the command itself, but for the second that an interpreter takes."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command, Ran

from edgeprof.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """Run a command line in this process, in an empty folder."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*words: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["edgeprof", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        message = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ran(ended.value.code, message.out, message.err)

    yield run
    for number, handler in kept.items():
        signal.signal(number, handler)
