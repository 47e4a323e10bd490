"""A child under a memory limit that the kernel enforces: running out of memory is an outcome of the child alone.

Two kinds of limits, the first where it is permitted:

    cgroup          a control group of the child's own, with no swap: resident memory, page cache of the files that it
                    reads first included, as a container or a systemd unit limits it. Pages that the kernel can reclaim
                    make room before the child is killed.
    address space   RLIMIT_AS: everything mapped counts whole, used or not. Beside resident memory that is libraries, a
                    stack of 8 MB for every thread, and all of a mapped file of weights. glibc would reserve 64 MB more
                    for every thread that allocates (its arenas): MALLOC_ARENA_MAX=1 makes it one arena for all.

The child is under its limit from its first instruction on: a launcher sets it, and becomes the interpreter.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from edgeprof import units
from edgeprof.errors import ChildError, EdgeprofError, OutOfMemory, UsageError, memory_ran_out
from edgeprof.measure import memory
from edgeprof.measure.machine import ROOT, cgroups
from edgeprof.process import (
    CRASHES,
    LocalProcess,
    Message,
    Progress,
    call,
    last_step,
    printed_since,
    serve,
    signal_name,
)
from edgeprof.schema import LimitKind, MemoryLimit, Record

_JOIN = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); os.execv(sys.argv[2], sys.argv[2:])"
_RESTRICT = (
    "import os, resource, sys; limit = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_AS, (limit, limit)); "
    "os.environ['MALLOC_ARENA_MAX'] = '1'; os.execv(sys.argv[2], sys.argv[2:])"
)
_numbers = itertools.count(1)

ADVICE = "Use a shorter --seq, a smaller --batch or precision, or a larger --memory-limit."
UNLIMITED = 1 << 46
UNPARSED = re.compile(r"ValueError: field '\w+' is required for \w+")
"""How Python's parser ends without memory, while the child imports."""


class Interface(NamedTuple):
    """Files of a control group."""

    limit: str
    swap: str  # missing where the kernel has no swap
    events: str


V1 = Interface("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.oom_control")
V2 = Interface("memory.max", "memory.swap.max", "memory.events")

ROUNDED_TO = 16 << 20
"""Bytes of which the least limit is a multiple."""


class StartMemory(Record, frozen=True, kw_only=True):
    """What Python and onnxruntime take before any model is loaded."""

    resident_bytes: int
    address_space_bytes: int


class Question(Record, frozen=True):
    """What does the runtime take?"""


class LimitedProcess(LocalProcess):
    """A fresh interpreter for every request, under a memory limit of its own."""

    def __init__(self, limit: MemoryLimit) -> None:
        super().__init__()
        self.limit = limit
        self.group: Path | None = None

    def run(self, module: str, request: bytes, progress: Progress, timeout_s: float | None) -> Message:
        """As `Executor.run`.

        Raises:
            OutOfMemory: the child ran out of memory, in whatever way.
        """
        with self._limited():
            message = super().run(module, request, progress, timeout_s)
        if message.error == OutOfMemory.__name__ or (message.error and memory_ran_out(message.what)):
            raise self._out_of_memory(message.what)
        return message

    def died(self, code: int, stderr: IO[bytes]) -> EdgeprofError:
        """How a child ended without a reply: of memory, if the kernel, the system or the kind of its end says so."""
        problem, printed = super().died(code, stderr), printed_since(stderr)
        killed = signal_name(code)
        crashed = killed in CRASHES and self.limit.kind == "address space"
        if self.group is not None and _kills(self.group):
            return self._out_of_memory(OutOfMemory(last_step(printed), "killed by the kernel").what)
        if isinstance(problem, OutOfMemory):
            return self._out_of_memory(problem.what)
        unparsed = bool(UNPARSED.search(printed)) and not last_step(printed)
        if crashed or unparsed or memory_ran_out(printed):
            return self._out_of_memory(OutOfMemory(last_step(printed) or "starting", killed).what)
        return problem

    def _out_of_memory(self, what: str) -> OutOfMemory:
        problem = OutOfMemory()
        EdgeprofError.__init__(problem, f"Under a limit of {self.limit.text}: {what[0].lower()}{what[1:]}", ADVICE)
        return problem

    @contextlib.contextmanager
    def _limited(self) -> Iterator[None]:
        """Set the launcher that puts a child under the limit."""
        if self.limit.kind == "address space":
            self.launcher = (sys.executable, "-I", "-S", "-c", _RESTRICT, str(self.limit.bytes))
            yield
            return
        with _group(self.limit.bytes) as self.group:
            self.launcher = (sys.executable, "-I", "-S", "-c", _JOIN, str(self.group / "cgroup.procs"))
            yield


def limited(count_bytes: int, option: str = "--memory-limit") -> MemoryLimit:
    """A limit of the best kind that is permitted here, checked to be enough for the runtime.

    Raises:
        UsageError: this system enforces none, or the runtime alone takes more.
    """
    limit = MemoryLimit(bytes=count_bytes, kind=kind())
    _require_permitted(count_bytes, option)
    try:
        call(__name__, Question(), StartMemory, executor=LimitedProcess(limit))
    except OutOfMemory as problem:
        least = _least(limit.kind)
        raise UsageError(
            f"{option} {units.limit(count_bytes)} is less than Python and onnxruntime take before any model is "
            f"loaded, {units.limit(least)} of {limit.counted}.",
            f"Use {option} {units.limit(least).replace(' ', '')} or more; a model comes on top.",
        ) from problem
    return limit


def _require_permitted(count_bytes: int, option: str) -> None:
    """Refuse a limit above the one that this process has itself (`ulimit -v`), which its children cannot raise."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY and hard < count_bytes and os.geteuid():
        raise UsageError(
            f"This shell limits its processes to {units.size(hard)} of address space.",
            f"Use a smaller {option}, or start a shell without `ulimit -v`.",
        )


def taken() -> StartMemory:
    """What Python and onnxruntime take before any model is loaded, with one arena, as under a limit."""
    free = LimitedProcess(MemoryLimit(bytes=UNLIMITED, kind="address space"))
    return call(__name__, Question(), StartMemory, executor=free)


def _least(kind: LimitKind) -> int:
    """Bytes that the runtime takes, rounded up."""
    now = taken()
    count_bytes = now.address_space_bytes if kind == "address space" else now.resident_bytes
    return -(-count_bytes * 21 // 20 // ROUNDED_TO) * ROUNDED_TO


def kind(root: Path = ROOT) -> LimitKind:
    """The kind of limit that a child can be put under.

    Raises:
        UsageError: none, on this system.
    """
    if sys.platform != "linux":
        raise UsageError("Only Linux can limit the memory of a process.", "Measure without a limit, or on Linux.")
    try:
        with _group(1 << 30, root) as group:
            subprocess.run([sys.executable, "-I", "-S", "-c", _JOIN, group / "cgroup.procs", "/bin/true"], check=True)
    except (OSError, subprocess.SubprocessError, ChildError):
        return "address space"
    return "cgroup"


@contextlib.contextmanager
def _group(count_bytes: int, root: Path = ROOT) -> Iterator[Path]:
    """A control group with a limit; its processes have ended when the block does.

    Raises:
        OSError: none can be made.
    """
    group = _parent(root) / f"edgeprof-{os.getpid()}-{next(_numbers)}"
    group.mkdir()
    try:
        files = _interface(group.parent)
        (group / files.limit).write_text(str(count_bytes))
        if (group / files.swap).exists():
            (group / files.swap).write_text("0" if files is V2 else str(count_bytes))  # V1: memory and swap together
        yield group
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


def _interface(group: Path) -> Interface:
    return V1 if (group / V1.limit).exists() else V2


def _parent(root: Path) -> Path:
    """The nearest control group around this process whose children have memory limits.

    Raises:
        OSError: there is none that may be written.
    """
    for folder in cgroups(root, "memory"):
        if _gives_limits(folder) and os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK):
            return folder
    raise PermissionError("no control group for memory can be made")


def _gives_limits(folder: Path) -> bool:
    try:
        return _interface(folder) is V1 or "memory" in (folder / "cgroup.subtree_control").read_text().split()
    except OSError:
        return False


def _kills(group: Path) -> int:
    """Processes of a control group that the kernel killed because memory ran out."""
    rows = (line.split() for line in (group / _interface(group).events).read_text().splitlines())
    return next((int(value) for name, value in rows if name == "oom_kill"), 0)


def _taken(_question: Question, _progress: Progress) -> StartMemory:
    import onnxruntime  # noqa: F401

    now = memory.read()
    return StartMemory(resident_bytes=now.resident_bytes, address_space_bytes=now.address_peak_bytes)


if __name__ == "__main__":
    serve(_taken, Question)
