"""Files on a device, by their content: sent once, whatever they are called, and removed when room is needed.

Below the cache folder, `content/` holds

    objects/<sha256>    complete files, read-only
    partial/<sha256>    what has arrived of others: an upload that was cut goes on from there
    views/<key>/        a folder as a request names it, while it is in use: hard links to objects

Links are hard ones, as onnxruntime refuses weights that lie elsewhere than their graph. The time of access says when an
object was last used; the time of its last change stays, since caches of what was made of it depend on that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeprof import store, units
from edgeprof.errors import StorageError, UsageError
from edgeprof.fleet.messages import ContentFile

LIMIT_BYTES = 20 << 30
"""Of all objects together, unless EDGEPROF_CONTENT_BYTES says otherwise."""

LONGEST_NAME = 255
DEEPEST = 8

NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK)
"""How file systems say that they have no hard links, or no more of them."""

ADVICE = "Remove what is not needed: edgeprof fleet clean"


class Content:
    """The files of one device. What it does must not be done at the same time by another process.

    Args:
        folder: that holds them.
        limit_bytes: of all of them together.
    """

    def __init__(self, folder: Path | None = None, limit_bytes: int | None = None) -> None:
        folder = folder or store.cache_folder() / "content"
        self.objects, self.partial, self.views = folder / "objects", folder / "partial", folder / "views"
        self.limit_bytes = _limit() if limit_bytes is None else limit_bytes

    # --- what is there ---------------------------------------------------------------------------------

    @property
    def kept_bytes(self) -> int:
        """Of complete and of unfinished files."""
        return sum(size for _, size, _ in self._kept())

    def lacking(self, files: Sequence[ContentFile]) -> dict[str, int]:
        """The bytes that are there of each file that is not complete; complete ones count as used now.

        Raises:
            StorageError: all of them together take more than is kept here.
        """
        sizes = {file.sha256: file.size_bytes for file in files}
        if (total := sum(sizes.values())) > self.limit_bytes:
            what = f"The files take {units.size(total)}, and at most {units.size(self.limit_bytes)} are kept here."
            raise StorageError(what, "Set EDGEPROF_CONTENT_BYTES to more, where the device's agent is started.")
        for digest, size in sizes.items():
            if self._complete(digest, size):
                _used(self.objects / digest)
        return {digest: self._have(digest, size) for digest, size in sizes.items() if not self._complete(digest, size)}

    def _complete(self, digest: str, size: int) -> bool:
        return _size(self.objects / digest) == size

    def _have(self, digest: str, size: int) -> int:
        """The bytes that have arrived of a file; more than it has are none of it."""
        partial = self.partial / digest
        have = _size(partial) or 0
        if have > size:
            partial.unlink()
            return 0
        return have

    # --- receiving -------------------------------------------------------------------------------------

    def put(self, digest: str, offset: int, total_bytes: int, data: bytes) -> int:
        """Add a part of a file to what is there, and return the bytes that are there now.

        A part that does not follow what is there is not taken. The last one makes the file complete.

        Raises:
            StorageError: it does not fit, or the file is not the one that its digest names; nothing is kept of it.
        """
        if self._complete(digest, total_bytes):
            return total_bytes
        partial, have = self.partial / digest, self._have(digest, total_bytes)
        if offset != have:
            return have
        if have + len(data) > total_bytes:
            partial.unlink(missing_ok=True)
            raise StorageError("More arrived of a file than it has bytes.", "Run the command again.")
        self._make_room(total_bytes - have, digest)
        with _receiving(partial):
            partial.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("ab") as file:
                file.write(data)
                if have + len(data) == total_bytes:
                    file.flush()
                    os.fsync(file.fileno())
        if have + len(data) == total_bytes:
            self._complete_with(partial, digest)
        return have + len(data)

    def _complete_with(self, partial: Path, digest: str) -> None:
        if store.sha256_of(partial) != digest:
            partial.unlink()
            raise StorageError("What arrived is not the file that was to be sent.", "Run the command again.")
        with _receiving(partial):
            self.objects.mkdir(parents=True, exist_ok=True)
            partial.chmod(0o444)
            partial.replace(self.objects / digest)
            _used(self.objects / digest)

    # --- removing --------------------------------------------------------------------------------------

    def clean(self, keep_bytes: int = 0) -> int:
        """Remove files, those not used for longest first, until at most so many bytes are kept; return those removed.

        Files in use stay.
        """
        before = kept = self.kept_bytes
        for _, size, path in self._removable():
            if kept <= keep_bytes:
                break
            path.unlink(missing_ok=True)
            kept -= size
        return before - kept

    def _make_room(self, needed: int, digest: str) -> None:
        """Remove what was not used for longest, until so many bytes more are allowed, and fit on the disk.

        Raises:
            StorageError: that is not enough.
        """
        free = shutil.disk_usage(_existing(self.objects)).free
        others = [(size, path) for _, size, path in self._removable() if path.name != digest]
        to_remove = max(self.kept_bytes + needed - self.limit_bytes, needed - free)
        if to_remove > sum(size for size, _ in others):
            room = min(self.limit_bytes - self.kept_bytes, free) + sum(size for size, _ in others)
            what = f"{units.size(needed)} more do not fit on the disk: there is room for {units.size(max(room, 0))}."
            (self.partial / digest).unlink(missing_ok=True)
            raise StorageError(what, ADVICE)
        for size, path in others:
            if to_remove <= 0:
                return
            path.unlink(missing_ok=True)
            to_remove -= size

    def _kept(self) -> list[tuple[float, int, Path]]:
        """When each file was last used, its bytes and path."""
        found = []
        for folder in (self.objects, self.partial):
            for path in folder.iterdir() if folder.is_dir() else ():
                with contextlib.suppress(FileNotFoundError):  # it was completed, or removed, just now
                    status = path.stat()
                    used = status.st_atime if folder == self.objects else status.st_mtime
                    found.append((used, status.st_size, path))
        return sorted(found)

    def _removable(self) -> list[tuple[float, int, Path]]:
        """As `_kept`, without files that a view holds."""
        return [kept for kept in self._kept() if kept[2].stat().st_nlink == 1]

    # --- using -----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def view(self, files: Sequence[ContentFile]) -> Iterator[Path]:
        """A folder with complete files under their names, within the block; the same files have the same folder.

        Raises:
            UsageError: a name would lead out of the folder, or is another one's folder.
            StorageError: the disk refused.
        """
        require_names([file.name for file in files])
        ordered = sorted(files, key=lambda file: file.name)
        folder = self.views / store.content_key(ordered)[:32]
        try:
            with store.writing(folder):
                folder.mkdir(parents=True)
                for file in ordered:
                    target = folder / file.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _link(self.objects / file.sha256, target)
            yield folder
        finally:
            self.discard_views()

    def discard_views(self) -> None:
        """Remove all views; their files stay."""
        shutil.rmtree(self.views, ignore_errors=True)


def require_names(names: Sequence[str]) -> None:
    r"""Check that names are those of files in one folder or below it, on every operating system.

    >>> require_names(["model.onnx", "inputs/pixels.npy"])

    Raises:
        UsageError: one is empty, absolute, has "..", "\", ":" or a control character, or two are in each other's way.
    """
    for name in names:
        parts = name.split("/")
        harmless = name.isprintable() and not re.search(r'[\\:*?"<>|]', name) and len(parts) <= DEEPEST
        if not harmless or any(not part.strip(". ") or len(part.encode()) > LONGEST_NAME for part in parts):
            raise UsageError(f"{name[:80]!r} cannot name a file on a device.", "Give the file another name.")
    folders = {"/".join(parts[:end]) for parts in (name.split("/") for name in names) for end in range(1, len(parts))}
    if len(set(names)) < len(names) or folders & set(names):
        raise UsageError("Two files have the same name.", "Give one of them another name.")


def _limit() -> int:
    """What EDGEPROF_CONTENT_BYTES says.

    Raises:
        UsageError: it is not a number.
    """
    text = os.environ.get("EDGEPROF_CONTENT_BYTES", "")
    if text and not (text.isascii() and text.isdecimal()):
        raise UsageError(f"EDGEPROF_CONTENT_BYTES is '{text}', which is not a number of bytes.", "Example: 20000000000")
    return int(text) if text else LIMIT_BYTES


@contextlib.contextmanager
def _receiving(partial: Path) -> Iterator[None]:
    """Of a file that the disk refuses, nothing stays: it would take the room that others need."""
    try:
        with store.writing(partial):
            yield
    except StorageError as problem:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise StorageError(problem.what, ADVICE) from problem


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError as problem:
        if problem.errno not in NO_LINKS:
            raise
        shutil.copyfile(source, target)


def _used(path: Path) -> None:
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def _size(path: Path) -> int | None:
    """Bytes of a file; None where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
