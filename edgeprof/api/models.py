"""`models`: the variants that edgeprof knows, and the exported ones with static graphs."""

from pathlib import Path

from edgeprof.errors import RunError
from edgeprof.families import family_of, variants
from edgeprof.schema import Artifact, ModelSummary
from edgeprof.store import MODELS, artifact_folders, load_artifact


def models() -> list[ModelSummary]:
    """List the variants that can be exported, with their exact sizes; reads no weights and needs no torch.

    >>> {model.name: model.params for model in models()}["gpt2"]
    124439808
    """
    summaries = []
    for variant in variants():
        family = family_of(variant)
        sizes = family.summary(variant)
        summaries.append(
            ModelSummary(
                name=variant.name,
                family=variant.family,
                params=family.params(variant),
                layers=sizes.layers,
                width=sizes.width,
                heads=sizes.heads,
                vocabulary=sizes.vocabulary,
                patch=sizes.patch,
                max_tokens=variant.max_tokens,
            )
        )
    return summaries


def with_static_graphs(folder: Path = MODELS) -> list[Artifact]:
    """The artifacts below a folder that have static graphs; damaged artifacts are skipped."""
    artifacts = []
    for place in artifact_folders(folder) if folder.is_dir() else []:
        try:
            artifact = load_artifact(place)
        except RunError:
            continue
        if artifact.static:
            artifacts.append(artifact)
    return artifacts
