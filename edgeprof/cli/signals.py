"""Signals that end a command. All act as Ctrl-C does: child processes end first, and finished results are kept."""

import signal
from types import FrameType

from edgeprof import process

SENTENCES = {"SIGINT": "Interrupted", "SIGTERM": "Terminated", "SIGHUP": "Hung up"}

_received = [signal.SIGINT]


class Stopped(KeyboardInterrupt):
    """A signal arrived. When a plain KeyboardInterrupt passes through exec(), as in the import of a dataclass, CPython
    exits by SIGINT even if it is caught later; a subclass avoids that."""


def listen() -> None:
    """Raise Stopped on these signals from now on; a signal that the caller ignores (nohup) stays ignored."""
    for name in SENTENCES:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, _frame: FrameType | None) -> None:
    _received.append(signal.Signals(number))
    if number != signal.SIGINT:  # a repeated signal does not disturb the cleanup; Ctrl-C still ends it
        signal.signal(number, signal.SIG_IGN)
    process.end_children()
    raise Stopped


def sentence() -> str:
    return f"{SENTENCES[_received[-1].name]}; finished results are on disk."


def code() -> int:
    """The exit code that shells use: 130, 143 or 129."""
    return 128 + _received[-1]
