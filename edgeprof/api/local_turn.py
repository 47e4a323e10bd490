"""The turn of this machine, taken by what is measured here without a link.

Requests of a fleet take turns on a device. A run on the device itself takes its turns with them, a visit at a time, so
that neither disturbs the other. It never fails for want of a turn: where the locks cannot be used, or other work takes
too long, it measures all the same, and says so afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from edgeprof.errors import DeviceBusy, StorageError
from edgeprof.fleet.turn import turn, user
from edgeprof.process import Progress

WAIT_S = 600.0
"""For other work, before a visit is made beside it."""


class LocalTurn:
    """Takes the turn of this machine for one visit after the other.

    Args:
        progress: told what the machine is busy with, while that is waited for.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.notes: list[str] = []
        """What came in the way of a turn, in sentences."""

    @contextlib.contextmanager
    def take(self, doing: str) -> Iterator[None]:
        """Nothing else of edgeprof works on this machine within the block.

        Args:
            doing: what others are told meanwhile: "measures gpt2 fp32, prefill at 16 tokens".
        """
        waited = []

        def waiting(busy: str) -> None:
            waited.append(busy)
            self.progress(f"waiting, as this machine {busy}", None)

        with contextlib.ExitStack() as held:
            try:
                held.enter_context(turn(f"{doing} for {user()}", WAIT_S, waiting))
            except (DeviceBusy, StorageError) as problem:
                self._note(problem.what)
            if waited:
                self.progress(doing, None)
            yield

    def _note(self, what: str) -> None:
        note = f"Other work on this machine was not waited for. {what}"
        if note not in self.notes:
            self.notes.append(note)
