"""What the workers that load and run a model have in common: a process of their own, and the errors of a run."""

import contextlib
import gc
import importlib
import sys
from collections.abc import Iterator
from functools import partial

from edgeprof.errors import EdgeprofError
from edgeprof.providers.ort_errors import not_run, ort_errors
from edgeprof.schema import Request
from edgeprof.store import require_unchanged

UNWANTED = ("torch", "transformers", "onnx", "matplotlib", "scipy")


@contextlib.contextmanager
def undisturbed(request: Request) -> Iterator[None]:
    """Run the block with onnxruntime alone: no other library, no garbage collector, files that stay as they were.

    Raises:
        EdgeprofError: a library that would disturb the measurement is loaded, or a file was changed.
    """
    importlib.import_module("onnxruntime")
    refuse_libraries()
    gc.collect()
    gc.disable()
    require_unchanged(request.files)
    yield
    require_unchanged(request.files)
    refuse_libraries()


def refuse_libraries() -> None:
    """Stop if a library is loaded that brings threads and memory of its own."""
    for name in UNWANTED:
        if name in sys.modules:
            raise EdgeprofError(
                f"'{name}' was imported into the measuring process, whose time and memory it would change.",
                "A sitecustomize or .pth file of this Python environment imports it at startup: remove that.",
            )


def running(request: Request) -> contextlib.AbstractContextManager[None]:
    """Within it, whatever onnxruntime raises while a request's model runs becomes an EdgeprofError."""
    return ort_errors(partial(not_run, request.model, request.target))
