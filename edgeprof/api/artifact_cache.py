"""A folder that holds an artifact: made whole or not at all, and not made again while it is up to date."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import replace

from edgeprof.errors import RunError
from edgeprof.process import Progress
from edgeprof.schema import Artifact
from edgeprof.store import (
    ARTIFACT_FILE,
    WEIGHTS_FILE,
    folder_in_progress,
    load_artifact,
    recover,
    save_artifact,
    sha256_of,
    writing,
)
from edgeprof.store.locks import sole_writer


def make(
    folder: Path, key: str, force: bool, build: Callable[[Path], Artifact], progress: Progress
) -> tuple[Artifact, bool]:
    """The artifact of a folder, and whether it stood there already; else `build` fills a folder that takes its place.

    While another process makes it, this one waits, and then finds it there.

    Args:
        key: equal exactly when the artifact would come out the same.

    Raises:
        EdgeprofError: whatever `build` raises; what stood in the folder is untouched.
    """
    found = None if force else standing(folder, key)
    if found:
        return found, True
    with alone(folder, progress):
        recover(folder)
        found = None if force else standing(folder, key)
        if found:
            return found, True
        with folder_in_progress(folder) as partial:
            save_artifact(partial, _sealed(build(partial), key))
        return load_artifact(folder), False


@contextlib.contextmanager
def alone(folder: Path, progress: Progress) -> Iterator[None]:
    """As the only process that changes a folder; others are waited for.

    Raises:
        StorageError: the disk refused.
    """
    with contextlib.ExitStack() as held:
        with writing(folder):
            held.enter_context(sole_writer(folder, lambda holder: progress(f"waiting for {holder}", None)))
        yield


def standing(folder: Path, key: str) -> Artifact | None:
    """The artifact of a folder, if it is of that key."""
    if not (folder / ARTIFACT_FILE).exists():
        return None
    try:
        artifact = load_artifact(folder)
    except RunError:  # damaged, or of another version: made again
        return None
    return artifact if artifact.key == key else None


def _sealed(artifact: Artifact, key: str) -> Artifact:
    """With the digests of its files, by which `verify` recognizes them."""
    weights = artifact.folder / WEIGHTS_FILE
    size = weights.stat().st_size if weights.exists() else 0
    return replace(
        artifact,
        key=key,
        static=(),  # of another folder
        graphs=tuple(replace(graph, sha256=sha256_of(Path(graph.path))) for graph in artifact.graphs),
        data_files=(str(weights),) if size else (),  # it is empty where graphs hold all weights themselves
        data_sha256=sha256_of(weights) if weights.exists() else "",
        data_bytes=size,
    )
