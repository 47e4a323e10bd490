"""The PyTorch model of an artifact, again: the same class and configuration, with the weights of its source."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeprof.errors import CheckpointError
from edgeprof.families import architecture_of
from edgeprof.schema import Artifact, Role
from edgeprof.stages import weights
from edgeprof.stages.export.stage import ExportRequest, blueprints_of, model_of
from edgeprof.stages.weights import Weights

if TYPE_CHECKING:
    from edgeprof.stages.export.blueprint import Blueprint


def rebuilt(artifact: Artifact, role: Role) -> Blueprint:
    """The blueprint of one of its graphs, whose model has the weights.

    Raises:
        CheckpointError: the weights are no longer where they were exported from.
    """
    import torch

    request = ExportRequest(
        name=artifact.name,
        variant=artifact.variant,
        architecture=artifact.architecture or (architecture_of(artifact.variant) if artifact.variant else None),
        weights=weights_of(artifact),
        logits=artifact.logits,
        opset=0,
        folder="",
    )
    with torch.no_grad():
        model = model_of(request)
        return next(one for one in blueprints_of(model, request) if one.role == role)


def weights_of(artifact: Artifact) -> Weights:
    """Where the weights of an artifact came from.

    Raises:
        CheckpointError: they are no longer there.
    """
    if artifact.weights.kind == "random":
        return Weights(seed=artifact.weights.seed)
    model = artifact.architecture or artifact.variant
    source = model.source if model else None
    if source is None:
        raise CheckpointError(f"Where the weights of {artifact.name} came from is not recorded.", AGAIN)
    path = Path(source)
    if weights.is_gguf(path):
        return Weights(folder=source, origin=artifact.weights.origin)
    folder = path if path.is_dir() else weights.cached(source)
    if folder is None:
        raise CheckpointError(f"The weights of {artifact.name} are no longer in {source}.", AGAIN)
    return weights.in_folder(folder, artifact.weights.origin)


AGAIN = "Export the model again with --force."
