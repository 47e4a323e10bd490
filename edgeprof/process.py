"""Run a module of this package in a fresh interpreter: one request in, progress out, one reply back.

Measuring and exporting both need a process of their own: a measurement must not share cores or memory with
anything else, and an export must give torch's memory back. The parent sleeps in a blocking read all the while.

Where children run is an `Executor`. On this machine (`LocalProcess`) the child's standard output is the channel, one
JSON message a line; whatever libraries print goes to standard error, whose end is quoted when the child dies without a
reply. Its standard input carries the request and then stays open as a lifeline: it closes when the parent ends,
however it ends, and the child ends with it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import msgspec

from edgeprof.errors import ChildError, EdgeprofError, OutOfMemory, StorageError, memory_ran_out, rebuilt

Progress = Callable[[str, float | None], None]
"""Called with what is being done and the share that is done (0..1), or None where that is unknown."""

# The child runs this very edgeprof (argv[1] is where it lies), and nothing that happens to lie in the current folder
# under the name of a library: -P keeps that folder out of its path.
_START = (
    "import sys, runpy; sys.path.insert(0, sys.argv[1]); import edgeprof; del sys.path[0]; "
    "runpy.run_module(sys.argv[2], run_name='__main__', alter_sys=True)"
)

_running: set["subprocess.Popen[bytes]"] = set()

Q = TypeVar("Q", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)

CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")
"""Signals that end a process which the processor, or a library of its own, stopped."""

_STEP = "edgeprof: "
"""Begins a line on a child's standard error that names the step it starts."""

_steps: list[str] = []  # of this process, if it is a child: the newest last


class ChildTimeout(ChildError):
    pass


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line on the channel; exactly one of `progress`, `reply`, `error` is set."""

    progress: str | None = None
    share: float | None = None
    reply: msgspec.Raw = msgspec.Raw()
    error: str | None = None
    what: str = ""
    next_step: str = ""


def silent(_doing: str, _share: float | None) -> None:
    """The progress callback of callers who do not show progress."""


def part(progress: Progress, label: str, index: int, total: int) -> Progress:
    """The progress of one of several equal parts, reported as progress of the whole.

    >>> part(lambda doing, share: print(doing, share), "fp32", 1, 2)("sample 3", 0.5)
    fp32: sample 3 0.75
    """

    def report(doing: str, share: float | None) -> None:
        progress(f"{label}: {doing}", (index + (share or 0.0)) / total)

    return report


class Executor(Protocol):
    """Where children run: anything that can start `python -m module` and carry lines of JSON to it and back."""

    def run(self, module: str, request: bytes, progress: Progress, timeout_s: float | None) -> Message:
        """Run a module, send it `request`, pass its progress on, and return its last message.

        Raises:
            ChildTimeout: no reply within `timeout_s` seconds; the child was killed.
            ChildError: the child ended without a reply; the message gives its signal or exit code and its last line.
        """
        ...


class LocalProcess:
    """A fresh interpreter on this machine for every request.

    Args:
        python: that of another environment.
        launcher: a command that starts the one whose words follow it, as the same process.
    """

    def __init__(self, python: str = sys.executable, launcher: Sequence[str] = ()) -> None:
        self.python, self.launcher = python, launcher

    def run(self, module: str, request: bytes, progress: Progress, timeout_s: float | None) -> Message:
        with (
            temporary_file() as stderr,
            started([module], stderr, self.python, self.launcher) as child,
            killed_after(child, timeout_s),
        ):
            send(child, request)
            reply = last_message(child, progress)
            code = child.wait()
            if reply is None:
                raise self.died(code, stderr)
            return reply

    def died(self, code: int, stderr: IO[bytes]) -> EdgeprofError:
        """How a child ended without a reply."""
        return died(code, stderr)


LOCAL = LocalProcess()


def call(
    module: str,
    request: msgspec.Struct,
    reply_type: type[R],
    *,
    progress: Progress = silent,
    timeout_s: float | None = None,
    executor: Executor = LOCAL,
) -> R:
    """Run `python -m module` with `request`, and return its reply.

    Raises:
        EdgeprofError: the error the child raised, of the same class.
        ChildTimeout, ChildError: as `Executor.run`.
    """
    message = executor.run(module, msgspec.json.encode(request), progress, timeout_s)
    if message.error is not None:
        raise rebuilt(message.error, message.what, message.next_step)
    return msgspec.json.decode(message.reply, type=reply_type)


def adopt(child: "subprocess.Popen[bytes]") -> None:
    """Have `end_children` kill a process that another module started."""
    _running.add(child)


def disown(child: "subprocess.Popen[bytes]") -> None:
    _running.discard(child)


def end_children() -> None:
    """Kill all local children, of whatever thread; each call then ends with a ChildError."""
    for child in list(_running):
        child.kill()


@contextlib.contextmanager
def started(
    arguments: list[str], stderr: IO[bytes], python: str = sys.executable, launcher: Sequence[str] = ()
) -> "Iterator[subprocess.Popen[bytes]]":
    """A child that runs a module, with arguments; it is dead, and its pipes closed, when the block ends."""
    child = subprocess.Popen(
        [*launcher, python, "-P", "-c", _START, str(Path(__file__).parents[1]), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    _running.add(child)
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        _running.discard(child)
        for stream in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):
                stream and stream.close()


def killed_after(child: "subprocess.Popen[bytes]", timeout_s: float | None) -> contextlib.AbstractContextManager[None]:
    """Kill a child that takes longer than it may; raises as `in_time`."""
    return in_time(timeout_s, child.kill, "No reply")


@contextlib.contextmanager
def in_time(timeout_s: float | None, stop: Callable[[], None], late: str) -> Iterator[None]:
    """Have a block end within a time: `stop`, called in another thread after it, makes the block fail.

    Args:
        late: what did not happen: "No reply".

    Raises:
        ChildTimeout: in place of the error with which the block then ends.
    """
    stopped = threading.Event()

    def stop_it() -> None:
        stopped.set()
        stop()

    timer = threading.Timer(timeout_s or 0.0, stop_it)
    timer.daemon = True
    if timeout_s:
        timer.start()
    try:
        yield
    except EdgeprofError as problem:
        if timeout_s and stopped.is_set():
            raise too_late(late, timeout_s) from problem
        raise
    finally:
        timer.cancel()


def too_late(late: str, timeout_s: float) -> ChildTimeout:
    return ChildTimeout(f"{late} within {timeout_s:g} s.", "Raise --timeout, or request less.")


def temporary_file() -> IO[bytes]:
    """A file without a name, for what a child prints.

    Raises:
        StorageError: no folder for temporary files takes one.
    """
    with _writable():
        return tempfile.TemporaryFile()


def temporary_folder() -> Path:
    """A new folder, which the caller removes.

    Raises:
        StorageError: as `temporary_file`.
    """
    with _writable():
        return Path(tempfile.mkdtemp(prefix="edgeprof-"))


@contextlib.contextmanager
def _writable() -> "Iterator[None]":
    try:
        yield
    except OSError as problem:  # of Python's list of all folders that it tried
        raise StorageError(
            "Temporary files cannot be written: the disk is full, or nothing may be written there.",
            "Free some of it, or set TMPDIR to another folder.",
        ) from problem


def send(child: "subprocess.Popen[bytes]", line: bytes) -> None:
    assert child.stdin
    with contextlib.suppress(BrokenPipeError):  # a child that died at once is reported by its exit code
        child.stdin.write(line + b"\n")
        child.stdin.flush()


def last_message(child: "subprocess.Popen[bytes]", progress: Progress) -> Message | None:
    """Pass progress on until there is a reply or an error, or the child closes the channel without one."""
    assert child.stdout
    for line in child.stdout:
        try:
            message = msgspec.json.decode(line, type=Message)
        except msgspec.MsgspecError:  # printed before the channel was set up, or cut off by the child's death
            continue
        if message.progress is None:
            return message
        progress(message.progress, message.share)
    return None


def died(code: int, stderr: IO[bytes], since: int = 0) -> EdgeprofError:
    """How a child ended without a reply, from its exit code and what it printed since some position."""
    printed = printed_since(stderr, since)
    if os.environ.get("EDGEPROF_DEBUG"):
        sys.stderr.write(printed + "\n")
    last = printed.splitlines()[-1:]
    if memory_ran_out("".join(last)):
        return OutOfMemory(last_step(printed) or "starting", last[0].strip())
    return ChildError(_cause(code, printed), "Set EDGEPROF_DEBUG=1 to see everything it printed.")


def printed_since(stderr: IO[bytes], since: int = 0) -> str:
    """What a child printed since some position."""
    stderr.seek(since)
    return stderr.read().decode(errors="replace").strip()


def last_step(printed: str) -> str:
    """The last step that a child logged: "loading model.onnx"; "" if there was none."""
    steps = [line.removeprefix(_STEP) for line in printed.splitlines() if line.startswith(_STEP)]
    return steps[-1] if steps else ""


def signal_name(code: int) -> str:
    """ "SIGKILL" of the exit code of a killed process; "" of one that ended by itself."""
    return signal.Signals(-code).name if code < 0 else ""


def _cause(code: int, printed: str) -> str:
    doing, killed = last_step(printed), signal_name(code)
    if doing and killed in CRASHES:
        return f"onnxruntime crashed ({killed}) while {doing}."
    if killed == "SIGKILL":
        return "The child process was killed (SIGKILL), most likely because memory ran out."
    end = f"signal {killed}" if killed else f"exit code {code}"
    return f"The child process ended with {end}: {printed.splitlines()[-1] if printed else 'it printed nothing'}."


# --- in the child --------------------------------------------------------------------------------------


def step(doing: str) -> None:
    """In a child, log the step that starts and may crash: "loading model.onnx". Elsewhere nothing happens."""
    if _steps:
        _steps.append(doing)
        os.write(2, f"\n{_STEP}{doing}\n".encode(errors="replace"))


def doing() -> str:
    """The step that a child last started; "" before the first, and elsewhere."""
    return _steps[-1] if _steps else ""


class Channel:
    """The child's side of the channel."""

    def __init__(self) -> None:
        self._pipe = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # what libraries print must not reach the channel
        _steps.append("")

    def send(self, message: Message) -> None:
        self._pipe.write(msgspec.json.encode(message) + b"\n")
        self._pipe.flush()

    def progress(self, doing: str, share: float | None = None) -> None:
        self.send(Message(progress=doing, share=share))

    def fail(self, problem: EdgeprofError) -> None:
        self.send(Message(error=type(problem).__name__, what=problem.what, next_step=problem.next_step))

    def answer(self, handler: Callable[[Q, Progress], Any], request: bytes | msgspec.Raw, kind: type[Q]) -> None:
        """Send the reply of a handler, or its error; what is neither that nor a lack of memory ends as a crash."""
        try:
            reply = handler(msgspec.json.decode(request, type=kind), self.progress)
        except EdgeprofError as problem:
            self.fail(problem)
        except MemoryError:
            self.fail(OutOfMemory(doing()))
        else:
            self.send(Message(reply=msgspec.Raw(msgspec.json.encode(reply))))


def serve(handler: Callable[[Q, Progress], Any], request_type: type[Q]) -> None:
    """Answer one request, in a module's `__main__` part."""
    channel = Channel()
    request = sys.stdin.buffer.readline()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    channel.answer(handler, request, request_type)
    sys.stderr.flush()
    os._exit(0)  # the reply is sent: shutting down an interpreter that has imported torch takes 1.5 s more


def _end_with_parent() -> None:
    """Sleep in a read that returns only when the parent is gone, killed or not; on every system."""
    os.read(0, 1)  # not sys.stdin: its lock would hang the interpreter's own end
    os._exit(1)
