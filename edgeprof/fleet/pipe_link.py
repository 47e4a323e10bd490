"""A device behind the standard input and output of a process: a child here, ssh to a board, a client of Dask.

The process greets with a line that has its version of edgeprof, then answers frames in turn. It ends with its
standard input, and with it all that it works on; so a link that is closed, or whose process is killed, leaves nothing
running on the device. The next request starts the process anew.
"""

import contextlib
import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import IO, BinaryIO, cast

from edgeprof import process
from edgeprof.errors import DeviceLost, EdgeprofError, RunError
from edgeprof.fleet import frames
from edgeprof.process import ChildTimeout

GREETING = b"edgeprof device "
NOISE_LINES = 1000
"""Lines that a login shell may print before the greeting."""

_GREET = (
    "import runpy; from importlib.metadata import version; "
    f"print('\\n{GREETING.decode()}' + version('edgeprof'), flush=True); "
)
_DEVICE_WORK = "edgeprof.api.device_work"

Reason = Callable[[int, str], DeviceLost]
"""Why a process ended, from its exit code and what it printed."""


class PipeLink:
    """A device behind a process.

    Args:
        name: of the device.
        command: starts the process.
        reason: why it ended, from its exit code and what it printed.
    """

    def __init__(self, name: str, command: Sequence[str], reason: Reason | None = None) -> None:
        self.name = name
        self._command, self._reason = list(command), reason or self._ended
        self._process: subprocess.Popen[bytes] | None = None
        self._printed: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the link)
        self._in_turn = threading.Lock()
        self._closed = False

    def ask(self, request: bytes, timeout_s: float | None = None) -> bytes:
        with self._in_turn, self._within(timeout_s):
            if self._closed:
                raise DeviceLost(f"{self.name} is not asked any more.")
            child = self._process or self._start()
            assert child.stdin and child.stdout
            try:
                frames.write_frame(cast(BinaryIO, child.stdin), request)
                reply = frames.read_frame(cast(BinaryIO, child.stdout))
            except (OSError, ValueError, RunError):  # it ended, or was killed from another thread
                reply = None
            if reply is None:
                raise self._lost(child)
            return reply

    def stop(self) -> None:
        """End what the device works on for this link, from any thread; `ask` then raises DeviceLost."""
        if child := self._process:
            child.kill()

    def close(self) -> None:
        self._closed = True
        self.stop()
        with self._in_turn:
            if self._process:
                self._forget(self._process)
            self._printed.close()

    def _start(self) -> "subprocess.Popen[bytes]":
        self._printed.seek(0)
        self._printed.truncate()
        child = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            start_new_session=True,  # Ctrl-C in a terminal is this process's alone to handle
        )
        self._process = child
        process.adopt(child)
        if self._closed:  # meanwhile, by another thread
            child.kill()
        assert child.stdout
        for _ in range(NOISE_LINES):
            line = child.stdout.readline()
            if line.startswith(GREETING):
                self._require_version(line.removeprefix(GREETING).decode(errors="replace").strip())
                return child
            if not line:
                break
        raise self._lost(child)

    def _require_version(self, there: str) -> None:
        here = version("edgeprof")
        if there != here:
            self.stop()
            raise DeviceLost(
                f"{self.name} has edgeprof {there}, this machine {here}.", f"Install edgeprof {here} on {self.name}."
            )

    def _lost(self, child: "subprocess.Popen[bytes]") -> DeviceLost:
        with contextlib.suppress(OSError):
            child.stdin and child.stdin.close()
        try:
            code = child.wait(timeout=5)
        except subprocess.TimeoutExpired:  # it closed its output, but goes on
            child.kill()
            code = child.wait()
        printed = process.printed_since(self._printed, 0)
        self._forget(child)
        return self._reason(code, printed)

    def _ended(self, code: int, printed: str) -> DeviceLost:
        """The reason of a process on this machine."""
        signal = process.signal_name(code)
        end = f"signal {signal}" if signal else f"exit code {code}"
        last = printed.splitlines()[-1] if printed else "it printed nothing"
        return DeviceLost(f"{self.name}: the process ended with {end}: {last}.", "Run the command again.")

    def _forget(self, child: "subprocess.Popen[bytes]") -> None:
        child.kill()
        child.wait()
        process.disown(child)
        for stream in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):
                stream and stream.close()
        self._process = None

    @contextlib.contextmanager
    def _within(self, timeout_s: float | None) -> Iterator[None]:
        """Stop the process where a reply takes longer.

        Raises:
            ChildTimeout: in place of the DeviceLost that says so.
        """
        late = threading.Event()

        def stop() -> None:
            late.set()
            self.stop()

        timer = threading.Timer(timeout_s or 0.0, stop)
        timer.daemon = True
        if timeout_s:
            timer.start()
        try:
            yield
        except EdgeprofError as problem:
            if late.is_set():
                raise ChildTimeout(
                    f"{self.name} did not reply within {timeout_s:g} s.", "Raise --timeout, or request less."
                ) from problem
            raise
        finally:
            timer.cancel()


def local_command(module: str = _DEVICE_WORK, *arguments: str) -> list[str]:
    """Starts a module of this very edgeprof, which greets and then speaks frames."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); import edgeprof; del sys.path[0]; "
    root = str(Path(process.__file__).parents[1])
    return [sys.executable, "-P", "-c", code + _GREET + _run(module), root, *arguments]


def remote_command(python: str) -> str:
    """The same for the edgeprof that is installed for a Python elsewhere: one line for a POSIX shell."""
    home, rest = ('"$HOME"/', python[2:]) if python.startswith("~/") else ("", python)
    return f"exec {home}{shlex.quote(rest)} -P -c {shlex.quote('import sys; ' + _GREET + _run(_DEVICE_WORK))}"


def _run(module: str) -> str:
    return f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
