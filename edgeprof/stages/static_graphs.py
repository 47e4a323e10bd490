"""Graphs of one shape beside an artifact, for providers that take no others: written, and held against the artifact.

They refer to the artifact's weights. In decode the cache has a slot for the new token: see `pinning`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from edgeprof import process, store
from edgeprof.errors import ModelFileError
from edgeprof.families import traced_family, traced_variant
from edgeprof.families.base import Arrays
from edgeprof.inputs import LoadRequest
from edgeprof.inputs.run_inputs import end_token, of_file, signature_of_artifact, usual_sizes
from edgeprof.inputs.tensors import make_array
from edgeprof.process import Progress
from edgeprof.recipe_table import recipe
from edgeprof.schema import Artifact, Case, Graph, Phase, StaticGraph, Target, TensorSpec
from edgeprof.stages import attention, graph, onnx_reference, provider_graph, reference
from edgeprof.stages.verify import Verified, VerifyRequest

PLAIN = Target(provider="static", static=True, lacks=(attention.ATTENTION,))
"""What any provider takes: no dynamic dimension, and attention in small operators."""


def file_name(case: Case) -> str:
    """ "prefill-1x128.onnx": batch and tokens; "decode-1x128.onnx": batch and tokens in the cache.

    "prefill-1.onnx" where no length sizes the inputs, as of images.
    """
    phase, length = ("decode", case.past_tokens) if case.past_tokens else ("prefill", case.tokens)
    return f"{phase}-{case.batch}x{length}.onnx" if length else f"{phase}-{case.batch}.onnx"


def standing(artifact: Artifact, case: Case) -> StaticGraph | None:
    """The graph of a shape that is there already and up to date; None where there is none."""
    entry = next((one for one in artifact.static if one.case == case), None)
    if entry is None or entry.key != _key(artifact, case):
        return None
    file = artifact.folder / entry.file
    return entry if file.is_file() and store.sha256_of(file) == entry.sha256 else None


def fix(artifact: Artifact, case: Case, progress: Progress) -> StaticGraph:
    """Write the graph for one shape into the artifact's folder, if it computes what the artifact computes.

    Raises:
        UsageError: the graph cannot be made static at this shape.
        VerificationError: its outputs differ from the artifact's.
        StorageError: the disk refused.
    """
    source, file = _source(artifact, case), artifact.folder / file_name(case)
    feeds = _feeds(artifact, source, case)
    progress(f"fixing shapes: {file.stem}", None)
    model = provider_graph.load_for_provider(source, PLAIN, {name: array.shape for name, array in feeds.items()})
    inputs = graph.specs([value for value in model.graph.inputs if value.name not in model.graph.initializers])
    with store.writing(file), tempfile.TemporaryDirectory(dir=file.parent, prefix=".static-") as scratch:
        values = Path(scratch) / "reference.npz"
        candidate = file.with_name(f".{Path(scratch).name}.onnx")  # beside its weights
        onnx_reference.record(source, [onnx_reference.Candidate(case, feeds)], values, progress)
        ((_, _, outputs),) = reference.read(values)
        reference.save(values, [(case, _held(feeds, inputs), outputs)])
        try:
            store.write_atomic(candidate, graph.serialized(model))
            (check,) = _verified(artifact, source, candidate, values, inputs, progress).checks
            candidate.replace(file)
        finally:
            candidate.unlink(missing_ok=True)
    return StaticGraph(
        file=file.name,
        case=case,
        max_abs_error=check.max_abs_error,
        sha256=store.sha256_of(file),
        key=_key(artifact, case),
    )


def _source(artifact: Artifact, case: Case) -> Graph:
    return artifact.graph_for("decode" if case.past_tokens else "prefill")


def _key(artifact: Artifact, case: Case) -> str:
    return store.content_key(_source(artifact, case).sha256, artifact.data_sha256, case, provider_graph.VERSION)


def _feeds(artifact: Artifact, source: Graph, case: Case) -> Arrays:
    """Inputs of a run with a cache that grows, in the types that the artifact takes."""
    variant = traced_variant(artifact)
    if variant is not None:
        arrays = traced_family(variant).feeds(variant, case, np.random.default_rng(0))
        return {spec.name: arrays[spec.name].astype(spec.dtype, copy=False) for spec in source.inputs}
    if not artifact.exported:
        raise ModelFileError(
            f"{source.path} was not exported by edgeprof, which does not know what its inputs mean.",
            "Export the model with edgeprof; a provider that needs static shapes runs the file without that.",
        )
    phase: Phase = "decode" if case.past_tokens else "prefill"
    load = LoadRequest(phase=phase, batch=case.batch, length=case.past_tokens or case.tokens or None)
    signature = signature_of_artifact(artifact, source)
    inputs = of_file(signature, load, usual=usual_sizes(artifact), end=end_token(artifact))
    return {value.name: make_array(value) for value in inputs.values}


def _held(feeds: Arrays, inputs: tuple[TensorSpec, ...]) -> Arrays:
    """The same for a cache of fixed size: what is cached comes first, and a free slot holds zeros."""
    held: Arrays = {}
    for spec in inputs:
        values = np.zeros([int(dim) for dim in spec.dims], spec.dtype)
        values[tuple(map(slice, feeds[spec.name].shape))] = feeds[spec.name]
        held[spec.name] = values
    return held


def _verified(
    artifact: Artifact, source: Graph, candidate: Path, values: Path, inputs: tuple[TensorSpec, ...], progress: Progress
) -> Verified:
    request = VerifyRequest(
        model=str(candidate),
        reference=str(values),
        inputs=inputs,
        tolerance=recipe(artifact.precision.recipe).static_tolerance,
        against=f"that of {Path(source.path).name}",
    )
    return process.call("edgeprof.stages.verify", request, Verified, progress=progress)
