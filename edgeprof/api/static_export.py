"""Static graphs next to an exported model: choose their shapes, and keep them up to date."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import msgspec

from edgeprof import store
from edgeprof.api.artifact_cache import alone
from edgeprof.api.sizing import PhaseChoice, case_for, inputs_of
from edgeprof.errors import UsageError
from edgeprof.families import family_of, is_traced, traced_variant
from edgeprof.inputs import LoadRequest
from edgeprof.inputs.run_inputs import signature_of_artifact
from edgeprof.process import Progress
from edgeprof.schema import FP32, Artifact, Case, Phase, Record, StaticGraph, Variant
from edgeprof.stages import static_graphs

PHASES: tuple[Phase, ...] = ("prefill", "decode")


class Shapes(Record, frozen=True, kw_only=True):
    """Requested shapes: every length in every phase at every batch size.

    Without lengths: images of the usual size, and whatever else no length sizes. Where an encoder takes one size and a
    decoder many, lengths are those of the decoder.
    """

    seq: tuple[int, ...]
    batch: tuple[int, ...] = (1,)
    phase: PhaseChoice = "both"

    def cases(self, artifact: Artifact) -> tuple[Case, ...]:
        """The shapes as cases of a model.

        Raises:
            UsageError: it takes no input of that length, or cannot decode.
        """
        variant = traced_variant(artifact)
        if variant is not None:
            return self.of_variant(artifact.name, variant)
        accepted = {phase: signature_of_artifact(artifact, artifact.graph_for(phase)) for phase in PHASES}
        decodes = not accepted["decode"].no_decode
        cases = []
        for load in self._loads(artifact.name, decodes):
            signature = accepted[load.phase]
            one_size = decodes and not signature.sized_by_length and not signature.past
            sized = msgspec.structs.replace(load, length=None) if one_size else load
            cases.append(inputs_of(artifact, signature, sized, dims={}, files={}).case)
        return tuple(dict.fromkeys(cases))

    def of_variant(self, name: str, variant: Variant) -> tuple[Case, ...]:
        """The shapes as cases of a variant, which need not be exported yet.

        Raises:
            UsageError: as `cases`.
        """
        if not self.seq:
            if is_traced(variant) or family_of(variant).summary(variant).vocabulary:
                raise UsageError("Static graphs need token lengths.", "Add --seq 128,256.")
            return ()
        family, cases = family_of(variant), []
        decodes = family.caches(variant)
        for load in self._loads(name, decodes):
            only = family.fixed_tokens(variant, load.phase) if decodes else None
            cases.append(case_for(name, variant, load.phase, load.batch or 1, only or load.length or 0))
        return tuple(dict.fromkeys(cases))  # two lengths may mean the same image

    def _loads(self, name: str, decodes: bool) -> list[LoadRequest]:
        phases = [phase for phase in PHASES if self.phase in (phase, "both") and (decodes or phase == "prefill")]
        if not phases:
            raise UsageError(f"{name} has no KV cache, so it cannot decode.", "Use --phase prefill.")
        return [
            LoadRequest(phase=phase, batch=batch, length=length)
            for phase, batch, length in product(phases, self.batch, self.seq or (None,))
        ]


def shapes_of(static: bool, seq: Sequence[int], batch: Sequence[int], phase: PhaseChoice) -> Shapes | None:
    """The shapes of static graphs; None where none are requested.

    Raises:
        UsageError: a length without static graphs.
    """
    if seq and not static:
        raise UsageError(
            "An exported model accepts every token length.", "For graphs of these lengths alone, add --static."
        )
    if not static:
        return None
    return Shapes(seq=tuple(sorted(set(seq))), batch=tuple(sorted(set(batch))), phase=phase)


def fused(artifact: Artifact) -> UsageError | None:
    """The error for an artifact of which no static graphs can be made, for its attention is fused; None otherwise."""
    if not any(graph.shared_cache for graph in artifact.graphs):
        return None
    precision = "" if artifact.precision.recipe == FP32 else f" --precision {artifact.precision}"
    return UsageError(
        f"Static graphs are made of standard operators, and the attention of {artifact.name} is fused.",
        f"Run: edgeprof export {artifact.name} --portable{precision}",
    )


def fix(artifact: Artifact, cases: Sequence[Case], force: bool, progress: Progress) -> Artifact:
    """The artifact with a static graph for each shape in its folder; graphs that are up to date stay.

    Raises:
        UsageError: its attention is fused, which graphs of one shape cannot have.
        VerificationError: a graph does not compute what the artifact computes. Earlier ones are kept.
    """
    if problem := fused(artifact):
        raise problem
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
