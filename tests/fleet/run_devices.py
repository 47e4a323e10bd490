"""Devices that are this machine: processes of other environments, each with a cache, a lock and a core of its own."""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from edgeprof.errors import DeviceLost
from edgeprof.fleet.messages import Measure, Measured, Reply, Request
from edgeprof.fleet.pipe import local_command
from edgeprof.fleet.pipe_link import PipeLink


def pinned_device(name: str, folder: Path, python: str | Path = sys.executable, core: int = 0) -> PipeLink:
    """A device that runs in an environment of its own, on one core."""
    cores = sorted(os.sched_getaffinity(0))
    own = [f"EDGEPROF_CACHE={folder / name}", f"EDGEPROF_LOCKS={folder / name}"]
    return PipeLink(
        name, ["env", *own, "taskset", "-c", str(cores[core % len(cores)]), str(python), *local_command()[1:]]
    )


class Watched:
    """A link that counts the visits that were made, and meets with what a test has for one of them.

    Args:
        accident: called before each visit with its number, from 0, until it returns True; may end the device, or raise.
        changed: makes another reply of the reply to each visit.
    """

    def __init__(
        self,
        link: PipeLink,
        accident: Callable[["Watched", int], bool] | None = None,
        changed: Callable[[int, Measured], bytes] | None = None,
    ) -> None:
        self.link, self.name, self.accident, self.changed = link, link.name, accident, changed
        self.visits = 0
        self.gone = False
        self.closed = 0
        self.clients: set[str] = set()  # who asked for visits

    def ask(self, request: bytes, timeout_s: float | None = None) -> bytes:
        if self.gone:
            raise DeviceLost(f"{self.name} does not answer.", "Check that it is on.")
        asked = msgspec.msgpack.decode(request, type=Request)
        if not isinstance(asked, Measure):
            return self.link.ask(request, timeout_s)
        self.clients.add(asked.client)
        if self.accident and self.accident(self, self.visits):
            self.accident = None
        reply = self.link.ask(request, timeout_s)
        answer = msgspec.msgpack.decode(reply, type=Reply)
        if not isinstance(answer, Measured):  # it lacks the files
            return reply
        self.visits += 1
        return self.changed(self.visits - 1, answer) if self.changed else reply

    def close(self) -> None:
        self.closed += 1


def killed(link: Watched, number: int, at: int) -> bool:
    """During one visit, the process of the device is killed, as by a power cut: the next request starts another."""
    if number == at:
        threading.Timer(0.2, link.link.stop).start()
    return number == at


def gone(link: Watched, number: int, at: int) -> bool:
    """From one visit on, the device does not answer any more."""
    if number == at:
        link.gone = True
        raise DeviceLost(f"{link.name} does not answer.", "Check that it is on.")
    return False


def wait_until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
