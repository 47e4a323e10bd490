"""Tests in several processes, each of which runs whole files (`pytest -n 2 --dist loadfile`)."""

import fcntl
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
"""The name of this process, "gw0" and so on; empty where it is the only one."""

LONG = ("api", "cli", "stages", "providers", "examples", "measure")
"""Folders whose tests start processes."""


@dataclass(frozen=True)
class Shared:
    """A folder that all processes see."""

    folder: Path

    def once(self, name: str, make: Callable[[], bytes]) -> bytes:
        """What `make` returned in the process that came first; the others wait for it."""
        done = self.folder / f"{name}.made"
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                done.write_bytes(make())
            return done.read_bytes()


def in_turn(names: Sequence[str]) -> list[str]:
    """Every other process begins at the end, so that two of them share what is to be made."""
    return list(reversed(names) if WORKER.endswith(tuple("13579")) else names)


def rank(file: Path) -> int:
    """Lower for what should be begun early."""
    folder = file.parent.name
    return LONG.index(folder) if folder in LONG else len(LONG)
