"""The command of a run over devices as a user starts it, and what it has written."""

import contextlib
import csv
import json
import os
import pty
import re
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil
from command import command_line

QUICK = ("--precision", "fp32", "--max-time", 0, "--runs", 2, "--min-time", 0)


def run_line(on: str, fleet: Path, models: Path, out: Path, *more: object) -> list[str]:
    where = ("--on", on, "--fleet", fleet, "--models", models, "--out", out, "--name", "boards")
    return command_line("profile", "bert-tiny", "--seq", "4,16", *QUICK, *where, *more)


class Terminal:
    """A command whose standard error is a terminal, and the lines that it drew there."""

    def __init__(self, words: Sequence[str], **environment: str) -> None:
        self._near, far = pty.openpty()
        own = {**os.environ, "TERM": "xterm", "COLUMNS": "200", **environment}
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=far, text=True, env=own)
        os.close(far)
        self._drawn = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # how the end of a terminal is told
            while data := os.read(self._near, 1 << 16):
                self._drawn += data
        os.close(self._near)

    def end(self) -> tuple[int, str]:
        """The exit code, and what was printed on standard output."""
        printed, _ = self.process.communicate(timeout=120)
        self._reader.join(10)
        return self.process.returncode, printed

    @property
    def lines(self) -> list[str]:
        plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", self._drawn).decode(errors="replace")
        return [line.rstrip() for line in re.split(r"[\r\n]+", plain) if line.strip()]


def visits(folder: Path) -> list[tuple[str, int, int, str]]:
    """Device, tokens, round and status of all records that are on disk, in their order."""
    file = folder / "measurements.jsonl"
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    records = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return [
        (one["key"]["place"]["host"], one["key"]["load"]["tokens"], one["round"], one["outcome"]["status"])
        for one in records
    ]


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "measurements.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def measures(cache: Path) -> bool:
    """Whether a device, which has a cache of its own, is measuring."""
    for process in psutil.process_iter(["cmdline", "environ"]):
        ours = (process.info["environ"] or {}).get("EDGEPROF_CACHE") == str(cache)
        if ours and any(word.startswith("edgeprof.measure.") for word in process.info["cmdline"] or ()):
            return True
    return False
