"""Prepare points for providers other than the CPU: their graph, its placement, and a check of its result."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod
from pathlib import Path

from msgspec.structs import replace

from edgeprof import process, store
from edgeprof.errors import ChildError, EdgeprofError, UsageError
from edgeprof.inputs import tensors
from edgeprof.measure.launch import request_of
from edgeprof.measure.placement_worker import PlacementReading, PlacementRequest
from edgeprof.measure.schedule import Job, Prepared
from edgeprof.process import LOCAL, Executor
from edgeprof.providers.compile import compiled
from edgeprof.schema import CPU, FP32, InputValue, ProviderReceipt, Status, Subject, Target
from edgeprof.stages.provider_graph import prepare_for_provider

PREFERRED = ("a16w8", "fp16")
"""Recipes to offer where a precision is not accepted: first what NPUs need, then GPUs."""

FUSED = "GroupQueryAttention"
"""The operator by which a decoder computes attention, unless it is exported with --portable."""

FOLDER = "graphs"
"""Below the cache folder: graphs that were adapted to one provider."""


def prepared(job: Job, least_share: float = 0.0, executor: Executor = LOCAL) -> Job:
    """The job with the graph for its provider, and the placement; on the CPU provider the job itself.

    A point that cannot be measured gets a status instead of an error, so that other points are not affected.

    Args:
        least_share: of the MACs, that the provider has to run.
        executor: where the graph is placed and compiled.
    """
    if job.target.is_cpu:
        return job
    try:
        placed = _placed(*_for_provider(job), least_share, executor)
        return _compiled(placed, executor) if job.compile else placed
    except process.ChildTimeout as problem:
        return _refused(job, "timeout", problem)
    except UsageError as problem:  # the provider does not accept this precision
        return _refused(job, "unsupported", problem)
    except EdgeprofError as problem:
        return _refused(job, "failed", problem)


def misfit(target: Target, subject: Subject, operators: Collection[str] = ()) -> UsageError | None:
    """Why a provider does not accept a model's precision or its attention; None where it does, or that is not known.

    Args:
        operators: of the model's graph.
    """
    if FUSED in target.lacks and FUSED in operators:
        return _without_fused_attention(target, subject)
    precision, foreign = subject.precision, subject.weights.kind == "file"
    if foreign or not target.precisions or precision.recipe in target.precisions:
        return None
    best = next((recipe for recipe in PREFERRED if recipe in target.precisions), target.precisions[0])
    return UsageError(
        f"{target.provider} does not accept {precision}; it accepts {', '.join(target.precisions)}.",
        f"Run: edgeprof export {subject.artifact} --precision {best}",
    )


def _without_fused_attention(target: Target, subject: Subject) -> UsageError:
    """The error for a model whose attention is one operator that a provider lacks and that cannot be decomposed."""
    precision = "" if subject.precision.recipe == FP32 else f" --precision {subject.precision}"
    own = f"Run: edgeprof export {subject.artifact} --portable{precision}"
    return UsageError(
        f"{target.provider} lacks {FUSED}, which computes the attention of {subject.model}.",
        "Export the model with attention in standard operators." if subject.weights.kind == "file" else own,
    )


def require_some(jobs: Sequence[Job], precisions: Sequence[str]) -> None:
    """Check that every provider accepts one of the models, and that every precision is accepted by a provider.

    Args:
        precisions: those that are requested by name.

    Raises:
        UsageError: a provider accepts no model, or a precision is accepted by none.
    """
    for target in {job.target.provider: job.target for job in jobs}.values():
        _require_one([_misfit(job) for job in jobs if job.target == target])
    for precision in precisions:
        _require_one([_misfit(job) for job in jobs if str(job.key.subject.precision) == precision])


def _misfit(job: Job) -> UsageError | None:
    return misfit(job.target, job.key.subject, job.graph.count.nodes)


def _require_one(misfits: Sequence[UsageError | None]) -> None:
    if misfits and None not in misfits:
        raise next(problem for problem in misfits if problem)


def _for_provider(job: Job) -> tuple[Job, dict[str, int]]:
    """The job with the graph for its provider, and the operators that were decomposed into smaller ones."""
    if problem := _misfit(job):
        raise problem
    shapes = {value.name: value.shape for value in job.inputs}
    switches = {
        value.name: tensors.make(value) for value in job.inputs if value.dtype == "bool" and prod(value.shape) == 1
    }
    adapted = prepare_for_provider(job.graph, job.target, shapes, store.cache_folder() / FOLDER, switches)
    dims = {spec.name: spec.dims for spec in adapted.inputs}
    inputs = tuple(_reshaped(value, dims[value.name]) for value in job.inputs if value.name in dims)
    ready = Prepared(
        model=adapted.path,
        weights_folder=adapted.weights_folder,
        inputs=inputs,
        receipt=ProviderReceipt(kind=job.target.kind, static=adapted.static),
    )
    return replace(job, prepared=ready), adapted.written_out


def _reshaped(value: InputValue, dims: tuple[int | str, ...]) -> InputValue:
    """A value with the shape that a graph fixes: a cache has one slot more than it has tokens."""
    sizes = zip(dims, value.shape, strict=True)
    return replace(value, shape=tuple(dim if isinstance(dim, int) else size for dim, size in sizes))


def _placed(job: Job, written_out: dict[str, int], least_share: float, executor: Executor) -> Job:
    ready = job.prepared
    assert ready is not None
    request = PlacementRequest(
        request=request_of(job),
        original=request_of(replace(job, prepared=None, target=CPU)),
        precision=job.key.subject.precision,
        written_out=written_out,
    )
    try:
        reading = process.call(
            "edgeprof.measure.placement_worker", request, PlacementReading, timeout_s=job.timeout_s, executor=executor
        )
    except process.ChildTimeout:
        raise
    except ChildError as problem:
        raise EdgeprofError(f"{job.target.provider} ended the process in which it ran: {problem}") from problem
    receipt = replace(
        ready.receipt, placement=reading.placement, agreement=reading.agreement, load_plain_s=reading.load_s
    )
    status: Status = "ok"
    error = ""
    if not reading.placement.placed[0].nodes:
        status, error = "unsupported", _no_node(job, reading)
    elif reading.placement.share < least_share:
        status = "failed"
        share = f"{reading.placement.share:.1%} of the {reading.placement.share_unit}"
        error = f"{job.target.provider} runs {share}, and {least_share:.0%} are required."
    return replace(job, prepared=replace(ready, receipt=receipt, status=status, error=error))


def _no_node(job: Job, reading: PlacementReading) -> str:
    """Why a provider accepted no node, with the reasons that it logged."""
    reasons = dict.fromkeys((reading.problem, *(left.reason for left in reading.placement.left)))
    logged = [reason for reason in reasons if reason][:3]
    because = f": {'; '.join(logged)}" if logged else ""
    subject = job.key.subject
    return f"{job.target.provider} accepts no node of {subject.model} in {subject.precision}{because}."


def _compiled(job: Job, executor: Executor) -> Job:
    ready = job.prepared
    if ready is None or ready.status != "ok":
        return job
    result = compiled(Path(ready.model), ready.weights_folder, job.target, job.timeout_s, executor)
    receipt = replace(ready.receipt, compiled=True, compile_s=result.compile_s)
    return replace(job, prepared=replace(ready, model=result.path, weights_folder="", receipt=receipt))


def _refused(job: Job, status: Status, problem: Exception) -> Job:
    unprepared = job.prepared or Prepared(model=job.graph.path, inputs=job.inputs)
    return replace(job, prepared=replace(unprepared, status=status, error=" ".join(str(problem).split())))
