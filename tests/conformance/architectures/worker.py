"""A child for every architecture: it may crash, hang or ask for memory without end. torch is imported once for all."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import Connection

from edgeprof import process

from . import TinyModel, find, here
from .outcome import Outcome, outcome

TIMEOUT_S = 900
MEMORY_BYTES = 8 << 30


def ask(tiny: TinyModel) -> Outcome:
    """The outcome of one architecture."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "transformers.modeling_utils", "onnxscript", "torch.onnx"])
    pipe, theirs = context.Pipe()
    child = context.Process(target=_serve, args=(theirs, tiny.name), daemon=True)
    child.start()
    theirs.close()
    try:
        if pipe.poll(TIMEOUT_S):
            result: Outcome = pipe.recv()
            return result
        return Outcome(failures=(f"no answer within {TIMEOUT_S} s",))
    except EOFError:
        child.join()
        return Outcome(failures=(f"exit code {child.exitcode}",))
    finally:
        child.kill()
        child.join()


def _serve(pipe: Connection, name: str) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    if not os.environ.get("EDGEPROF_DEBUG"):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries print
    process.LOCAL.run = here.run_export  # type: ignore[method-assign]
    pipe.send(outcome(find(name)))
