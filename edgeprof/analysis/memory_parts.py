"""Memory of a point by parts: predicted from what was counted, and measured in a visit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprof.schema import WINDOW_BYTES, PredictedMemory, Reading, Record, RuntimeMemory

if TYPE_CHECKING:
    from edgeprof.counting import GraphCosts


def predicted(counted: GraphCosts, cache_bytes: int, runtime: RuntimeMemory, *, shared_cache: bool) -> PredictedMemory:
    """The memory of a process that loads a graph and runs it.

    Args:
        cache_bytes: of the KV cache that a run reads.
        runtime: of a process without the model.
        shared_cache: past and present are one buffer, which was counted twice.
    """
    held, twice = counted.held, cache_bytes if shared_cache else 0
    rows, least = (
        sum(table.resident_bytes(window) for table in held.tables) for window in (runtime.window_bytes, WINDOW_BYTES)
    )
    working = counted.working_bytes - twice
    live = min(counted.live_bytes - twice, working)
    return PredictedMemory(
        runtime_bytes=runtime.run_bytes,
        session_bytes=held.session_bytes,
        weights_mapped_bytes=held.mapped_bytes + held.touched_bytes + rows,
        weights_beside_bytes=max(rows - least, 0),
        weights_copied_bytes=held.copied_bytes,
        weights_packed_bytes=held.packed_bytes,
        weights_kept_bytes=held.kept_bytes,
        cache_bytes=min(cache_bytes, live),
        activations_bytes=max(live - cache_bytes, 0),
        arena_bytes=working - live,
        unpacked_bytes=held.unpacked_bytes,
        load_peak_bytes=runtime.loaded_bytes + held.session_bytes + held.most_bytes,
    )


class MeasuredParts(Record, frozen=True, kw_only=True):
    """What the kernel tells of one visit. Runtime, weights and working memory add up to the peak of the runs."""

    runtime_bytes: int  # interpreter and libraries
    weights_bytes: int  # what loading leaves: mapped pages of weights, copies, packed matrices, the session
    touched_bytes: int  # mapped weights that the runs were first to read
    working_bytes: int


def measured_parts(reading: Reading) -> MeasuredParts:
    """The parts of one visit. Code that the model made the libraries load counts as theirs, where the kernel tells
    pages of the model's files from those of libraries."""
    run_file = reading.memory_run_file_bytes
    if reading.memory_imports_file_bytes is None or reading.memory_run_mapped_bytes is None or run_file is None:
        touched = max((run_file or 0) - reading.memory_loaded_file_bytes, 0) if run_file is not None else 0
        code_loading = code_running = 0
    else:
        loaded_mapped = reading.memory_loaded_mapped_bytes or 0
        touched = max(reading.memory_run_mapped_bytes - loaded_mapped, 0)
        code = [reading.memory_imports_file_bytes, reading.memory_loaded_file_bytes - loaded_mapped]
        code.append(run_file - reading.memory_run_mapped_bytes)
        code_loading, code_running = max(code[1] - code[0], 0), max(code[2] - code[1], 0)
    loading = reading.memory_loaded_bytes - reading.memory_imports_bytes
    running = reading.memory_run_peak_bytes - reading.memory_loaded_bytes
    return MeasuredParts(
        runtime_bytes=reading.memory_imports_bytes + code_loading + code_running,
        weights_bytes=loading - code_loading,
        touched_bytes=touched,
        working_bytes=max(running - touched - code_running, 0),
    )
