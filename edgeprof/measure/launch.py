"""Make one visit: a request to a worker in a process of its own, and its outcome as a record."""

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
)

LATENCY_WORKER = "edgeprof.measure.latency_worker"
OPERATOR_WORKER = "edgeprof.measure.operator_worker"

R = TypeVar("R", Reading, OperatorReading)


def measure(visit: Visit, executor: Executor = LOCAL) -> Measurement:
    """Measure in a fresh process. What goes wrong there is the outcome's `status` and one-line `error`."""
    job = visit.job
    outcome = _outcome(LATENCY_WORKER, job, Reading, executor)
    return Measurement(
        key=job.key,
        round=visit.round,
        facts=job.facts,
        receipt=_prepared(job).receipt,
        stopping=job.stopping,
        settings_key=job.settings_key,
        outcome=outcome,
    )


def measure_operators(job: Job, executor: Executor = LOCAL) -> OperatorPass:
    """Run with the profiler in a fresh process; the job's own stopping rule is for timed visits."""
    job = operator_job(job)
    return OperatorPass(
        key=job.key,
        vocabulary=_vocabulary(job.graph),
        quantization=job.graph.quantization,
        dispatch_only=job.target.asynchronous,
        settings_key=job.settings_key,
        outcome=_outcome(OPERATOR_WORKER, job, OperatorReading, executor),
    )


def operator_job(job: Job) -> Job:
    """The job with the stopping rule of runs with the profiler; its own is for timed visits."""
    return replace(job, stopping=operator_worker.STOPPING)


def run_worker(
    module: str, request: Request, reading: type[R], timeout_s: float | None, executor: Executor = LOCAL
) -> Outcome[R]:
    """The outcome of one worker.

    Args:
        module: the worker's, as `process.call` takes it.
        reading: what it replies.
    """
    started_at = _now()
    try:
        found = call(module, request, reading, timeout_s=timeout_s, executor=executor)
    except EdgeprofError as problem:
        status: Status = "timeout" if isinstance(problem, ChildTimeout) else "failed"
        return Outcome(status=status, error=" ".join(str(problem).split()), started_at=started_at)
    return Outcome(status="ok", reading=found, started_at=started_at)


def _outcome(module: str, job: Job, reading: type[R], executor: Executor) -> Outcome[R]:
    given = _prepared(job)
    if given.status != "ok":
        return Outcome(status=given.status, error=given.error, started_at=_now())
    return run_worker(module, request_of(job), reading, job.timeout_s, executor)


def _prepared(job: Job) -> Prepared:
    return job.prepared or Prepared(model=job.graph.path, inputs=job.inputs)


def request_of(job: Job) -> Request:
    """What a worker reads to run a job."""
    given = _prepared(job)
    pinned = given.receipt.static and bool(job.key.load.past_tokens)
    return Request(
        model=given.model,
        weights_folder=given.weights_folder,
        target=job.target,
        threads=job.key.place.threads,
        inputs=given.inputs,
        files=job.files,
        stopping=job.stopping,
        nodes=given.nodes,
        in_place=pinned or _in_place(job.graph),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _in_place(graph: Graph) -> bool:
    """Whether the KV cache of a graph has a fixed size."""
    return signature(graph.inputs, outputs=graph.outputs).cache_kind != "growing"


def _vocabulary(graph: Graph) -> int | None:
    """Columns of logits that there are for every token."""
    found = [spec.dims[-1] for spec in graph.outputs if spec.name == "logits" and len(spec.dims) == 3]
    return found[0] if found and isinstance(found[0], int) else None
