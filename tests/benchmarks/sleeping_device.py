"""A device for benchmarks of a fleet: it keeps files and describes itself as any, but sleeps in place of measuring."""

import sys
import time

import msgspec

from edgeprof.api import device_work
from edgeprof.fleet import frames
from edgeprof.fleet.messages import Measure, Measured, Request
from edgeprof.measure.machine import describe
from edgeprof.schema import Measurement, Outcome, Reading

VISIT_S = 1.0

READING = Reading(
    providers_active=("CPUExecutionProvider",),
    load_s=0.1,
    first_run_s=0.1,
    warmup_runs=1,
    latencies_s=(0.01,) * 10,
    memory_imports_bytes=1,
    memory_loaded_bytes=1,
    memory_loaded_file_bytes=1,
    memory_load_peak_bytes=1,
    memory_run_peak_bytes=1,
)


def handle(request: bytes) -> bytes:
    asked = msgspec.msgpack.decode(request, type=Request)
    if not isinstance(asked, Measure):
        return device_work.handle(request)
    time.sleep(VISIT_S)
    visit, machine_id = asked.visit, describe().machine_id
    job = visit.job
    record = Measurement(
        key=msgspec.structs.replace(job.key, place=msgspec.structs.replace(job.key.place, machine_id=machine_id)),
        round=visit.round,
        facts=job.facts,
        stopping=job.stopping,
        goal=visit.goal,
        settings_key=job.settings_key,
        outcome=Outcome(status="ok", reading=READING, started_at="2026-01-01T00:00:00+00:00", took_s=VISIT_S),
    )
    return msgspec.msgpack.encode(Measured(measurement=record))


def main() -> None:
    replies = sys.stdout.buffer
    while (request := frames.read_frame(sys.stdin.buffer)) is not None:
        frames.write_frame(replies, handle(request))


if __name__ == "__main__":
    main()
