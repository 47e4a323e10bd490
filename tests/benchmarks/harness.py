"""Run a command in a process of its own and tell its wall time and the peak memory of any process in it."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Cost:
    wall_s: float
    peak_rss_bytes: int
    output: str


class Failed(SystemExit):
    """A command ended with an error; of what is allowed to fail, that is a result. The message ends with its output."""

    @property
    def last_line(self) -> str:
        return str(self).strip().splitlines()[-1].strip()


def run(*command: str | Path, cwd: Path) -> Cost:
    """Peak memory is the kernel's: the largest of the process and of those it started and waited for."""
    # As installed, modules are compiled once, not at every start.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    with (cwd / "output.log").open("w+") as log:
        words = [str(part) for part in command]
        child = subprocess.Popen(words, cwd=cwd, env=environment, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - started
        log.seek(0)
        output = log.read()
    if os.waitstatus_to_exitcode(status) != 0:
        raise Failed(f"{' '.join(map(str, command))} failed:\n{output}")
    return Cost(wall_s, usage.ru_maxrss * 1024, output)


def python(*arguments: str | Path, cwd: Path) -> Cost:
    return run(sys.executable, *arguments, cwd=cwd)


def edgeprof(*arguments: str | Path, cwd: Path) -> Cost:
    return python("-m", "edgeprof", *arguments, cwd=cwd)


def spread(values: list[float]) -> str:
    """ "1.003 (0.998 to 1.010)": median and range."""
    return f"{median(values):.3f} ({min(values):.3f} to {max(values):.3f})"
