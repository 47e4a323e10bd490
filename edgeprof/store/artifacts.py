"""Artifact folders: models/<name>/<precision>/ with ONNX files, the weights they share, and artifact.json.

Of one graph the files are model.onnx, model.onnx.data and reference.npz; of several encoder.onnx, decoder.onnx, ...,
model.onnx.data, and encoder.reference.npz, decoder.reference.npz, ...
"""

from collections.abc import Callable
from pathlib import Path

import msgspec

from edgeprof.errors import RunError
from edgeprof.schema import Artifact, Graph, Role, decode, encode_pretty
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
    write_atomic(folder / ARTIFACT_FILE, encode_pretty(_located(artifact, lambda path: Path(path).name)))


def load_artifact(folder: Path) -> Artifact:
    """Read the artifact of a folder; the paths of its files come back absolute.

    Raises:
        RunError: the record is damaged, or a file it names is missing or has another size.
    """
    artifact = _located(_record(folder), lambda name: str((folder / name).absolute()))
    graphs, weights = [Path(graph.path) for graph in artifact.graphs], list(map(Path, artifact.data_files))
    if not all(file.is_file() for file in (*graphs, *weights)):
        raise RunError(f"{folder} has lost its model files.", "Export it again with --force.")
    if sum(file.stat().st_size for file in weights) != artifact.data_bytes:
        raise RunError(f"The weights in {folder} differ in size from those exported.", "Export it again with --force.")
    return artifact


def _located(artifact: Artifact, place: Callable[[str], str]) -> Artifact:
    """The artifact with other paths of its files."""
    return msgspec.structs.replace(
        artifact,
        graphs=tuple(msgspec.structs.replace(graph, path=place(graph.path)) for graph in artifact.graphs),
        data_files=tuple(map(place, artifact.data_files)),
    )


def graph_file(folder: Path, role: Role = "model") -> Path:
    """Where a graph of an artifact is: the only one is model.onnx, others are named after their role."""
    return folder / f"{role}.onnx"


def reference_file(graph: Graph) -> Path:
    """Where the reference values of a graph are: what PyTorch computed for its inputs."""
    return reference_beside(Path(graph.path), graph.role)


def reference_beside(file: Path, role: Role) -> Path:
    """As `reference_file`, for the file of a graph."""
    return file.with_name(REFERENCE_FILE if role == "model" else f"{role}.{REFERENCE_FILE}")


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
    static = (one.file for one in artifact.static)
    for name in (*(graph.path for graph in artifact.graphs), *artifact.data_files, *static):
        within(folder, name, file, RunError)
    return artifact


def artifact_folders(root: Path) -> list[Path]:
    """All folders below `root` (or `root` itself) that hold an artifact, sorted; hidden ones are unfinished."""
    recover_below(root)
    folders = (file.parent for file in root.rglob(ARTIFACT_FILE))
    return sorted(
        folder for folder in folders if not any(part.startswith(".") for part in folder.relative_to(root).parts)
    )
