"""Folders that are complete or absent: a killed process leaves none that looks finished."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgeprof.errors import RunError
from edgeprof.store.files import PARTIAL, writing
from edgeprof.store.locks import sole_writer


@contextlib.contextmanager
def folder_in_progress(final: Path) -> Iterator[Path]:
    """Yield a folder to fill, which gets its final name only when the block ends without an error.

    The previous folder of that name stays until then. One process at a time fills it, others wait; what a killed
    process left is removed by the next.

    Raises:
        StorageError: the disk refused.
    """
    with contextlib.ExitStack() as stack:
        with writing(final):
            stack.enter_context(sole_writer(final, waiting=lambda _holder: None))
            recover(final)
            partial = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}{PARTIAL}"))
            partial.chmod(0o755)
        try:
            yield partial
            with writing(final):
                if final.exists():
                    final.rename(_backup(final))
                partial.rename(final)
        finally:
            recover(final)


def recover(final: Path) -> None:
    """Remove what a killed process left beside a folder; call it only as the `sole_writer` of that folder.

    A folder that was being replaced, and has lost its name, gets it back.
    """
    backup = _backup(final)
    if backup.is_dir() and not final.exists():
        backup.rename(final)
    shutil.rmtree(backup, ignore_errors=True)
    sweep(final.parent, f".{final.name}{PARTIAL}")


def recover_below(root: Path) -> None:
    """Give every folder at or below `root` that a killed process was replacing its name back."""
    for backup in (_backup(root), *root.rglob(".*.replaced")):
        final = backup.with_name(backup.name.removeprefix(".").removesuffix(".replaced"))
        if backup.is_dir() and not final.exists():
            with contextlib.suppress(RunError, OSError), sole_writer(final):  # being replaced right now, or read-only
                recover(final)


def sweep(folder: Path, prefix: str) -> None:
    """Remove the unfinished files and folders whose names start with `prefix`."""
    for path in folder.iterdir():
        if path.name.startswith(prefix) and PARTIAL in path.name:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _backup(final: Path) -> Path:
    """Where the previous folder stands while the next one takes its name."""
    final = final.absolute()  # "." has no name
    return final.with_name(f".{final.name}.replaced")
