"""Records made by hand: every field that a test does not speak of has a plain value."""

from typing import Any

from edgeprof.schema import Measurement, Point, Reading

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
    plain: dict[str, Any] = {
        "variant": "bert-base",
        "family": "bert",
        "weights": "random (seed 0)",
        "params": 109_482_240,
        "precision": "fp32",
        "provider": "cpu",
        "phase": "prefill",
        "batch": 1,
        "tokens": 128,
        "past_tokens": 0,
        "threads": 2,
        "status": "ok" if seen else "failed",
        "artifact_sha256": "a",
        "settings_key": "s",
        "machine_id": "m",
        "started_at": "2026-03-01T12:00:00Z",
    }
    return Measurement(round=round_number, reading=seen, **{**plain, **fields})


def point(seconds: float | None = None, spread: float = 0.01, **fields: Any) -> Point:
    """A point whose interval is the median, `spread` (relative) up and down."""
    plain: dict[str, Any] = {
        "variant": "bert-base",
        "family": "bert",
        "params": 100 * MB,
        "precision": "fp32",
        "provider": "cpu",
        "phase": "prefill",
        "batch": 1,
        "tokens": 128,
        "past_tokens": 0,
        "threads": 2,
        "status": "failed" if seconds is None else "ok",
        "latency_median_s": seconds,
        "latency_ci_low_s": None if seconds is None else seconds * (1 - spread),
        "latency_ci_high_s": None if seconds is None else seconds * (1 + spread),
        "latency_p90_s": seconds,
        "samples": 30,
        "memory_peak_bytes": 600 * MB,
        "memory_weights_bytes": 400 * MB,
        "macs": None,
        "machine_id": "m",
        "memory_runtime_bytes": 60 * MB,
        "memory_working_bytes": 140 * MB,
        "memory_predicted_bytes": None,
        "load_s": 0.5,
        "first_run_s": 0.2,
        "rounds": 3,
        "weights": "pretrained (hub)",
        "error": "",
    }
    return Point(**{**plain, **fields})
