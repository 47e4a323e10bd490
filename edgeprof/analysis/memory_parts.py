"""Memory of a point by parts: predicted from what was counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprof.schema import PredictedMemory, RuntimeMemory

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
    rows = sum(table.resident_bytes(runtime.window_bytes) for table in held.tables)
    working = counted.working_bytes - twice
    live = min(counted.live_bytes - twice, working)
    return PredictedMemory(
        runtime_bytes=runtime.run_bytes,
        session_bytes=held.session_bytes + held.kept_bytes,
        weights_mapped_bytes=held.mapped_bytes + held.touched_bytes + rows,
        weights_copied_bytes=held.copied_bytes,
        weights_packed_bytes=held.packed_bytes,
        cache_bytes=min(cache_bytes, live),
        activations_bytes=max(live - cache_bytes, 0),
        arena_bytes=working - live,
        load_peak_bytes=runtime.loaded_bytes + held.session_bytes + held.most_bytes,
    )
