"""Read and write files: whatever the operating system refuses becomes an error that names the file and the reason."""

import contextlib
import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgeprof.errors import EdgeprofError, StorageError, UsageError, first_line

PARTIAL = ".partial-"
LONGEST_NAME = 100

_REFUSED = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.EFBIG: "a file may not be so large here",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a file of that name is in the way",
    errno.ENAMETOOLONG: "the name is too long",
}

_UNREADABLE = {
    errno.ENOENT: "there is no such file",
    errno.EISDIR: "it is a folder",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.ELOOP: "it is a link that leads to itself",
    errno.ENOTDIR: "a part of the path is a file",
    errno.ENAMETOOLONG: "the name is too long",
}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a refusal of the disk into a StorageError that names the path and the reason."""
    try:
        yield
    except OSError as problem:
        incomplete = f"the disk took only a part ({problem})"  # numpy's error for a short write has no number
        reason = _REFUSED.get(problem.errno or 0, problem.strerror or incomplete)
        place = next((part.parent for part in (path, *path.parents) if PARTIAL in part.name), path)
        raise StorageError(
            f"Cannot write {place}: {reason}.", "Free or choose another place (--out), then run the same command again."
        ) from problem


@contextlib.contextmanager
def reading(
    path: Path, error: type[EdgeprofError] = StorageError, next_step: str = "Check the path."
) -> Iterator[None]:
    """Turn whatever keeps a file from being read into an error that names the file and the reason.

    A pipe or a device is refused before it is opened: it might never end.
    """
    try:
        require_regular(path)
        yield
    except EOFError:
        reason = "it is cut off"
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    except OSError as problem:
        reason = _UNREADABLE.get(problem.errno or 0, problem.strerror or str(problem))
    else:
        return
    raise error(f"{path} cannot be read: {reason}.", next_step)


@contextlib.contextmanager
def reading_arrays(path: Path, error: type[EdgeprofError], next_step: str) -> Iterator[None]:
    """As `reading`, for a .npy or .npz file: numpy, zipfile and zlib raise many kinds of errors for damaged ones."""
    with reading(path, error, next_step):
        try:
            yield
        except (EdgeprofError, OSError, EOFError):
            raise
        except Exception as problem:
            raise error(f"{path} cannot be read: {first_line(problem)}.", next_step) from problem


def exists(path: Path) -> bool:
    """Whether the name is in use, even by a link whose target is missing."""
    return path.exists() or path.is_symlink()


def require_regular(path: Path) -> None:
    """Check that a path is a file with an end.

    Raises:
        OSError: it is something else; says what.
    """
    try:
        mode = path.stat().st_mode
    except ValueError as problem:  # a zero byte
        raise OSError(0, "no file has such a name") from problem
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(0, "it is a pipe or a device, not a file")


def read_bytes(path: Path, error: type[EdgeprofError] = StorageError, next_step: str = "Check the path.") -> bytes:
    """The bytes of a file.

    Raises:
        EdgeprofError: of the given class; it cannot be read.
    """
    with reading(path, error, next_step):
        return path.read_bytes()


def read_text(path: Path, error: type[EdgeprofError] = StorageError, next_step: str = "Check the path.") -> str:
    """The text of a UTF-8 file.

    Raises:
        EdgeprofError: of the given class; it cannot be read, or is not UTF-8.
    """
    with reading(path, error, next_step):
        return path.read_text(encoding="utf-8")


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Raises:
        StorageError: the disk refused; the old content is untouched.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}{PARTIAL}")
        partial = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.chmod(mode)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


def within(folder: Path, name: str, holder: Path, error: type[EdgeprofError]) -> Path:
    """The path of a file in `folder` or below it that the file `holder` refers to by `name`.

    Links may stay in the folder, or lead where those of a hub cache do: from .../snapshots/... into .../blobs.

    Raises:
        error: it lies elsewhere; a downloaded file must not choose what is read on this machine.
    """
    path, parts = folder / name, re.split(r"[/\\]", name)
    downwards = not Path(name).is_absolute() and ".." not in parts and "\0" not in name and max(map(len, parts)) < 256
    snapshots = [parent.parent for parent in path.absolute().parents if parent.name == "snapshots"]
    roots = [os.path.realpath(root) for root in (folder, *(cache / "blobs" for cache in snapshots))]
    if not downwards or not any(Path(os.path.realpath(path)).is_relative_to(root) for root in roots):
        raise error(
            f"{holder} names {name}, which does not lie in its folder.", "Get all files from where they were published."
        )
    return path


def require_name(name: str, what: str, option: str = "--name") -> None:
    """Refuse a folder name that is not portable, or would lead out of the parent folder.

    Args:
        what: it is to name.
        option: that gives it.

    Raises:
        UsageError: it has other characters than letters, digits, dots, dashes and underscores, or too many.
    """
    if len(name) > LONGEST_NAME:
        raise UsageError(
            f"'{name[:20]}...' cannot name {what}: it has {len(name):,} characters.",
            f"Give {option} {LONGEST_NAME} characters at most.",
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"'{name}' cannot name {what}.", f"Give {option} letters, digits, dots, dashes, underscores.")


def cache_folder() -> Path:
    """Where edgeprof keeps what it can compute again: EDGEPROF_CACHE, or the user's cache folder."""
    own = os.environ.get("EDGEPROF_CACHE")
    users = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(own or Path(users) / "edgeprof").expanduser()
