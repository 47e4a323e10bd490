"""Run a module of this package in a fresh interpreter: one request in, progress out, one reply back.

Measuring and exporting both need a process of their own: a measurement must not share cores or memory with
anything else, and an export must give torch's memory back. The parent sleeps in a blocking read all the while.

The child's standard output is the channel, a JSON message a line; whatever libraries print goes to standard error,
whose end is quoted when the child dies without a reply. Its standard input brings the request and then stays open as
a lifeline: it closes when the parent ends, however it ends, and the child with it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import msgspec

from edgeprof import errors
from edgeprof.errors import ChildError, EdgeprofError

Progress = Callable[[str, float | None], None]
"""Called with what is being done and the share that is done (0..1), or None where that is unknown."""

# The child runs this very edgeprof (argv[1] is where it lies), and nothing that happens to lie in the current folder
# under the name of a library: -P keeps that folder out of its path.
_START = (
    "import sys, runpy; sys.path.insert(0, sys.argv[1]); import edgeprof; del sys.path[0]; "
    "runpy.run_module(sys.argv[2], run_name='__main__', alter_sys=True)"
)

_living: set["subprocess.Popen[bytes]"] = set()

Q = TypeVar("Q", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)


CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")
"""How a process ends that does what the processor or its own libraries refuse."""

_STEP = "edgeprof: "
"""Begins a line on a child's standard error that tells what it does."""

_serving: list[bool] = []  # whether this process is a child


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
    """The progress callback of callers who do not care."""


def part(progress: Progress, label: str, index: int, total: int) -> Progress:
    """The progress of one of several equal parts, told as progress of the whole."""

    def tell(doing: str, share: float | None) -> None:
        progress(f"{label}: {doing}", (index + (share or 0.0)) / total)

    return tell


def call(
    module: str,
    request: msgspec.Struct,
    reply_type: type[R],
    *,
    progress: Progress = silent,
    timeout_s: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> R:
    """Run `python -m module`, hand it `request`, return its reply.

    Raises:
        EdgeprofError: the error the child raised, of the same class.
        ChildTimeout: no reply within `timeout_s` seconds; the child was killed.
        ChildError: the child ended without a reply; the message says how (signal, exit code, last words).
    """
    with tempfile.TemporaryFile() as last_words:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, str(Path(__file__).parents[1]), module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=last_words,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
        )
        _living.add(child)
        timed_out = threading.Event()

        def give_up() -> None:
            timed_out.set()
            child.kill()

        watch = threading.Timer(timeout_s, give_up) if timeout_s else None
        if watch:
            watch.daemon = True
            watch.start()
        try:
            reply = _converse(child, msgspec.json.encode(request), progress)
            code = child.wait()
        finally:
            if watch:
                watch.cancel()
            child.kill()
            child.wait()
            _living.discard(child)
            for stream in (child.stdin, child.stdout):
                with contextlib.suppress(OSError):
                    stream and stream.close()
        if reply is not None:
            return _open(reply, reply_type)
        if timed_out.is_set():
            raise ChildTimeout(f"No answer within {timeout_s:g} s.", "Raise --timeout, or ask for less.")
        raise ChildError(_epitaph(code, last_words), "Set EDGEPROF_DEBUG=1 to see all it printed.")


def end_children() -> None:
    """Kill all children of `call`, of whatever thread; each call then ends with a ChildError."""
    for child in list(_living):
        child.kill()


def _converse(child: "subprocess.Popen[bytes]", request: bytes, progress: Progress) -> Message | None:
    assert child.stdin and child.stdout
    with contextlib.suppress(BrokenPipeError):  # a child that died at once is reported by its exit code
        child.stdin.write(request + b"\n")
        child.stdin.flush()
    last = None
    for line in child.stdout:
        try:
            message = msgspec.json.decode(line, type=Message)
        except msgspec.MsgspecError:  # printed before the channel was laid, or cut off by the child's death
            continue
        if message.progress is not None:
            progress(message.progress, message.share)
        else:
            last = message
    return last


def _open(message: Message, reply_type: type[R]) -> R:
    if message.error is not None:
        kind = errors.by_name(message.error)
        problem = kind.__new__(kind)
        EdgeprofError.__init__(problem, message.what, message.next_step)
        raise problem
    return msgspec.json.decode(message.reply, type=reply_type)


def _epitaph(code: int, last_words: IO[bytes]) -> str:
    last_words.seek(0)
    said = last_words.read().decode(errors="replace").strip()
    if os.environ.get("EDGEPROF_DEBUG"):
        sys.stderr.write(said + "\n")
    steps = [line.removeprefix(_STEP) for line in said.splitlines() if line.startswith(_STEP)]
    killed = signal.Signals(-code).name if code < 0 else ""
    if steps and killed in CRASHES:
        return f"onnxruntime crashed ({killed}) while {steps[-1]}."
    if killed == "SIGKILL":
        return "The child process was killed (SIGKILL), most likely for using more memory than there is."
    tail = said.splitlines()[-1] if said else "it printed nothing"
    return f"The child process ended with {f'signal {killed}' if killed else f'exit code {code}'}: {tail}."


def step(doing: str) -> None:
    """In a child, write down what is begun and may crash: "loading model.onnx". Elsewhere nothing happens."""
    if _serving:
        os.write(2, f"\n{_STEP}{doing}\n".encode(errors="replace"))


class Channel:
    """The child's side of `call`. Use as `serve(handler, RequestType)` in a module's `__main__` part."""

    def __init__(self) -> None:
        self._pipe = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # what libraries print must not reach the channel

    def send(self, message: Message) -> None:
        self._pipe.write(msgspec.json.encode(message) + b"\n")
        self._pipe.flush()

    def progress(self, doing: str, share: float | None = None) -> None:
        self.send(Message(progress=doing, share=share))


def serve(handler: Callable[[Q, Progress], Any], request_type: type[Q]) -> None:
    """Answer one request. An EdgeprofError travels to the parent; anything else is a crash and ends as one."""
    channel = Channel()
    _serving.append(True)
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=request_type)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        reply = handler(request, channel.progress)
    except EdgeprofError as problem:
        channel.send(Message(error=type(problem).__name__, what=problem.what, next_step=problem.next_step))
    else:
        channel.send(Message(reply=msgspec.Raw(msgspec.json.encode(reply))))
    sys.stderr.flush()
    os._exit(0)  # all is said: to take down an interpreter that has imported torch would take 1.5 s more


def _end_with_parent() -> None:
    """Sleep in a read that returns only when the parent is gone, killed or not; on every system."""
    os.read(0, 1)  # not sys.stdin: its lock would hang the interpreter's own end
    os._exit(1)
