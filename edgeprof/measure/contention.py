"""How long this process's threads were ready to run and had no core, because other work had it."""

import time
from pathlib import Path

TASKS = Path("/proc/self/task")


class Contention:
    """Counts from its creation on, by Linux's scheduler statistics (in nanoseconds); elsewhere it is unknown."""

    def __init__(self, tasks: Path = TASKS) -> None:
        self._tasks = tasks
        self._waited_ns = waited_ns(tasks)
        self._start_ns = time.perf_counter_ns()

    def share(self, threads: int) -> float | None:
        """Time waited since, as a share of the time that `threads` threads could have run; None where it is unknown."""
        now = waited_ns(self._tasks)
        if now is None or self._waited_ns is None:
            return None
        elapsed_ns = (time.perf_counter_ns() - self._start_ns) * threads
        return max(now - self._waited_ns, 0) / elapsed_ns if elapsed_ns else 0.0


def waited_ns(tasks: Path = TASKS) -> int | None:
    """Sum over threads of the second field of schedstat: time on a run queue (Linux: scheduler/sched-stats.rst)."""
    try:
        return sum(int(file.read_text().split()[1]) for file in tasks.glob("*/schedstat")) if tasks.is_dir() else None
    except (OSError, IndexError, ValueError):  # a thread that ended meanwhile, or a kernel that does not count
        return None
