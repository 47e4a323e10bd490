"""Make one visit: a request to a measuring child, and whatever comes of it as a record."""

from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from edgeprof.errors import EdgeprofError
from edgeprof.inputs import signature
from edgeprof.measure import operator_worker
from edgeprof.measure.schedule import Job, Prepared, Visit
from edgeprof.process import LOCAL, ChildTimeout, Executor, call
from edgeprof.schema import Artifact, Measurement, OperatorPass, OperatorReading, Reading, Request

CHILD = "edgeprof.measure.latency_worker"
OPERATORS_CHILD = "edgeprof.measure.operator_worker"

R = TypeVar("R", Reading, OperatorReading)


def measure(visit: Visit, machine_id: str, executor: Executor = LOCAL) -> Measurement:
    """Measure in a fresh process. What goes wrong there is the record's `status` and one-line `error`."""
    return Measurement(**visit.facts(), **outcome(CHILD, visit.job, Reading, executor), machine_id=machine_id)


def measure_operators(job: Job, machine_id: str, executor: Executor = LOCAL) -> OperatorPass:
    """Run with the profiler in a fresh process; the job's own stopping rule is for timed visits and is not used."""
    visit = operator_visit(job)
    known = {name: fact for name, fact in visit.facts().items() if name in OperatorPass.__struct_fields__}
    return OperatorPass(
        **known,
        **outcome(OPERATORS_CHILD, visit.job, OperatorReading, executor),
        vocabulary=_vocabulary(job),
        quantization=job.artifact.quantization,
        dispatch_only=job.target.asynchronous,
        machine_id=machine_id,
    )


def operator_visit(job: Job) -> Visit:
    return Visit(job=msgspec.structs.replace(job, stopping=operator_worker.STOPPING), round=0)


def outcome(child: str, job: Job, kind: type[R], executor: Executor = LOCAL) -> dict[str, Any]:
    """What became of a child: the fields `status`, `error`, `reading` and `started_at` of its record."""
    made: dict[str, Any] = {"started_at": datetime.now(UTC).isoformat(timespec="seconds")}
    if job.prepared is not None and job.prepared.status != "ok":
        return {**made, "status": job.prepared.status, "error": job.prepared.error}
    try:
        reading = call(child, request_of(job), kind, timeout_s=job.timeout_s, executor=executor)
        return {**made, "status": "ok", "reading": reading}
    except ChildTimeout as problem:
        return {**made, "status": "timeout", "error": " ".join(str(problem).split())}
    except EdgeprofError as problem:
        return {**made, "status": "failed", "error": " ".join(str(problem).split())}


def request_of(job: Job) -> Request:
    """What a child reads to run a job."""
    given = job.prepared or Prepared(model=job.artifact.path, inputs=job.inputs)
    pinned = given.static and bool(job.workload.past_tokens)
    return Request(
        model=given.model,
        weights_folder=given.weights_folder,
        target=job.target,
        threads=job.workload.threads,
        inputs=given.inputs,
        files=job.files,
        stopping=job.stopping,
        nodes=given.nodes,
        in_place=pinned or _in_place(job.artifact),
    )


def _in_place(artifact: Artifact) -> bool:
    """Whether its KV cache has a fixed size."""
    taken = signature(artifact.inputs, outputs=artifact.outputs)
    return bool(taken.slots) or taken.room is not None


def _vocabulary(job: Job) -> int | None:
    """Columns of logits that there are for every token."""
    found = [spec.dims[-1] for spec in job.artifact.outputs if spec.name == "logits" and len(spec.dims) == 3]
    return found[0] if found and isinstance(found[0], int) else None
