"""Run a command in a process of its own and tell its wall time and peak memory."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Cost:
    wall_s: float
    cpu_s: float  # of all processes together
    peak_rss_bytes: int  # of the largest process
    tree_rss_bytes: int  # of all processes together
    output: str


class Failed(SystemExit):
    """A command ended with an error; of what is allowed to fail, that is a result. The message ends with its output."""

    @property
    def last_line(self) -> str:
        return str(self).strip().splitlines()[-1].strip()


def run(*command: str | Path, cwd: Path) -> Cost:
    """The peak of the largest process is the kernel's; that of all together is sampled, 50 times a second."""
    # As installed, modules are compiled once, not at every start.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    with (cwd / "output.log").open("w+") as log:
        words = [str(part) for part in command]
        child = subprocess.Popen(words, cwd=cwd, env=environment, stdout=log, stderr=subprocess.STDOUT)
        with _Sampled(child.pid) as sampled:
            _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - started
        log.seek(0)
        output = log.read()
    if os.waitstatus_to_exitcode(status) != 0:
        raise Failed(f"{' '.join(map(str, command))} failed:\n{output}")
    largest = usage.ru_maxrss * 1024
    cpu_s = usage.ru_utime + usage.ru_stime
    return Cost(wall_s, cpu_s, largest, max(largest, sampled.peak_bytes), output)


class _Sampled:
    """The sum of the resident sets of a process and its descendants, at its highest."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.peak_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> "_Sampled":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(0.02):
            self.peak_bytes = max(self.peak_bytes, _resident(self.pid))


def _resident(pid: int) -> int:
    """0 for a process that has ended meanwhile."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = [file.read_text().split() for file in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return 0
    own = pages * os.sysconf("SC_PAGE_SIZE")
    return own + sum(_resident(int(child)) for each in children for child in each)


def python(*arguments: str | Path, cwd: Path) -> Cost:
    return run(sys.executable, *arguments, cwd=cwd)


def edgeprof(*arguments: str | Path, cwd: Path) -> Cost:
    return python("-m", "edgeprof", *arguments, cwd=cwd)


def spread(values: list[float]) -> str:
    """ "1.003 (0.998 to 1.010)": median and range."""
    return f"{median(values):.3f} ({min(values):.3f} to {max(values):.3f})"
