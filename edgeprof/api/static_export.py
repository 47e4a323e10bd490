"""Static graphs next to an exported model: choose their shapes, and keep them up to date."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgeprof import store
from edgeprof.api.artifact_cache import alone
from edgeprof.api.sizing import PhaseChoice, case_for
from edgeprof.errors import UsageError
from edgeprof.families import family_of
from edgeprof.process import Progress
from edgeprof.schema import Artifact, Case, Phase, Record, StaticGraph, Variant
from edgeprof.stages import static_graphs


class Shapes(Record, frozen=True, kw_only=True):
    """Requested shapes: every length in every phase at every batch size."""

    seq: tuple[int, ...]
    batch: tuple[int, ...] = (1,)
    phase: PhaseChoice = "both"

    def cases(self, name: str, variant: Variant) -> tuple[Case, ...]:
        """The shapes as cases of a model.

        Raises:
            UsageError: it takes no input of that length, or cannot decode.
        """
        phases: list[Phase] = ["prefill"] if self.phase != "decode" else []
        if self.phase != "prefill" and family_of(variant).caches(variant):
            phases.append("decode")
        if not phases:
            raise UsageError(f"{name} has no KV cache, so it cannot decode.", "Use --phase prefill.")
        cases = [
            case_for(name, variant, phase, batch, length)
            for phase in phases
            for batch in self.batch
            for length in self.seq
        ]
        return tuple(dict.fromkeys(cases))  # two lengths may mean the same image


def shapes_of(static: bool, seq: Sequence[int], batch: Sequence[int], phase: PhaseChoice) -> Shapes | None:
    """The shapes of static graphs; None where none are requested.

    Raises:
        UsageError: static graphs without a length, or a length without static graphs.
    """
    if static and not seq:
        raise UsageError("Static graphs need token lengths.", "Add --seq 128,256.")
    if seq and not static:
        raise UsageError(
            "An exported model accepts every token length.", "For graphs of these lengths alone, add --static."
        )
    if not static:
        return None
    return Shapes(seq=tuple(sorted(set(seq))), batch=tuple(sorted(set(batch))), phase=phase)


def fix(artifact: Artifact, cases: Sequence[Case], force: bool, progress: Progress) -> Artifact:
    """The artifact with a static graph for each shape in its folder; graphs that are up to date stay.

    Raises:
        VerificationError: a graph does not compute what the artifact computes. Earlier ones are kept.
    """
    if not force and all(static_graphs.standing(artifact, case) for case in cases):
        return artifact
    folder = artifact.folder
    with alone(folder, progress):
        artifact = msgspec.structs.replace(artifact, static=store.load_artifact(folder).static)
        for case in cases:
            if force or not static_graphs.standing(artifact, case):
                artifact = _with(artifact, static_graphs.fix(artifact, case, progress))
                store.save_artifact(folder, artifact)
    return artifact


def _with(artifact: Artifact, new: StaticGraph) -> Artifact:
    others = (one for one in artifact.static if one.file != new.file)
    static = sorted((*others, new), key=lambda one: (one.case.past_tokens, one.case.batch, one.case.tokens))
    return msgspec.structs.replace(artifact, static=tuple(static))
