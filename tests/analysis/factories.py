"""Records made by hand: fields that a test does not set have plain values."""

from typing import Any

from builders import records

from edgeprof.schema import Measurement, Outcome, Point, Reading, Status

MB = 1_000_000


def reading(*latencies_s: float, **fields: Any) -> Reading:
    plain: dict[str, Any] = {
        "providers_active": ("CPUExecutionProvider",),
        "load_s": 0.5,
        "first_run_s": 0.2,
        "warmup_runs": 3,
        "memory_imports_bytes": 60 * MB,
        "memory_loaded_bytes": 160 * MB,
        "memory_loaded_file_bytes": 0,
        "memory_load_peak_bytes": 170 * MB,
        "memory_run_peak_bytes": 200 * MB,
    }
    return Reading(latencies_s=latencies_s, **{**plain, **fields})


def visit(round_number: int, seen: Reading | None, **fields: Any) -> Measurement:
    status: Status = "ok" if seen else "failed"
    plain = Measurement(
        key=records.key(),
        round=round_number,
        facts=records.facts(),
        settings_key="s",
        outcome=Outcome(status=status, reading=seen, started_at="2026-03-01T12:00:00Z"),
    )
    return records.changed(plain, **fields)


def point(seconds: float | None = None, spread: float = 0.01, **fields: Any) -> Point:
    """A point whose interval is the median, `spread` (relative) up and down."""
    plain = Point(
        key=records.key(weights=records.PRETRAINED),
        facts=records.facts(params=100 * MB),
        status="failed" if seconds is None else "ok",
        latency=None if seconds is None else records.latency(seconds, spread),
        memory=records.MEMORY,
        load_s=0.5,
        first_run_s=0.2,
        rounds=3,
    )
    return records.changed(plain, **fields)
