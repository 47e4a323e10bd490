"""When to start timing, and when to stop."""

import math
import time
from array import array
from collections.abc import Callable

from edgeprof.schema import StoppingRule

Run = Callable[[], object]
Clock = Callable[[], int]  # nanoseconds, monotonic

WINDOW_RUNS = 5
WINDOW_S = 0.1  # fast models need many runs until clocks, caches and threads are steady
STEADY_RATIO = 0.98
WARMUP_MAX_S = 3.0


def warm_up(run: Run, clock: Clock = time.perf_counter_ns) -> int:
    """Run until steady, and return how many runs that took.

    Steady: the median of a window (at least WINDOW_RUNS runs and WINDOW_S seconds) is no longer more than 2 % below
    that of the previous window. A slow model runs for WARMUP_MAX_S seconds, and once in any case.
    """
    begin = window_begin = clock()
    previous = math.inf
    runs = 0
    window: list[int] = []
    while True:
        start = clock()
        run()
        end = clock()
        runs += 1
        window.append(end - start)
        if (end - begin) / 1e9 >= WARMUP_MAX_S:
            return runs
        if len(window) >= WINDOW_RUNS and (end - window_begin) / 1e9 >= WINDOW_S:
            median = _median(window)
            if median >= STEADY_RATIO * previous:
                return runs
            previous, window, window_begin = median, [], end


def _median(values: list[int]) -> float:
    """As `statistics.median`, whose module would take memory in the measuring process."""
    ordered, half = sorted(values), len(values) // 2
    return (ordered[half] + ordered[-1 - half]) / 2


def time_runs(run: Run, rule: StoppingRule, clock: Clock = time.perf_counter_ns) -> tuple[float, ...]:
    """Run until both minima of `rule` are met or its maximum is passed; return every latency, in seconds."""
    latencies_ns = array("q")  # holds no objects; it grows outside the timed region, and rarely
    min_time_ns, max_time_ns = rule.min_time_s * 1e9, rule.max_time_s * 1e9
    begin = clock()
    while True:
        start = clock()
        run()
        end = clock()
        latencies_ns.append(end - start)
        elapsed_ns = end - begin
        if elapsed_ns >= max_time_ns or (elapsed_ns >= min_time_ns and len(latencies_ns) >= rule.min_runs):
            return tuple(latency / 1e9 for latency in latencies_ns)
