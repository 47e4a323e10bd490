"""A process of edgeprof, here or over ssh, that greets with a line that has its version and then speaks frames."""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, cast

from edgeprof import process
from edgeprof.errors import DeviceLost, RunError
from edgeprof.fleet import frames

SCRATCH = "EDGEPROF_SCRATCH"
"""Environment variable: the folder for temporary files of such a process here, removed by whichever of the two ends
last."""

GREETING = b"edgeprof device "
NOISE_LINES = 1000
"""Lines that a login shell may print before the greeting."""

END_S = 5.0
"""A process that closed its output ends within this time, or is killed."""

_GREET = (
    "import runpy; from importlib.metadata import version; "
    f"print('\\n{GREETING.decode()}' + version('edgeprof'), flush=True); "
)
_DEVICE_WORK = "edgeprof.api.device_work"

Reason = Callable[[int, str], DeviceLost]
"""Why a process ended, from its exit code and what it printed."""


class Pipe:
    """A process that was started, until `end`.

    Args:
        name: of what it is for, in messages.
        command: starts it.
        reason: why it ended; default that of a process on this machine.
        scratch: have it put its temporary files in a folder that is removed with it, as it may be killed.
    """

    def __init__(
        self, name: str, command: Sequence[str], reason: Reason | None = None, *, scratch: bool = False
    ) -> None:
        self._name, self._reason = name, reason or self._ended
        self._printed = process.temporary_file()  # closed by `end`
        self._scratch = process.temporary_folder() if scratch else None  # removed by `end`
        self._child = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._printed,
            env=os.environ | ({SCRATCH: str(self._scratch)} if self._scratch else {}),
            start_new_session=True,  # Ctrl-C in a terminal is this process's alone to handle
        )
        self._killed = False
        process.adopt(self._child)
        assert self._child.stdin and self._child.stdout
        self._requests, self._replies = cast(BinaryIO, self._child.stdin), cast(BinaryIO, self._child.stdout)

    def greeted(self) -> bool:
        """Wait for its greeting; whether it greeted before it ended.

        Raises:
            DeviceLost: it is another version of edgeprof.
        """
        for _ in range(NOISE_LINES):
            line = self._replies.readline()
            if line.startswith(GREETING):
                self._require_version(line.removeprefix(GREETING).decode(errors="replace").strip())
                return True
            if not line:
                break
        return False

    def write(self, data: bytes) -> None:
        """Write a frame.

        Raises:
            OSError, ValueError: it has ended.
        """
        frames.write_frame(self._requests, data)

    def read(self) -> bytes | None:
        """The next frame that it writes; None where it ended, or was killed from another thread."""
        try:
            return frames.read_frame(self._replies)
        except (OSError, ValueError, RunError):
            return None

    @property
    def ended(self) -> bool:
        """Whether it was killed, or ended by itself."""
        return self._killed or self._child.poll() is not None

    def kill(self) -> None:
        """From any thread."""
        self._killed = True
        self._child.kill()

    def end(self) -> DeviceLost:
        """Leave nothing of it; why it ended."""
        with contextlib.suppress(OSError):
            self._requests.close()
        try:
            code = self._child.wait(END_S)
        except subprocess.TimeoutExpired:  # it closed its output, but goes on
            self._child.kill()
            code = self._child.wait()
        process.disown(self._child)
        self._replies.close()
        if self._scratch:
            for folder in (self._scratch, removed(self._scratch)):
                shutil.rmtree(folder, ignore_errors=True)
        with self._printed:
            return self._reason(code, process.printed_since(self._printed))

    def _require_version(self, there: str) -> None:
        here = version("edgeprof")
        if there != here:
            raise DeviceLost(
                f"{self._name} has edgeprof {there}, this machine {here}.", f"Install edgeprof {here} on {self._name}."
            )

    def _ended(self, code: int, printed: str) -> DeviceLost:
        signal = process.signal_name(code)
        end = f"signal {signal}" if signal else f"exit code {code}"
        last = printed.splitlines()[-1] if printed else "it printed nothing"
        return DeviceLost(f"{self._name}: the process ended with {end}: {last}.", "Run the command again.")


def removed(scratch: Path) -> Path:
    """The name of a scratch folder while its process removes it."""
    return scratch.with_name(f"{scratch.name}.removed")


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
