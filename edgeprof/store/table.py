"""measurements.csv: a row per point, for spreadsheets and other tools. The only place where a point is flattened."""

import io
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

from edgeprof.schema import LatencySummary, MemorySummary, Placement, Point, PredictedMemory, StoppingRule
from edgeprof.store.files import write_atomic
from edgeprof.text import visible

TABLE_FILE = "measurements.csv"

Value = str | int | float | bool | None
Cell = Callable[[Point], Value]


def _latency(value: Callable[[LatencySummary], Value]) -> Cell:
    return lambda point: value(point.latency) if point.latency else None


def _memory(value: Callable[[MemorySummary], Value]) -> Cell:
    return lambda point: value(point.memory) if point.memory else None


def _predicted(value: Callable[[PredictedMemory], Value]) -> Cell:
    return lambda point: value(point.facts.memory) if point.facts.memory else None


def _placement(value: Callable[[Placement], Value]) -> Cell:
    return lambda point: value(point.receipt.placement) if point.receipt.placement else None


def _stopping(value: Callable[[StoppingRule], Value]) -> Cell:
    return lambda point: value(point.stopping) if point.stopping else None


def _pairs(pairs: Iterable[tuple[str, object]]) -> str:
    return shlex.join(f"{name}={value}" for name, value in sorted(pairs))


COLUMNS: dict[str, Cell] = {
    "variant": lambda point: point.subject.model,
    "family": lambda point: point.facts.family,
    "params": lambda point: point.facts.params,
    "precision": lambda point: str(point.subject.precision),
    "provider": lambda point: point.place.provider,
    "phase": lambda point: point.load.phase,
    "batch": lambda point: point.load.batch,
    "tokens": lambda point: point.load.tokens,
    "past_tokens": lambda point: point.load.past_tokens,
    "source_tokens": lambda point: point.load.source_tokens,
    "threads": lambda point: point.place.threads,
    "status": lambda point: point.status,
    "verdict": lambda point: point.verdict,
    "latency_median_s": _latency(lambda latency: latency.median_s),
    "latency_best_s": _latency(lambda latency: latency.best_s),
    "latency_ci_low_s": _latency(lambda latency: latency.ci_low_s),
    "latency_ci_high_s": _latency(lambda latency: latency.ci_high_s),
    "latency_p90_s": _latency(lambda latency: latency.shown_p90_s),
    "samples": lambda point: point.latency.samples if point.latency else 0,
    "memory_peak_bytes": _memory(lambda memory: memory.peak_bytes),
    "memory_weights_bytes": _memory(lambda memory: memory.weights_bytes),
    "macs": lambda point: point.facts.macs,
    "machine_id": lambda point: point.place.machine_id,
    "memory_runtime_bytes": _memory(lambda memory: memory.runtime_bytes),
    "memory_working_bytes": _memory(lambda memory: memory.working_bytes),
    "memory_predicted_bytes": lambda point: point.facts.memory_predicted_bytes,
    "load_s": lambda point: point.load_s,
    "first_run_s": lambda point: point.first_run_s,
    "rounds": lambda point: point.rounds,
    "weights": lambda point: str(point.subject.weights),
    "error": lambda point: point.error,
    "emulated": lambda point: point.place.emulated,
    "device": lambda point: point.place.device,
    "static": lambda point: point.receipt.static,
    "macs_share": _placement(lambda placement: placement.macs_share),
    "nodes_share": _placement(lambda placement: placement.nodes_share),
    "partitions": _placement(lambda placement: placement.placed[0].partitions),
    "agrees": lambda point: point.receipt.agrees,
    "max_rel_error": lambda point: point.receipt.max_rel_error,
    "device_memory_bytes": _memory(lambda memory: memory.device_bytes),
    "min_runs": _stopping(lambda rule: rule.min_runs),
    "min_time_s": _stopping(lambda rule: rule.min_time_s),
    "provider_options": lambda point: _pairs(point.place.options),
    "compiled": lambda point: point.receipt.compiled,
    "compile_s": lambda point: point.receipt.compile_s,
    "load_plain_s": lambda point: point.receipt.load_plain_s,
    "provider_library": lambda point: point.place.library,
    "seq": lambda point: point.facts.seq,
    "dims": lambda point: _pairs(point.facts.dims.items()),
    "fills": lambda point: ", ".join(f"{name}: {fill}" for name, fill in point.facts.fills.items()),
    "memory_weights_touched_bytes": _memory(lambda memory: memory.weights_touched_bytes),
    "memory_pss_bytes": _memory(lambda memory: memory.pss_bytes),
    "memory_private_bytes": _memory(lambda memory: memory.private_bytes),
    "memory_limit_bytes": lambda point: point.memory_limit.bytes if point.memory_limit else None,
    "memory_limit_kind": lambda point: point.memory_limit.kind if point.memory_limit else None,
    "runtime": lambda point: point.place.runtime,
    "memory_predicted_peak_bytes": _predicted(lambda parts: parts.peak_bytes),
    "memory_predicted_runtime_bytes": _predicted(lambda parts: parts.runtime_bytes),
    "memory_predicted_session_bytes": _predicted(lambda parts: parts.session_bytes),
    "memory_predicted_mapped_bytes": _predicted(lambda parts: parts.weights_mapped_bytes),
    "memory_predicted_copied_bytes": _predicted(lambda parts: parts.weights_copied_bytes),
    "memory_predicted_packed_bytes": _predicted(lambda parts: parts.weights_packed_bytes),
    "memory_predicted_kept_bytes": _predicted(lambda parts: parts.weights_kept_bytes),
    "memory_predicted_cache_bytes": _predicted(lambda parts: parts.cache_bytes),
    "memory_predicted_activations_bytes": _predicted(lambda parts: parts.activations_bytes),
    "memory_predicted_arena_bytes": _predicted(lambda parts: parts.arena_bytes),
    "memory_predicted_load_bytes": _predicted(lambda parts: parts.load_peak_bytes),
    "latency_predicted_s": lambda point: point.facts.latency_predicted_s,
    "host": lambda point: point.place.host,
}
"""The columns in their order; names are a promise to other tools (docs/records.md says what each holds)."""


def save_table(folder: Path, points: Iterable[Point]) -> Path:
    """Write measurements.csv: missing values are empty; no text is one that a spreadsheet takes for a formula.

    Raises:
        StorageError: the disk refused.
    """
    import csv  # 3 ms that a measuring worker, which imports the store, need not spend

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows([_cell(value(point)) for value in COLUMNS.values()] for point in points)
    write_atomic(folder / TABLE_FILE, text.getvalue().encode())
    return folder / TABLE_FILE


def _cell(value: Value) -> Value:
    """Names may come from downloaded files: a spreadsheet would compute what starts like a formula."""
    if isinstance(value, str):
        return f"'{visible(value)}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else visible(value)
    return "" if value is None else value
