"""One child that tries models: it may crash, hang or ask for memory without end, and is then replaced."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from types import TracebackType

TIMEOUT_S = 120
MEMORY_BYTES = 4 << 30
CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE}


class Worker:
    """Answers (command, number of the model) with an outcome; one at a time."""

    def __init__(self) -> None:
        self._start()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.child = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.child.start()
        theirs.close()

    def _end(self) -> None:
        self.child.kill()
        self.child.join()
        self.pipe.close()

    def ask(self, command: str, number: int) -> tuple[str, str]:
        """The outcome. A crash of onnxruntime is one too: where it happens, commands have children of their own."""
        self.pipe.send((command, number))
        ended = f"no answer within {TIMEOUT_S} s"
        with contextlib.suppress(EOFError, ConnectionResetError):
            if self.pipe.poll(TIMEOUT_S):
                result: tuple[str, str] = self.pipe.recv()
                return result
        self.child.join(1)
        code = self.child.exitcode
        if code is not None:
            ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        self._end()
        self._start()
        crashed = code is not None and -code in CRASHES and command in ("pin", "profile")
        return ("refused" if crashed else "wrong", f"onnxruntime crashed ({ended})." if crashed else ended)


def _serve(pipe: Connection) -> None:
    import resource

    from .commands import outcome
    from .models import examples

    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what onnxruntime logs
    models = examples()
    while True:
        try:
            command, number = pipe.recv()
        except EOFError:
            return
        pipe.send(outcome(command, models[number]))
