"""One piece of work at a time on a device, over all of its processes and users: work beside a measurement disturbs it.

Whoever works holds the lock `device`, and says in it what it does. Whoever waits holds the lock `queue`, so that a
client that asks again and again lets others in between. Both are files that every user may lock; a lock ends with its
process.
"""

from __future__ import annotations

import contextlib
import errno
import getpass
import os
import platform
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from edgeprof.errors import DeviceBusy, StorageError

POLL_S = 0.1
LONGEST_NOTE = 200  # characters
UNKNOWN = "works on something"


def locks_folder() -> Path:
    """Where the locks of this device lie: EDGEPROF_LOCKS, or the folder of temporary files that all users share."""
    own = os.environ.get("EDGEPROF_LOCKS")
    return Path(own or ("/tmp" if os.name == "posix" else tempfile.gettempdir()))


def user() -> str:
    """Who works, as others are told."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "a user without a name"


def client() -> str:
    """Who asks a device, as others who wait for it are told: "anna@desk"."""
    return f"{user()}@{platform.node() or 'workstation'}"


Waiting = Callable[[str], None]
"""Called with what the device is busy with."""


def _unheard(_busy: str) -> None:
    pass


@contextlib.contextmanager
def turn(doing: str, wait_s: float, waiting: Waiting = _unheard) -> Iterator[None]:
    """Wait until nothing else is done on this device, and keep it so within the block.

    Args:
        doing: what others are told meanwhile: "measures gpt2 fp32 for anna".
        waiting: called once for each piece of work that is waited for.

    Raises:
        DeviceBusy: other work took longer than `wait_s` seconds; says which.
        StorageError: the locks cannot be used.
    """
    deadline = time.monotonic() + wait_s
    with contextlib.ExitStack() as device:
        with _locked("queue", deadline, waiting):
            handle = device.enter_context(_locked("device", deadline, waiting))
        note = f"{doing[:LONGEST_NOTE]}, since {datetime.now():%Y-%m-%d %H:%M:%S}"
        with contextlib.suppress(OSError):  # a full disk: others are told less, and wait all the same
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, note.encode(errors="replace"))
        yield


def busy_with() -> str:
    """What is being done on this device, by whoever; "" if nothing is. Nothing waits for it."""
    file = _file("device")
    if not file.exists():
        return ""
    with _opened(file) as handle:
        if _try(handle):
            _release(handle)
            return ""
        text = os.read(handle, 2 * LONGEST_NOTE).decode(errors="replace")
        return "".join(filter(str.isprintable, text)) or UNKNOWN


@contextlib.contextmanager
def _locked(name: str, deadline: float, waiting: Waiting) -> Iterator[int]:
    """Hold a lock; at the deadline, give up."""
    told = False
    with _opened(_file(name)) as handle:
        while not _try(handle):
            if time.monotonic() >= deadline:
                raise DeviceBusy(f"It is busy: {busy_with() or 'others wait for it'}.", "Ask again later.")
            if not told:  # nothing else comes before this: whoever waits next is in the queue
                waiting(busy_with() or UNKNOWN)
                told = True
            time.sleep(POLL_S)
        try:
            yield handle
        finally:
            _release(handle)


def _file(name: str) -> Path:
    return locks_folder() / f"edgeprof-{name}.lock"


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[int]:
    """A lock file, which may be another user's; in a folder where everyone may put a link, none is followed."""
    flags = os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:  # not with O_CREAT at once: of another user's file in such a folder Linux refuses that
            handle = os.open(file, flags)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                made = os.open(file, flags | os.O_CREAT | os.O_EXCL, 0o666)
                os.close(made)
                file.chmod(0o666)  # whatever the umask
            handle = os.open(file, flags)
    except OSError as problem:
        raise StorageError(
            f"{file} cannot be locked: {problem.strerror}.", "Remove it, or set EDGEPROF_LOCKS to another folder."
        ) from problem
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise StorageError(f"{file} is not a file.", "Remove it.")
        yield handle
    finally:
        os.close(handle)


if sys.platform == "win32":
    import msvcrt

    FAR = 1 << 30  # a byte beyond the text, which stays readable

    def _try(handle: int) -> bool:
        os.lseek(handle, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _release(handle: int) -> None:
        os.lseek(handle, FAR, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            if problem.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise StorageError(
                f"Files in {locks_folder()} cannot be locked: {problem.strerror}.",
                "Set EDGEPROF_LOCKS to a folder of another file system.",
            ) from problem
        return True

    def _release(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)
