"""Errors of files and graphs that cannot be read: one sentence, whatever a library raises."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from edgeprof.errors import EdgeprofError, ModelFileError, first_line
from edgeprof.store import require_regular

POINTER = b"version https://git-lfs"
POINTER_BYTES = 1024  # at most: the specification of Git LFS

IR_VERSION = b"\x08"
"""The protobuf tag of the first field of a model, with which exporters begin a file."""


@contextlib.contextmanager
def opening(path: Path) -> Iterator[None]:
    """Report what is wrong with a file that is read inside the block.

    Raises:
        ModelFileError: no such file, not a readable one, a Git LFS pointer, or not an ONNX file.
    """
    try:
        require_content(path)
        yield
    except EdgeprofError:
        raise
    except FileNotFoundError as problem:
        raise ModelFileError(f"There is no file {path}.", "Check the path.") from problem
    except OSError as problem:
        raise ModelFileError(f"{path} cannot be read: {problem.strerror}.", "Check the path.") from problem
    except Exception as problem:  # protobuf, onnx and onnx_ir have an error class each, and raise Python's own too
        raise ModelFileError(f"{path} is not a readable ONNX file.", _remedy(path)) from problem


def _remedy(path: Path) -> str:
    with path.open("rb") as file:
        begun = file.read(1) == IR_VERSION
    return "It may be truncated: export it again." if begun else "Name an exported model, or a .onnx file."


def require_content(path: Path) -> None:
    """
    Raises:
        ModelFileError: the file is a Git LFS pointer.
        OSError: it cannot be read.
    """
    require_regular(path)
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER and path.stat().st_size <= POINTER_BYTES:
            raise ModelFileError(f"{path} is a Git LFS pointer, not the file itself.", "Run: git lfs pull")


@contextlib.contextmanager
def onnx_errors(error: Callable[[Exception], EdgeprofError]) -> Iterator[None]:
    """Turn whatever onnx, onnx_ir or protobuf raise inside the block into an EdgeprofError.

    Graphs may break any rule, and these libraries may raise anything then. An EdgeprofError passes through.
    """
    try:
        yield
    except EdgeprofError:
        raise
    except Exception as problem:
        raise error(problem) from problem


@contextlib.contextmanager
def well_formed() -> Iterator[None]:
    """Turn whatever fails inside the block into a ModelFileError: the graph is malformed."""
    with onnx_errors(_malformed):
        yield


def _malformed(problem: Exception) -> ModelFileError:
    what = f"The graph is malformed ({type(problem).__name__}: {first_line(problem)})."
    return ModelFileError(what, "Run onnx.checker.check_model on it, and export it again.")
