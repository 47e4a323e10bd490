"""Run one visit: send a request to a worker in its own process, and record the outcome."""

import time
from datetime import UTC, datetime
from typing import TypeVar

from msgspec.structs import replace

from edgeprof import kv_cache
from edgeprof.errors import EdgeprofError, OutOfMemory
from edgeprof.inputs import signature
from edgeprof.measure import operator_worker
from edgeprof.measure.limited_process import LimitedProcess
from edgeprof.measure.schedule import Job, Prepared, Visit
from edgeprof.process import LOCAL, ChildTimeout, Executor, call
from edgeprof.schema import (
    GenerationPass,
    GenerationReading,
    Graph,
    Measurement,
    MemoryPass,
    MemoryReading,
    OperatorPass,
    OperatorReading,
    Outcome,
    PairReading,
    PairRequest,
    PairVisit,
    PredictedMemory,
    Reading,
    Request,
    Status,
    StoppingRule,
    SustainedPass,
    SustainedReading,
)

LATENCY_WORKER = "edgeprof.measure.latency_worker"
BASELINE_WORKER = "edgeprof.baselines.worker"
PAIR_WORKER = "edgeprof.measure.pair_worker"
OPERATOR_WORKER = "edgeprof.measure.operator_worker"
SUSTAINED_WORKER = "edgeprof.measure.sustained_worker"
GENERATION_WORKER = "edgeprof.measure.generation_worker"

GENERATED_FROM = ("input_ids", "attention_mask", "position_ids", "token_type_ids")
"""Inputs that the generating worker knows, besides a KV cache."""

ENDS: dict[type[EdgeprofError], Status] = {ChildTimeout: "timeout", OutOfMemory: "out of memory"}

R = TypeVar("R", Reading, OperatorReading, SustainedReading, GenerationReading, PairReading)


def status_of(problem: EdgeprofError) -> Status:
    """How a visit ended that this error kept from a reading."""
    return next((status for kind, status in ENDS.items() if isinstance(problem, kind)), "failed")


def measure(visit: Visit, executor: Executor = LOCAL) -> Measurement:
    """Measure a visit in a fresh process. An error there becomes the `status` and one-line `error` of the outcome."""
    job = visit.job
    worker = BASELINE_WORKER if job.target.is_baseline else LATENCY_WORKER
    outcome = _outcome(worker, _stretched(job, visit.stretch), Reading, executor)
    return Measurement(
        key=job.key,
        round=visit.round,
        facts=job.facts,
        receipt=_prepared(job).receipt,
        stopping=job.stopping,
        goal=visit.goal,
        memory_limit=job.memory_limit,
        settings_key=job.settings_key,
        outcome=outcome,
    )


def measure_pair(a: Job, b: Job, round: int) -> PairVisit:
    """Run two jobs in turn in one fresh process; an error becomes the outcome, as of `measure`."""
    request = PairRequest(a=request_of(a), b=request_of(b))
    return PairVisit(
        key=a.key,
        b=b.key,
        round=round,
        settings_key=pair_settings(a, b),
        outcome=run_worker(PAIR_WORKER, request, PairReading, a.timeout_s),
    )


def pair_settings(a: Job, b: Job) -> str:
    return f"{a.settings_key}-{b.settings_key}"


def _stretched(job: Job, stretch: float) -> Job:
    rule = job.stopping
    longer = replace(rule, min_runs=round(stretch * rule.min_runs), min_time_s=stretch * rule.min_time_s)
    return replace(job, stopping=longer)


def measure_operators(job: Job, executor: Executor = LOCAL) -> OperatorPass:
    """Time the operators of a point with the profiler, in a fresh process."""
    job = operator_job(job)
    return OperatorPass(
        key=job.key,
        vocabulary=_vocabulary(job.graph),
        quantization=job.graph.quantization,
        dispatch_only=job.target.asynchronous,
        settings_key=job.settings_key,
        outcome=_outcome(OPERATOR_WORKER, job, OperatorReading, executor),
    )


def sustained_job(job: Job, duration_s: float) -> Job:
    """The job with a long run in place of its timed visits."""
    stopping = StoppingRule(min_runs=1, min_time_s=duration_s, max_time_s=duration_s)
    return replace(job, stopping=stopping, timeout_s=(job.timeout_s or 0.0) + duration_s)


def measure_sustained(job: Job, executor: Executor = LOCAL) -> SustainedPass:
    """Run a point without a pause, in a fresh process."""
    outcome = _outcome(SUSTAINED_WORKER, job, SustainedReading, executor)
    return SustainedPass(key=job.key, settings_key=job.settings_key, outcome=outcome)


def generates(job: Job) -> bool:
    """Whether a point is one step of a decoder that can generate: tokens in, logits out, and a cache that grows."""
    names = [spec.name for spec in job.graph.inputs]
    known = all(name in GENERATED_FROM or kv_cache.is_past(name) for name in names)
    grows = signature(job.graph.inputs, outputs=job.graph.outputs).cache_kind == "growing"
    cached = job.key.load.phase == "decode" and job.key.load.past_tokens and any(map(kv_cache.is_past, names))
    one_size = any(isinstance(spec.dims[1], int) for spec in job.graph.inputs if spec.name == "input_ids")
    logits = any(spec.name == "logits" for spec in job.graph.outputs)
    return bool(cached and known and grows and logits and "input_ids" in names and not one_size and job.target.is_cpu)


def generation_job(job: Job, tokens: int) -> Job:
    """The job with a generation of so many tokens in place of its timed visits."""
    return replace(job, stopping=StoppingRule(min_runs=tokens))


def measure_generation(job: Job, executor: Executor = LOCAL) -> GenerationPass:
    """Generate after a prompt as long as the cache of the point, in a fresh process."""
    outcome = _outcome(GENERATION_WORKER, job, GenerationReading, executor)
    return GenerationPass(key=job.key, tokens=job.stopping.min_runs, settings_key=job.settings_key, outcome=outcome)


def memory_job(job: Job) -> Job:
    """The job with two runs, which fill the arena, in place of timed visits."""
    return replace(job, stopping=StoppingRule(min_runs=1, min_time_s=0.0, max_time_s=10.0))


def measure_memory(job: Job, predicted: PredictedMemory, executor: Executor = LOCAL) -> MemoryPass:
    """Take the memory of a point apart: as it is, without arena, and without repacked weights, a process for each."""
    job = memory_job(job)
    request, start = request_of(job), time.monotonic()
    requests = [request, replace(request, arena=False), replace(request, prepacking=False)]
    outcomes = [run_worker(LATENCY_WORKER, each, Reading, job.timeout_s, executor) for each in requests]
    failed = next((each for each in outcomes if each.reading is None), None)
    readings = [each.reading for each in outcomes if each.reading]
    outcome: Outcome[MemoryReading] = Outcome(
        status=failed.status if failed else "ok",
        error=failed.error if failed else "",
        reading=None
        if failed
        else MemoryReading(as_it_is=readings[0], without_arena=readings[1], without_prepacking=readings[2]),
        started_at=outcomes[0].started_at,
        took_s=_since(start),
    )
    return MemoryPass(key=job.key, predicted=predicted, settings_key=job.settings_key, outcome=outcome)


def operator_job(job: Job) -> Job:
    """The job with the stopping rule of profiled runs in place of that of timed visits."""
    return replace(job, stopping=operator_worker.STOPPING)


def run_worker(
    module: str, request: Request | PairRequest, reading: type[R], timeout_s: float | None, executor: Executor = LOCAL
) -> Outcome[R]:
    """Run one worker and return its outcome.

    Args:
        module: of the worker, as in `process.call`.
        reading: class of its reply.
    """
    started_at, start = _now(), time.monotonic()
    try:
        reply = call(module, request, reading, timeout_s=timeout_s, executor=executor)
    except EdgeprofError as problem:
        status = status_of(problem)
        return Outcome(status=status, error=" ".join(str(problem).split()), started_at=started_at, took_s=_since(start))
    return Outcome(status="ok", reading=reply, started_at=started_at, took_s=_since(start))


def _outcome(module: str, job: Job, reading: type[R], executor: Executor) -> Outcome[R]:
    prepared = _prepared(job)
    if prepared.status != "ok":
        return Outcome(status=prepared.status, error=prepared.error, started_at=_now())
    if job.memory_limit:
        executor = LimitedProcess(job.memory_limit)
    return run_worker(module, request_of(job), reading, job.timeout_s, executor)


def _prepared(job: Job) -> Prepared:
    return job.prepared or Prepared(model=job.graph.path, inputs=job.inputs)


def request_of(job: Job) -> Request:
    """The request to a worker that runs a job."""
    prepared = _prepared(job)
    fixed_cache = prepared.receipt.static and bool(job.key.load.past_tokens)
    return Request(
        model=prepared.model,
        weights_folder=prepared.weights_folder,
        target=job.target,
        threads=job.key.place.threads,
        inputs=prepared.inputs,
        files=job.files,
        stopping=job.stopping,
        nodes=prepared.nodes,
        in_place=fixed_cache or _in_place(job.graph),
        shared_tokens=0 if prepared.receipt.static else _shared_tokens(job),
        memory_limited=job.memory_limit is not None,
    )


def _since(start: float) -> float:
    return time.monotonic() - start


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _in_place(graph: Graph) -> bool:
    """Whether the KV cache of a graph has a fixed size."""
    return signature(graph.inputs, outputs=graph.outputs).cache_kind != "growing"


def _shared_tokens(job: Job) -> int:
    """The size of buffers that are past and present of the job's KV cache, where its graph takes such."""
    load = job.key.load
    return load.past_tokens + (load.tokens or 0) if job.graph.shared_cache else 0


def _vocabulary(graph: Graph) -> int | None:
    """The vocabulary size, from a graph with logits for every token; None where it is dynamic."""
    columns = [spec.dims[-1] for spec in graph.outputs if spec.name == "logits" and len(spec.dims) == 3]
    return columns[0] if columns and isinstance(columns[0], int) else None
