"""A folder with an artifact: built completely or not at all, and only where it is not up to date."""

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
    """The artifact in a folder, and whether it was up to date; if not, `build` fills a folder that replaces it.

    While another process builds the artifact, this one waits, and then uses it.

    Args:
        key: equal exactly where two artifacts are the same.

    Raises:
        EdgeprofError: any error of `build`; the folder is unchanged then.
    """
    current = None if force else up_to_date_in(folder, key)
    if current:
        return current, True
    with alone(folder, progress):
        recover(folder)
        current = None if force else up_to_date_in(folder, key)
        if current:
            return current, True
        with folder_in_progress(folder) as partial:
            save_artifact(partial, _sealed(build(partial), key))
        return load_artifact(folder), False


@contextlib.contextmanager
def alone(folder: Path, progress: Progress) -> Iterator[None]:
    """Lock a folder for changes by this process alone; wait for other processes.

    Raises:
        StorageError: the folder cannot be written.
    """
    with contextlib.ExitStack() as held:
        with writing(folder):
            held.enter_context(sole_writer(folder, lambda holder: progress(f"waiting for {holder}", None)))
        yield


def up_to_date_in(folder: Path, key: str) -> Artifact | None:
    """The artifact in a folder, if it has this key."""
    if not (folder / ARTIFACT_FILE).exists():
        return None
    try:
        artifact = load_artifact(folder)
    except RunError:  # damaged, or of another version: built again
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
