"""A device behind the standard input and output of a process: a child here, or ssh to a board.

The process answers requests in turn. It ends with its standard input, and with it all that it works on; so a link that
is closed, or whose process is killed, leaves nothing running on the device. The next request starts the process anew.
"""

import threading
from collections.abc import Sequence

from edgeprof import process
from edgeprof.errors import DeviceLost
from edgeprof.fleet.links import not_asked
from edgeprof.fleet.pipe import Pipe, Reason


class PipeLink:
    """A device behind a process.

    Args:
        name: of the device.
        command: starts the process.
        reason: why it ended, from its exit code and what it printed; default that of a process on this machine.
    """

    def __init__(self, name: str, command: Sequence[str], reason: Reason | None = None) -> None:
        self.name = name
        self._command, self._reason = command, reason
        self._pipe: Pipe | None = None
        self._in_turn = threading.Lock()
        self._closed = False

    def ask(self, request: bytes, timeout_s: float | None = None) -> bytes:
        with self._in_turn, process.in_time(timeout_s, self.stop, f"{self.name} did not reply"):
            if self._closed:
                raise not_asked(self.name)
            pipe = self._connected()
            try:
                pipe.write(request)
            except (OSError, ValueError):  # it ended, or was killed from another thread
                reply = None
            else:
                reply = pipe.read()
            if reply is None:
                raise self._lost(pipe)
            return reply

    def stop(self) -> None:
        """End what the device works on for this link, from any thread; `ask` then raises DeviceLost."""
        if pipe := self._pipe:
            pipe.kill()

    def end(self) -> None:
        """End the process; the next request starts it anew."""
        self.stop()
        with self._in_turn:
            if self._pipe:
                self._lost(self._pipe)

    def close(self) -> None:
        self._closed = True
        self.end()

    def _connected(self) -> Pipe:
        """The process; another one where it ended while nothing was asked of it."""
        if self._pipe and self._pipe.ended:
            self._lost(self._pipe)
        return self._pipe or self._start()

    def _start(self) -> Pipe:
        here = self._reason is None
        pipe = self._pipe = Pipe(self.name, self._command, self._reason, scratch=here)
        if self._closed:  # meanwhile, by another thread
            pipe.kill()
        try:
            greeted = pipe.greeted()
        except DeviceLost:
            pipe.kill()
            self._lost(pipe)
            raise
        if not greeted:
            raise self._lost(pipe)
        return pipe

    def _lost(self, pipe: Pipe) -> DeviceLost:
        self._pipe = None
        return pipe.end()
