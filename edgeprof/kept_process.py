"""One interpreter for the requests of several stages: what they import is imported once.

A request that crashes it fails alone: the next one gets another. Run as a module, this file is that interpreter.
"""

import contextlib
import importlib
import os
import queue
import subprocess
import sys
import threading
import typing
from typing import IO, Self

import msgspec

from edgeprof import process
from edgeprof.process import Message, Progress


class Line(msgspec.Struct, frozen=True):
    """A request to the function `run` of a module."""

    module: str
    request: msgspec.Raw


class KeptProcess:
    """An `Executor` whose child lives as long as its block, and serves one request after the other."""

    _child: "subprocess.Popen[bytes] | None" = None
    _stderr: IO[bytes]

    def __enter__(self) -> Self:
        self._block = contextlib.ExitStack()
        return self

    def __exit__(self, *_: object) -> None:
        self._block.close()

    def run(self, module: str, request: bytes, progress: Progress, timeout_s: float | None) -> Message:
        child = self._child = self._child or self._started()
        since = self._stderr.seek(0, os.SEEK_END)
        with process.killed_after(child, timeout_s):
            process.send(child, msgspec.json.encode(Line(module, msgspec.Raw(request))))
            reply = process.last_message(child, progress)
            if reply is None:
                self._child = None
                raise process.died(child.wait(), self._stderr, since)
            return reply

    def _started(self) -> "subprocess.Popen[bytes]":
        self._block.close()
        self._stderr = self._block.enter_context(process.temporary_file())
        return self._block.enter_context(process.started([__name__], self._stderr))


# --- in the child --------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests until the parent closes the channel, or ends."""
    channel = process.Channel()
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    while True:
        line = msgspec.json.decode(lines.get(), type=Line)
        run = importlib.import_module(line.module).run
        channel.answer(run, line.request, typing.get_type_hints(run)["request"])
        sys.stderr.flush()


def _read(lines: "queue.SimpleQueue[bytes]") -> None:
    for line in sys.stdin.buffer:
        lines.put(line)
    os._exit(0)  # also in the middle of a request: nobody waits for its reply


if __name__ == "__main__":
    serve()
