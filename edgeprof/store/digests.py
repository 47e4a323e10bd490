"""Digests of files and of requests, and whether a file is still the one that was read."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgeprof.errors import RunError
from edgeprof.schema import FileState
from edgeprof.store.files import reading


def sha256_of(path: Path) -> str:
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(paths: Sequence[Path]) -> str:
    """One digest of several files: of one file its own, of none the empty string."""
    digests = [sha256_of(path) for path in paths]
    return digests[0] if len(digests) == 1 else content_key(digests) if digests else ""


def content_key(*parts: Any) -> str:
    """A digest that is equal exactly when the parts are; parts are anything msgspec can encode."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def state_of(path: Path) -> FileState:
    """The properties of a file that change when it is written to or replaced.

    Raises:
        RunError: the file does not exist any more.
    """
    with reading(path, RunError):
        status = path.stat()
        return FileState(path=str(path), size=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino)


def require_unchanged(files: Sequence[FileState]) -> None:
    """Check that files are still as they were recorded.

    Raises:
        RunError: one was written to, replaced or removed.
    """
    for file in files:
        if state_of(Path(file.path)) != file:
            raise RunError(f"{file.path} was changed or replaced while it was measured.", "Run the command again.")
