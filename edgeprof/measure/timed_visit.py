"""One timed visit of a loaded model, whatever runtime runs it: load, first run, warm-up, timed runs, and memory."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from edgeprof.measure import memory, sampling
from edgeprof.measure.contention import Contention
from edgeprof.schema import Canaries, Reading, Request
from edgeprof.store import require_unchanged

CANARIES_FROM_S = 0.15
"""Of timed runs: shorter visits go without."""

ReadCanaries = Callable[[Request], tuple[Canaries, ...]]


class Model(Protocol):
    """A model that a runtime has loaded."""

    def active(self) -> tuple[str, ...]:
        """What computes, as the runtime names it."""

    def device_bytes(self) -> int | None:
        """Device memory of this process; None where it is not reported."""

    def running(self) -> AbstractContextManager[object]:
        """Within it, whatever the runtime raises becomes an EdgeprofError."""

    def feed(self) -> None:
        """Create everything that its runs need."""

    def first_run(self) -> float:
        """Run once. Returns the seconds that the run took."""

    def warm_up(self) -> tuple[sampling.Run, int]:
        """The function that makes a run from the second on, and the number of runs until they were steady."""


def visit(request: Request, load: Callable[[], Model], canaries: ReadCanaries) -> Reading:
    """Load, warm up, time.

    Args:
        canaries: a reading of them, or none; they are read before the model is loaded and after it is released.
    """
    before = canaries(request)
    imports = memory.read()
    if not request.arena:
        memory.return_freed()
    start = time.perf_counter_ns()
    model = load()
    load_ns = time.perf_counter_ns() - start
    files = [file.path for file in request.files]
    loaded, mapped = memory.read(), memory.mapped(files)
    require_unchanged(request.files)
    with model.running():
        model.feed()
        peak_is_of_runs = memory.reset_peak()
        first_run_s = model.first_run()
        run, warmup_runs = model.warm_up()
        contention = Contention()
        latencies_s = sampling.time_runs(run, request.stopping)
        contention_share = contention.share(request.threads)
    after, shares, mapped_after = memory.read(), memory.shares(), memory.mapped(files)
    device_bytes, active = model.device_bytes(), model.active()
    del run, model
    # Where the peak could not be reset and loading was higher, what is resident now is the best known value.
    known = peak_is_of_runs or after.peak_bytes > loaded.peak_bytes
    return Reading(
        providers_active=active,
        load_s=load_ns / 1e9,
        first_run_s=first_run_s,
        warmup_runs=warmup_runs,
        latencies_s=latencies_s,
        memory_imports_bytes=imports.resident_bytes,
        memory_imports_file_bytes=imports.file_bytes,
        memory_loaded_bytes=loaded.resident_bytes,
        memory_loaded_file_bytes=loaded.file_bytes,
        memory_load_peak_bytes=loaded.peak_bytes,
        memory_run_peak_bytes=after.peak_bytes if known else after.resident_bytes,
        memory_run_file_bytes=after.file_bytes,
        memory_address_peak_bytes=after.address_peak_bytes or None,
        memory_loaded_mapped_bytes=mapped,
        memory_run_mapped_bytes=mapped_after,
        memory_run_pss_bytes=shares.pss_bytes,
        memory_run_private_bytes=shares.private_bytes,
        device_memory_bytes=device_bytes,
        contention=contention_share,
        canaries=(*before, *canaries(request)),
    )
