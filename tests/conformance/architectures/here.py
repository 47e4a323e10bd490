"""Run children in this process, which has imported torch already: importing it takes longer than a tiny model."""

from __future__ import annotations

import importlib
import typing

import msgspec

from edgeprof import process
from edgeprof.errors import EdgeprofError
from edgeprof.process import LocalProcess, Message, Progress

EXPORT = "edgeprof.stages.export.stage"


def run_export(module: str, request: bytes, progress: Progress, timeout_s: float | None) -> Message:
    """In place of `process.LOCAL.run`: what needs torch runs here, all else in children."""
    if module != EXPORT:
        return LocalProcess.run(process.LOCAL, module, request, progress, timeout_s)
    return run(module, request, progress, timeout_s)


def run(module: str, request: bytes, progress: Progress, timeout_s: float | None) -> Message:
    """In place of `process.LOCAL.run`: everything runs here."""
    stage = importlib.import_module(module)
    kind = typing.get_type_hints(stage.run)["request"]
    try:
        reply = stage.run(msgspec.json.decode(request, type=kind), progress)
    except EdgeprofError as problem:
        return Message(error=type(problem).__name__, what=problem.what, next_step=problem.next_step)
    return Message(reply=msgspec.Raw(msgspec.json.encode(reply)))
