"""`verify`: hold exported files against the values PyTorch gave, again, anywhere; needs no torch."""

from collections.abc import Sequence
from pathlib import Path

from edgeprof.api.targets import exported
from edgeprof.errors import VerificationError
from edgeprof.process import Progress, part, silent
from edgeprof.schema import Artifact
from edgeprof.stages import verify as verify_stage
from edgeprof.store import MODELS, sha256_of


def verify(targets: Sequence[str] = (), *, models: Path = MODELS, progress: Progress = silent) -> list[Artifact]:
    """Check that files are the exported ones and compute what PyTorch computed, with the onnxruntime that is here.

    Args:
        targets: names below `models`, or artifact folders; none means all.
        models: the folder that `export` filled.
        progress: called with what is being done.

    Returns:
        The artifacts, with the checks made just now.

    Raises:
        UsageError: no such artifact.
        VerificationError: a file was changed, or an output differs.
    """
    artifacts = exported(targets, models)
    checked = []
    for index, artifact in enumerate(artifacts):
        step = part(progress, f"{artifact.name} {artifact.precision}", index, len(artifacts))
        step("reading", 0.0)
        _require_unchanged(artifact)
        checked.append(verify_stage.verify(artifact, step))
    return checked


def _require_unchanged(artifact: Artifact) -> None:
    path = Path(artifact.path)
    for file, digest in ((path, artifact.sha256), (path.with_name(path.name + ".data"), artifact.data_sha256)):
        if digest and sha256_of(file) != digest:
            raise VerificationError(f"{file} is not the file that was exported.", "Export it again with --force.")
