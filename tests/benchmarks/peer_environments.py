"""Environments of the packages that edgeprof is compared with: one for each, made once, with the torch of this one.

The version of torch is named to the letter ("2.13.0+cpu"), so that no CUDA build is fetched in its place.
"""

import functools
import importlib.metadata
import os
import venv
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.harness import Failed, run

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "edgeprof-bench"
VERSIONS = "import sys; from importlib.metadata import version; print([version(name) for name in sys.argv[1:]])"
SAME = ("torch", "onnx", "onnxruntime")


@dataclass(frozen=True)
class Environment:
    """`packages` are installed beside those of SAME."""

    name: str
    packages: tuple[str, ...]

    @property
    def home(self) -> Path:
        return CACHE / self.name

    def command(self, name: str) -> Path:
        """The path of a program in the environment, which is made where it is missing.

        Raises:
            Failed: it could not be installed.
        """
        _made(self)
        return self.home / "bin" / name

    def summary(self) -> str:
        """Name and version of what was installed, or why it was not."""
        try:
            asked = (self.name, "transformers")
            found = run(self.command("python"), "-c", VERSIONS, *asked, cwd=CACHE).output.strip()
        except Failed as problem:
            return f"{self.name} could not be installed: {problem.last_line}"
        own, transformers = found.strip("[]").replace("'", "").split(", ")
        return f"{self.name} {own} with transformers {transformers}"


@functools.cache
def _made(environment: Environment) -> None:
    if (environment.home / "installed").exists():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    venv.create(environment.home, clear=True, with_pip=True)
    same = [f"{name}=={importlib.metadata.version(name)}" for name in SAME]
    run(environment.home / "bin" / "pip", "install", "--quiet", *same, *environment.packages, cwd=CACHE)
    (environment.home / "installed").touch()


def _here(*names: str) -> tuple[str, ...]:
    """Packages in the versions of this environment."""
    return tuple(f"{name}=={importlib.metadata.version(name)}" for name in names)


OPTIMUM = Environment("optimum-onnx", ("optimum-onnx[onnxruntime]",))  # wants transformers below 5
GENAI = Environment("onnxruntime-genai", ("onnxruntime-genai", *_here("transformers", "onnx-ir")))
MOBIUS = Environment("mobius-onnx", ("mobius-onnx", *_here("transformers", "onnxscript")))
