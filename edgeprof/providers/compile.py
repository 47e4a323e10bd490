"""Graphs compiled for a device ahead of time, and kept: onnxruntime's EPContext models.

What a provider would compile at every load is written to a file once, in a child process; sessions load that file
instead. Run as a module, this file is that process.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgeprof import process, store
from edgeprof.errors import ChildError, EdgeprofError
from edgeprof.process import LOCAL, ChildTimeout, Executor, Progress
from edgeprof.providers import installed_packages
from edgeprof.providers.ort_errors import ort_errors
from edgeprof.providers.session import session_options, source
from edgeprof.schema import Record, Target, decode, encode_pretty

if TYPE_CHECKING:
    import onnx

CONTEXT = "EPContext"


class CompileRequest(Record, frozen=True, kw_only=True):
    model: str
    weights_folder: str
    target: Target
    folder: str  # receives the file, and those of the provider beside it


class Compiled(Record, frozen=True, kw_only=True):
    """A compiled graph: what a session loads."""

    path: str
    compile_s: float
    nbytes: int  # of the file and those beside it
    contexts: int  # parts of the graph that are compiled


def compiled(
    model: Path, weights_folder: str, target: Target, timeout_s: float | None = None, executor: Executor = LOCAL
) -> Compiled:
    """The graph as the provider compiled it; done once for these files, this provider and this onnxruntime.

    Args:
        weights_folder: where the data files lie that the model refers to; "" for beside it.

    Raises:
        EdgeprofError: the provider compiles nothing of it, cannot save what it compiles, or crashed.
        ChildTimeout: it ran out of time.
    """
    folder = store.cache_folder() / "compiled" / _key(model, weights_folder, target)
    record = folder / "compiled.json"
    if record.is_file():
        return decode(store.read_bytes(record), Compiled, str(record))
    with store.folder_in_progress(folder) as partial:
        request = CompileRequest(model=str(model), weights_folder=weights_folder, target=target, folder=str(partial))
        result = _call(request, timeout_s, executor)
        final = msgspec.structs.replace(result, path=str(folder / Path(result.path).name))
        store.write_atomic(partial / record.name, encode_pretty(final))
    return final


def _call(request: CompileRequest, timeout_s: float | None, executor: Executor) -> Compiled:
    try:
        return process.call("edgeprof.providers.compile", request, Compiled, timeout_s=timeout_s, executor=executor)
    except ChildTimeout:
        raise
    except ChildError as problem:  # a provider that cannot compile ahead of time may abort
        what = f"{request.target.provider} cannot compile this graph ahead of time: {problem.what}"
        raise EdgeprofError(what, "Omit --compile.") from problem


def _key(model: Path, weights_folder: str, target: Target) -> str:
    """A digest of everything that decides the result. Data files count by size and time: they are large."""
    beside = Path(weights_folder) if weights_folder else model.parent
    data = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(beside.glob("*.data"))]
    return store.content_key(store.sha256_of(model), data, target, installed_packages.installed())[:32]


# --- in the child ------------------------------------------------------------------------------------------


def run(request: CompileRequest, _progress: Progress) -> Compiled:
    import onnx
    import onnxruntime

    def refusal(reason: str) -> EdgeprofError:
        return EdgeprofError(f"{request.target.provider} cannot compile this graph: {reason}.", "Omit --compile.")

    file = Path(request.folder) / "compiled.onnx"
    options = session_options(request.target, 0, request.weights_folder)
    started = time.perf_counter()
    with ort_errors(refusal):
        compiler = onnxruntime.ModelCompiler(
            options, source(request.model, request.weights_folder), embed_compiled_data_into_model=False
        )
        compiler.compile_to_file(str(file))
    seconds = time.perf_counter() - started
    contexts = _contexts(onnx.load(file, load_external_data=False)) if file.is_file() else 0
    if not contexts:
        raise EdgeprofError(
            f"{request.target.provider} compiled no part of this graph.",
            "It cannot compile ahead of time, or accepted no node: omit --compile.",
        )
    nbytes = sum(one.stat().st_size for one in file.parent.iterdir())
    return Compiled(path=str(file), compile_s=seconds, nbytes=nbytes, contexts=contexts)


def _contexts(model: onnx.ModelProto) -> int:
    return sum(node.op_type == CONTEXT for node in model.graph.node)


if __name__ == "__main__":
    process.serve(run, CompileRequest)
