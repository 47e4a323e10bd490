"""The baselines: a row each, with what it needs and what it can run."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
from collections.abc import Sequence
from typing import Literal

from edgeprof.errors import UnknownName, UsageError
from edgeprof.schema import FP32, Record, Target


class Baseline(Record, frozen=True, kw_only=True):
    """A runtime that is measured beside onnxruntime."""

    name: str  # for --baseline
    provider: str  # of its points
    runtime: str  # the package that computes, as pip names it
    modules: tuple[str, ...]  # that it needs
    install: str
    engine: str  # the class that runs it: "module:class"
    reads: Literal["checkpoint", "onnx", "gguf"]  # what its weights come from
    precisions: tuple[str, ...] = ()  # of artifacts that it runs; (): whatever it can read
    compiles: bool = False  # needs a C++ compiler

    def target(self, file: str = "", precision: str = "") -> Target:
        """Its points' place, as a worker opens it.

        Args:
            file: of its weights, with their precision, where they are not those of the artifact.
        """
        version = importlib.metadata.version(self.runtime)
        return Target(
            provider=self.provider,
            runtime=self.runtime,
            runtime_name=self.name,
            precisions=self.precisions,
            device=f"{self.runtime} {version}",
            library=file,
            options={"precision": precision} if precision else {},
            defaults={"precision": precision} if precision else {},
        )


BASELINES: tuple[Baseline, ...] = (
    Baseline(
        name="torch",
        provider="torch",
        runtime="torch",
        modules=("torch", "transformers"),
        install="pip install 'edgeprof[export]'",
        engine="edgeprof.baselines.torch_engine:Eager",
        reads="checkpoint",
        precisions=(FP32,),
    ),
    Baseline(
        name="torch-compile",
        provider="torch-compile",
        runtime="torch",
        modules=("torch", "transformers"),
        install="pip install 'edgeprof[export]'",
        engine="edgeprof.baselines.torch_engine:Compiled",
        reads="checkpoint",
        precisions=(FP32,),
        compiles=True,
    ),
    Baseline(
        name="openvino",
        provider="openvino-runtime",  # onnxruntime's provider for it is called "openvino"
        runtime="openvino",
        modules=("openvino",),
        install="pip install openvino",
        engine="edgeprof.baselines.openvino_engine:OpenVino",
        reads="onnx",
    ),
    Baseline(
        name="llama.cpp",
        provider="llama.cpp",
        runtime="llama-cpp-python",
        modules=("llama_cpp",),
        install="pip install llama-cpp-python (it is compiled from its source, for which it needs a C++ compiler)",
        engine="edgeprof.baselines.llama_cpp_engine:LlamaCpp",
        reads="gguf",
    ),
)

GGUF = "llama.cpp=path/to/model.gguf"

COMPILERS = ("g++", "clang++", "c++", "cl")


def chosen(names: Sequence[str]) -> list[tuple[Baseline, str]]:
    """The rows of these names, each with the file that was given for it: "llama.cpp=model.gguf", or "".

    >>> [(row.provider, file) for row, file in chosen(["torch"])]
    [('torch', '')]

    Raises:
        UsageError: no such baseline, one that is not installed, or a file for one that takes none.
    """
    found: dict[str, tuple[Baseline, str]] = {}
    for name in names:
        word, equals, file = name.partition("=")
        row = _find(word)
        if equals and (row.reads != "gguf" or not file):
            what = f"names a file, and {word} takes none" if file else "names no file"
            raise UsageError(f"--baseline {name} {what}.", f"Example: --baseline {GGUF}")
        if row.reads == "gguf" and not file:
            raise UsageError(f"--baseline {row.name} needs a GGUF file of the model.", "Example: --baseline " + GGUF)
        _require_installed(row)
        found[row.name] = (row, file)
    return list(found.values())


def of_target(target: Target) -> Baseline:
    """The row of a target that is a baseline."""
    return _find(target.runtime_name)


def _find(name: str) -> Baseline:
    row = next((row for row in BASELINES if name in (row.name, row.provider)), None)
    if row is None:
        raise UnknownName("baseline", name, [row.name for row in BASELINES])
    return row


def _require_installed(row: Baseline) -> None:
    for module in row.modules:
        if importlib.util.find_spec(module) is None:
            what = f"The baseline {row.name} needs '{module}', which is not installed."
            raise UsageError(what, f"Run: {row.install}")
    if row.compiles and not (os.environ.get("CXX") or any(map(shutil.which, COMPILERS))):
        raise UsageError(
            f"The baseline {row.name} needs a C++ compiler, and there is none on the PATH.",
            "Install g++ or clang++, or name the compiler in the environment variable CXX.",
        )
