"""Another Python environment of this machine, in which models are measured: what it has, and what it lacks.

Run as a module, this file describes the environment that it runs in.
"""

import subprocess
from pathlib import Path

from edgeprof.errors import UsageError
from edgeprof.measure.machine import describe
from edgeprof.process import LocalProcess, Progress, call, serve
from edgeprof.schema import Machine, Record
from edgeprof.text import joined

NEEDED = ("lazy_loader", "msgspec", "numpy", "onnxruntime", "psutil")
"""What the process that measures imports; edgeprof itself is this one, in every environment."""

OLDEST = (3, 11)

_LOOK = (
    "import importlib.util, sys; print(*sys.version_info[:2], "
    f"*(name for name in {NEEDED} if importlib.util.find_spec(name) is None))"
)


class Question(Record, frozen=True):
    """What is this machine, seen from this environment?"""


def environment(python: str | Path) -> tuple[LocalProcess, Machine]:
    """Where children run with another interpreter, and the machine with the versions of that environment.

    Raises:
        UsageError: it is no Python, or too old, or lacks a package that measuring needs.
        ChildError: a package that it has does not work.
    """
    path = str(Path(python).absolute())  # not resolved: the link is what makes it that of its environment
    _require_packages(path)
    executor = LocalProcess(path)
    return executor, call(__name__, Question(), Machine, executor=executor)


def _require_packages(python: str) -> None:
    example = "Name the interpreter of an environment: --python other/.venv/bin/python"
    try:
        looked = subprocess.run(
            [python, "-P", "-c", _LOOK],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            check=True,
        )
        major, minor, *lacking = looked.stdout.split()
        version = int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError) as problem:
        older = isinstance(problem, subprocess.CalledProcessError) and "-P" in problem.stderr
        what = f"is older than Python {'.'.join(map(str, OLDEST))}" if older else "cannot be run as Python"
        raise UsageError(f"{python} {what}.", example) from problem
    if version < OLDEST:
        raise UsageError(f"{python} is Python {major}.{minor}; edgeprof needs 3.11 or newer.", example)
    if lacking:
        packages = [name.replace("_", "-") for name in lacking]
        raise UsageError(
            f"{python} lacks {joined(packages)}, which measuring needs.",
            f"Run: {python} -m pip install {' '.join(packages)}",
        )


def _describe(_question: Question, _progress: Progress) -> Machine:
    return describe()


if __name__ == "__main__":
    serve(_describe, Question)
