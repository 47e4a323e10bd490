"""Run one visit: send a request to a worker in its own process, and record the outcome."""

import time
from datetime import UTC, datetime
from typing import TypeVar

from msgspec.structs import replace

from edgeprof.errors import EdgeprofError
from edgeprof.inputs import signature
from edgeprof.measure import operator_worker
from edgeprof.measure.schedule import Job, Prepared, Visit
from edgeprof.process import LOCAL, ChildTimeout, Executor, call
from edgeprof.schema import (
    Graph,
    Measurement,
    OperatorPass,
    OperatorReading,
    Outcome,
    Reading,
    Request,
    Status,
    StoppingRule,
    SustainedPass,
    SustainedReading,
)

LATENCY_WORKER = "edgeprof.measure.latency_worker"
OPERATOR_WORKER = "edgeprof.measure.operator_worker"
SUSTAINED_WORKER = "edgeprof.measure.sustained_worker"

R = TypeVar("R", Reading, OperatorReading, SustainedReading)


def measure(visit: Visit, executor: Executor = LOCAL) -> Measurement:
    """Measure a visit in a fresh process. An error there becomes the `status` and one-line `error` of the outcome."""
    job = visit.job
    outcome = _outcome(LATENCY_WORKER, job, Reading, executor)
    return Measurement(
        key=job.key,
        round=visit.round,
        facts=job.facts,
        receipt=_prepared(job).receipt,
        stopping=job.stopping,
        goal=visit.goal,
        settings_key=job.settings_key,
        outcome=outcome,
    )


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


def operator_job(job: Job) -> Job:
    """The job with the stopping rule of profiled runs in place of that of timed visits."""
    return replace(job, stopping=operator_worker.STOPPING)


def run_worker(
    module: str, request: Request, reading: type[R], timeout_s: float | None, executor: Executor = LOCAL
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
        status: Status = "timeout" if isinstance(problem, ChildTimeout) else "failed"
        return Outcome(status=status, error=" ".join(str(problem).split()), started_at=started_at, took_s=_since(start))
    return Outcome(status="ok", reading=reply, started_at=started_at, took_s=_since(start))


def _outcome(module: str, job: Job, reading: type[R], executor: Executor) -> Outcome[R]:
    prepared = _prepared(job)
    if prepared.status != "ok":
        return Outcome(status=prepared.status, error=prepared.error, started_at=_now())
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
