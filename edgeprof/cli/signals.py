"""Signals that end a command: all as Ctrl-C does, so that what is finished is kept and children end first."""

import signal
from types import FrameType

from edgeprof import process

SENTENCES = {"SIGINT": "Interrupted", "SIGTERM": "Terminated", "SIGHUP": "Hung up"}

_received = [signal.SIGINT]


class Stopped(KeyboardInterrupt):
    """A signal has come. Where a plain KeyboardInterrupt passes through exec(), as of a dataclass that is being
    imported, CPython ends by SIGINT whoever catches it later; of one of its own kind it does not."""


def listen() -> None:
    """From now on these signals raise Stopped; one that the caller has switched off (nohup) stays off."""
    for name in SENTENCES:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, _frame: FrameType | None) -> None:
    _received.append(signal.Signals(number))
    if number != signal.SIGINT:  # tidying up is not disturbed by the same once more; Ctrl-C still ends that
        signal.signal(number, signal.SIG_IGN)
    process.end_children()
    raise Stopped


def sentence() -> str:
    return f"{SENTENCES[_received[-1].name]}; what was finished is on disk."


def code() -> int:
    """As shells count: 130, 143, 129."""
    return 128 + _received[-1]
