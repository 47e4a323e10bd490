"""An environment with edgeprof as on a device, and the commands that a user runs in it."""

import os
import shlex
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edgeprof.errors import EdgeprofError
from edgeprof.providers.table import Provider

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    message: str  # standard error, without empty lines


@dataclass(frozen=True)
class Environment:
    python: Path
    work: Path  # where commands run

    def edgeprof(self, *words: object, timeout_s: float = 300) -> Ran:
        return self._run(["-m", "edgeprof", *map(str, words)], timeout_s)

    def pip(self, *words: str) -> None:
        """Run pip.

        Raises:
            EdgeprofError: it failed; the message is its last line.
        """
        ran = self._run(["-m", "pip", *words], 600)
        if ran.code:
            said = (ran.message or ran.out).strip().splitlines()
            raise EdgeprofError(f"pip {shlex.join(words)} failed: {said[-1] if said else ran.code}.")

    def packages(self) -> dict[str, str]:
        listed = msgspec.json.decode(self._run(["-m", "pip", "list", "--format", "json"], 60).out)
        return {package["name"]: package["version"] for package in listed}

    def _run(self, words: Sequence[str], timeout_s: float) -> Ran:
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        own = {"EDGEPROF_CACHE": str(self.work / "cache"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        try:
            done = subprocess.run(
                [self.python, *words],
                cwd=self.work,
                env={**variables, **own},
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Ran(-1, "", f"{shlex.join(words)} took longer than {timeout_s:g} s.")
        return Ran(done.returncode, done.stdout, "\n".join(filter(str.strip, done.stderr.splitlines())))


def create(work: Path) -> Environment:
    """An environment with edgeprof and what it asks for, onnxruntime of the CPU among it."""
    folder = work / "environment"
    venv.create(folder, with_pip=True, clear=True)
    made = Environment(folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"), work)
    constraints = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "onnxruntime" not in line]
    (work / "constraints.txt").write_text("\n".join(constraints))
    made.pip("install", "--quiet", "--constraint", str(work / "constraints.txt"), "--editable", str(ROOT))
    return made


def install(environment: Environment, row: Provider) -> tuple[str, ...]:
    """Install a provider as its row tells the user to; the commands.

    Raises:
        EdgeprofError: there is no command for it, or it fails.
    """
    if not row.install.startswith("pip "):
        raise EdgeprofError(
            f"No pip package contains {row.name}. {row.install}.",
            f"Install edgeprof beside it, then name that Python: make hardware EP={row.name} WITH=path/to/python",
        )
    commands = [f"pip install 'onnxruntime{row.runtime}'"] if row.plugin and row.runtime else []
    commands += row.install.split(" && ")
    for command in commands:
        environment.pip(*shlex.split(command)[1:], "--quiet")
    return tuple(commands)
