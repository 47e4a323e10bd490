"""Artifact folders: models/<name>/<precision>/ with model.onnx, model.onnx.data, reference.npz and artifact.json."""

from pathlib import Path

import msgspec

from edgeprof.errors import RunError
from edgeprof.schema import Artifact, decode, encode_pretty
from edgeprof.store.files import read_bytes, within, write_atomic
from edgeprof.store.folders import recover_below

MODELS = Path("models")

MODEL_FILE = "model.onnx"
WEIGHTS_FILE = "model.onnx.data"
REFERENCE_FILE = "reference.npz"
ARTIFACT_FILE = "artifact.json"


def save_artifact(folder: Path, artifact: Artifact) -> None:
    """Write the record of an artifact; its files are named relative to the folder.

    Raises:
        StorageError: the disk refused.
    """
    record = msgspec.structs.replace(artifact, path=Path(artifact.path).name)
    write_atomic(folder / ARTIFACT_FILE, encode_pretty(record))


def load_artifact(folder: Path) -> Artifact:
    """Read the artifact of a folder; its `path` comes back absolute.

    Raises:
        RunError: the record is damaged, or a file it names is missing or has another size.
    """
    artifact = _record(folder)
    model = (folder / artifact.path).absolute()
    weights = model.with_name(model.name + ".data")
    if not model.is_file() or (artifact.data_bytes and not weights.is_file()):
        raise RunError(f"{folder} has lost its model files.", "Export it again with --force.")
    if artifact.data_bytes and weights.stat().st_size != artifact.data_bytes:
        raise RunError(f"{weights} is not of the size that was exported.", "Export it again with --force.")
    return msgspec.structs.replace(artifact, path=str(model))


def record_beside(file: Path) -> Artifact | None:
    """The record of the artifact in whose folder a file lies, if there is one; its model files are not checked.

    Raises:
        RunError: the record is damaged.
    """
    folder = file.absolute().parent
    return _record(folder) if (folder / ARTIFACT_FILE).exists() else None


def _record(folder: Path) -> Artifact:
    file = folder / ARTIFACT_FILE
    artifact = decode(read_bytes(file, RunError), Artifact, str(file))
    for name in (artifact.path, *(graph.file for graph in artifact.static)):
        within(folder, name, file, RunError)
    return artifact


def artifact_folders(root: Path) -> list[Path]:
    """All folders below `root` (or `root` itself) that hold an artifact, sorted; hidden ones are unfinished."""
    recover_below(root)
    folders = (file.parent for file in root.rglob(ARTIFACT_FILE))
    return sorted(
        folder for folder in folders if not any(part.startswith(".") for part in folder.relative_to(root).parts)
    )
