"""One writer at a time: a process locks a folder, and the lock ends with the process, however that ends.

The lock file is beside the folder (`.<name>.lock`), so that a copy of the folder has none; readers do not use it.
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
    """Lock a folder against other processes; the process that holds the lock may acquire it again.

    Args:
        waiting: called with the name of the holder before waiting for it; None: raise at once.

    Raises:
        RunError: another process holds the lock, and `waiting` is None.
        OSError: the lock file cannot be written.
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
                f"{folder} is being written by {holder}.", "Wait until it ends, or choose another --name."
            ) from None
        waiting(holder)
        lock.acquire(poll_interval=POLL_S)
    try:
        if lock.lock_counter == 1:
            file.write_text(f"process {os.getpid()}, since {datetime.now():%Y-%m-%d %H:%M:%S}")
        yield
    finally:
        if lock.lock_counter == 1:  # a process that waits for this file sees that it is gone, and creates a new one
            with contextlib.suppress(OSError):  # Windows keeps a file that is open
                file.unlink()
        lock.release()


def _holder(file: Path) -> str:
    try:
        return file.read_text() or "another process"
    except OSError:  # it ended just now
        return "another process"
