"""One writer at a time: a folder is held by a lock that ends with its process, however that ends.

The lock lies beside the folder (`.<name>.lock`), so that a copy of the folder has none; readers never ask for it.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from edgeprof.errors import RunError

POLL_S = 0.2


@contextlib.contextmanager
def sole_writer(folder: Path, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a folder against other processes; the process that holds it may ask again.

    Args:
        waiting: called with who holds the folder, before its end is waited for; None refuses at once.

    Raises:
        RunError: another process holds the folder, and `waiting` is None.
        OSError: the lock cannot be written.
    """
    from filelock import FileLock, Timeout

    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.with_name(f".{folder.name}.lock")
    lock = FileLock(file, is_singleton=True)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        holder = _holder(file)
        if waiting is None:
            raise RunError(
                f"{folder} is being written by {holder}.", "Wait for its end, or take another name."
            ) from None
        waiting(holder)
        lock.acquire(poll_interval=POLL_S)
    try:
        if lock.lock_counter == 1:
            file.write_text(f"process {os.getpid()}, since {datetime.now():%Y-%m-%d %H:%M:%S}")
        yield
    finally:
        if (
            lock.lock_counter == 1
        ):  # who waits for this very file sees that it has no name any more, and makes a new one
            with contextlib.suppress(OSError):  # Windows keeps a file that is open
                file.unlink()
        lock.release()


def _holder(file: Path) -> str:
    try:
        return file.read_text() or "another process"
    except OSError:  # it has ended just now
        return "another process"
