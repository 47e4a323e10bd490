"""The points of a run, before anything is measured: a job for each graph, load and provider of a model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from edgeprof import counting, store, units
from edgeprof.analysis.memory_parts import predicted
from edgeprof.api import baselines
from edgeprof.api.sizing import PhaseChoice, inputs_of
from edgeprof.api.trial_inputs import ChosenFills, working_fills
from edgeprof.errors import RunError, UsageError
from edgeprof.families import family_of, traced_variant
from edgeprof.inputs import LoadRequest, Signature, signature
from edgeprof.inputs.run_inputs import Inputs, load_of, signature_of_graph
from edgeprof.measure import runtime_memory
from edgeprof.measure.schedule import Job, facts_on, place_of
from edgeprof.process import Progress
from edgeprof.providers.ort_errors import require_no_library
from edgeprof.schema import (
    Artifact,
    Case,
    Facts,
    FileState,
    Graph,
    Load,
    MemoryLimit,
    Phase,
    PointKey,
    Record,
    RuntimeMemory,
    StoppingRule,
    Target,
)

if TYPE_CHECKING:
    from onnx import ModelProto


class ProfileRequest(Record, frozen=True, kw_only=True):
    """The settings of a run, common to all of its models."""

    seq: tuple[int, ...]
    batch: tuple[int, ...]
    phase: PhaseChoice
    machine_id: str
    threads: int
    targets: tuple[Target, ...]
    compile: bool
    stopping: StoppingRule
    timeout_s: float
    dims: dict[str, int]
    files: dict[str, Path]
    generate: int = 0
    memory_limit: MemoryLimit | None = None
    runtime: RuntimeMemory | None = None  # of another device; None: read on this machine
    trial: bool = True  # run a file from elsewhere once, to find values that give a result


def jobs_of_all(
    artifacts: Sequence[Artifact], request: ProfileRequest, notes: list[str], progress: Progress
) -> list[Job]:
    """The points of all models."""
    jobs: list[Job] = []
    for artifact in artifacts:
        progress(f"counting: {artifact.name} {artifact.precision}", None)
        try:
            jobs += jobs_of(artifact, request, notes)
        except UsageError as problem:
            raise problem.about(artifact.name) if len(artifacts) > 1 else problem  # noqa: B904  (the same error)
    if not jobs:
        raise UsageError("None of these models has a KV cache, so none can decode.", "Use --phase prefill.")
    return jobs


def jobs_of(artifact: Artifact, request: ProfileRequest, notes: list[str]) -> list[Job]:
    """The points of one model; of several requested phases, one that it does not have becomes a note."""
    request = replace(request, targets=baselines.accepting(artifact, request.targets))
    jobs = [
        job
        for graph, phase in _by_graph(artifact, request.phase)
        for job in _jobs_of_graph(artifact, graph, replace(request, phase=phase), notes)
    ]
    files = _files(artifact, request)
    return [replace(job, files=(*files, *baselines.files_on(job.target))) for job in jobs]


def _by_graph(artifact: Artifact, phase: PhaseChoice) -> list[tuple[Graph, PhaseChoice]]:
    """The graphs that run in the requested phases, each with its phases."""
    if phase != "both":
        return [(artifact.graph_for(phase), phase)]
    prefill, decode = artifact.graph_for("prefill"), artifact.graph_for("decode")
    return [(prefill, "both")] if prefill is decode else [(prefill, "prefill"), (decode, "decode")]


def _jobs_of_graph(artifact: Artifact, source: Graph, request: ProfileRequest, notes: list[str]) -> list[Job]:
    graph = counting.read(Path(source.path))
    if all(target.is_cpu or target.is_baseline for target in request.targets):  # before inputs are checked
        require_no_library(graph, source.path)
    runtime = request.runtime or runtime_memory.read(
        request.threads, max(map(Path, artifact.data_files), key=_size, default=None)
    )
    described = traced_variant(artifact) is not None
    accepted = signature(source.inputs) if described else signature_of_graph(graph)
    phases, note = _phases(artifact, accepted, request.phase)
    notes += [note] if note else []
    jobs: dict[tuple[str, Load], Job] = {}
    trial: ChosenFills | None = None
    one_size = not accepted.sized_by_length and not accepted.past
    of_several = artifact.is_part or len(artifact.graphs) > 1  # an image beside texts
    lengths = () if of_several and one_size else request.seq
    for phase, length, batch in product(phases, lengths or (None,), request.batch or (None,)):
        longest = (length or 0) + request.generate if phase == "decode" else 0
        if request.generate and artifact.max_tokens and longest > artifact.max_tokens:
            most = units.counted(artifact.max_tokens, "token")
            raise UsageError(
                f"{artifact.name} takes at most {most}, and {length:,} with {request.generate:,} generated are more.",
                "Use a smaller --seq or --generate.",
            )
        requested = LoadRequest(phase=phase, batch=batch, length=length)
        inputs = inputs_of(artifact, accepted, requested, dims=request.dims, files=request.files)
        if not described and request.trial:
            trial = trial or working_fills(artifact.name, source.path, accepted, inputs, request.timeout_s)
            inputs = inputs.refilled(accepted, trial.fills)
        if source.shared_cache:
            inputs.require_right_padding()
        load, facts = _counted(artifact, graph, inputs, runtime, shared_cache=source.shared_cache)
        if not described:
            facts = replace(facts, seq=length, dims=request.dims, fills=inputs.fills)
        for target in request.targets:  # two lengths may select the same image size
            jobs.setdefault((target.provider, load), _job(artifact, source, load, facts, inputs, target, request))
    notes += [trial.note] if trial and trial.note else []
    return list(jobs.values())


def _phases(artifact: Artifact, accepted: Signature, requested: PhaseChoice) -> tuple[list[Phase], str]:
    """The requested phases that a model has, and a note on a missing prefill.

    Raises:
        UsageError: the model is a single step of decode, and only prefill is requested.
    """
    if accepted.no_decode:
        return (["prefill"] if requested != "decode" else []), ""
    if not accepted.no_prefill:
        return ["prefill", "decode"] if requested == "both" else [requested], ""
    why = f"{artifact.name} {accepted.no_prefill}."
    if requested == "prefill":
        raise UsageError(why, "Use --phase decode.")
    return ["decode"], f"{why} So there is no prefill." if requested == "both" else ""


def _files(artifact: Artifact, request: ProfileRequest) -> tuple[FileState, ...]:
    """The current state of the model files and input files.

    Raises:
        RunError: a model file differs from its record.
    """
    files = tuple(map(store.state_of, (*artifact.files, *request.files.values())))
    data = list(map(Path, artifact.data_files))
    digests = [("graph", [Path(graph.path)], graph.sha256) for graph in artifact.graphs]
    for kind, paths, digest in (*digests, ("weights", data, artifact.data_sha256)):
        if paths and store.sha256_of_all(paths) != digest:
            what = (
                f"{artifact.location} was changed after the export: the digest of its {kind} differs from its record."
            )
            raise RunError(what, "Export or quantize it again with --force.")
    store.require_unchanged(files)
    return files


def _counted(
    artifact: Artifact, graph: ModelProto, inputs: Inputs, runtime: RuntimeMemory, *, shared_cache: bool
) -> tuple[Load, Facts]:
    """The load of a run with these inputs, and its counted facts; a shared cache is in memory once."""
    counted = counting.count(graph, inputs.sizes.shapes, inputs.flags)
    load = load_of(inputs.sizes, counted.attended)
    variant, family = traced_variant(artifact), _family(artifact)
    macs = None if counted.uncounted or counted.problems else counted.macs
    if variant is not None:
        case = Case(batch=load.batch, tokens=load.tokens or 0, past_tokens=load.past_tokens)
        macs = family_of(variant).macs(variant, case, artifact.logits)
    past = inputs.past_bytes
    memory = None if counted.unsized else predicted(counted, past, runtime, shared_cache=shared_cache)
    return load, Facts(
        family=family,
        params=artifact.params,
        macs=macs,
        memory_predicted_bytes=memory.working_bytes if memory else None,
        memory=memory,
        cache_copied_bytes=0 if shared_cache else past,
    )


def _family(artifact: Artifact) -> str:
    """What a model is compared with at other sizes: its family, or models of its type; of several graphs this one's."""
    architecture, variant = artifact.architecture, artifact.variant
    known = variant.family if variant else architecture.model_type if architecture else ""
    return f"{known}/{artifact.graphs[0].role}" if known and artifact.is_part else known


def _size(file: Path) -> int:
    return file.stat().st_size


def _job(
    artifact: Artifact,
    graph: Graph,
    load: Load,
    facts: Facts,
    inputs: Inputs,
    target: Target,
    request: ProfileRequest,
) -> Job:
    """A point on a provider; the prediction of memory applies to the CPU provider only."""
    return Job(
        key=PointKey(
            subject=baselines.subject_on(target, artifact.subject),
            load=load,
            place=place_of(target, request.machine_id, request.threads),
        ),
        facts=facts_on(target, facts),
        graph=graph,
        data_sha256=artifact.data_sha256,
        target=target,
        inputs=inputs.values,
        stopping=request.stopping,
        timeout_s=request.timeout_s,
        memory_limit=request.memory_limit,
        compile=request.compile,
    )
