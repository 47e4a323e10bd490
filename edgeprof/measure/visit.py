"""Make one visit: a request to a measuring child, and whatever comes of it as a record."""

from datetime import UTC, datetime

from edgeprof.errors import EdgeprofError
from edgeprof.measure.schedule import Visit
from edgeprof.process import ChildTimeout, call
from edgeprof.schema import Measurement, Reading, Request, Status

CHILD = "edgeprof.measure.child"


def measure(visit: Visit, machine_id: str) -> Measurement:
    """Measure in a fresh process. What goes wrong there is the record's `status` and one-line `error`."""
    job = visit.job
    request = Request(
        model=job.artifact.path,
        provider=job.provider,
        threads=job.workload.threads,
        inputs=job.inputs,
        stopping=job.stopping,
    )
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    reading: Reading | None = None
    status: Status = "ok"
    error = ""
    try:
        reading = call(CHILD, request, Reading, timeout_s=job.timeout_s)
    except ChildTimeout as problem:
        status, error = "timeout", str(problem)
    except EdgeprofError as problem:
        status, error = "failed", str(problem)
    return Measurement(
        **visit.facts(),
        status=status,
        error=" ".join(error.split()),
        reading=reading,
        machine_id=machine_id,
        started_at=started_at,
    )
