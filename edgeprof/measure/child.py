"""The measuring child: one model, one workload, one fresh process (`python -m edgeprof.measure.child`).

Everything a run needs is made before it: inputs are bound as OrtValues, and the runs after the first write into the
outputs that it allocated, so that the timed loop only runs the model.
"""

import gc
import importlib
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from edgeprof.errors import EdgeprofError
from edgeprof.measure import memory, pace, tensors
from edgeprof.measure.contention import Contention
from edgeprof.process import Progress, serve
from edgeprof.providers.session import open_session, reason
from edgeprof.schema import InputValue, Reading, Request

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, IOBinding

UNWANTED = ("torch", "transformers", "onnx", "matplotlib", "scipy")


def measure(request: Request, _progress: Progress) -> Reading:
    """Load, warm up, time. Progress is not sent: it would wake the parent, on the cores that are being measured.

    Raises:
        ModelFileError: onnxruntime refuses the model.
        UsageError: an input file does not fit.
        EdgeprofError: the model does not run, or a library that would disturb the measurement is loaded.
    """
    importlib.import_module("onnxruntime")
    refuse_company()
    gc.collect()
    gc.disable()
    imports = memory.read()
    start = time.perf_counter_ns()
    session = open_session(request.model, request.target, request.threads)
    load_ns = time.perf_counter_ns() - start
    loaded = memory.read()
    try:
        binding = bind_inputs(session, request.inputs)
        bind_outputs(session, binding)
        peak_is_of_runs = memory.reset_peak()
        start = time.perf_counter_ns()
        session.run_with_iobinding(binding)
        first_run_ns = time.perf_counter_ns() - start
        run, warmup_runs = warm_up(session, binding)
        company = Contention()
        latencies_s = pace.time_runs(run, request.stopping)
        contention = company.share(request.threads)
    except (EdgeprofError, MemoryError):
        raise
    except Exception as problem:  # onnxruntime's errors share no base class
        raise EdgeprofError(
            f"onnxruntime cannot run {request.model}: {reason(problem)}.", "See that its inputs are what it expects."
        ) from problem
    after = memory.read()
    refuse_company()
    # Where the peak could not be reset and loading was higher, what is resident now is the best that is known.
    known = peak_is_of_runs or after.peak_bytes > loaded.peak_bytes
    return Reading(
        providers_active=tuple(session.get_providers()),
        load_s=load_ns / 1e9,
        first_run_s=first_run_ns / 1e9,
        warmup_runs=warmup_runs,
        latencies_s=latencies_s,
        memory_imports_bytes=imports.resident_bytes,
        memory_loaded_bytes=loaded.resident_bytes,
        memory_loaded_file_bytes=loaded.file_bytes,
        memory_load_peak_bytes=loaded.peak_bytes,
        memory_run_peak_bytes=after.peak_bytes if known else after.resident_bytes,
        memory_run_file_bytes=after.file_bytes,
        contention=contention,
    )


def refuse_company() -> None:
    """Stop if a library is loaded that brings threads and memory of its own."""
    for name in UNWANTED:
        if name in sys.modules:
            raise EdgeprofError(
                f"'{name}' was imported into the measuring process, whose time and memory it would change.",
                "A sitecustomize or .pth file of this Python environment imports it at startup: remove that.",
            )


def bind_inputs(session: "InferenceSession", inputs: tuple[InputValue, ...]) -> "IOBinding":
    from onnxruntime import OrtValue

    binding = session.io_binding()
    for value in inputs:
        binding.bind_ortvalue_input(value.name, OrtValue.ortvalue_from_numpy(tensors.make(value)))
    return binding


def bind_outputs(session: "InferenceSession", binding: "IOBinding") -> None:
    for output in session.get_outputs():
        binding.bind_output(output.name)


def warm_up(
    session: "InferenceSession", binding: "IOBinding", until: Callable[[pace.Run], int] = pace.warm_up
) -> tuple[pace.Run, int]:
    """Find how to run from the second time on, and run so until steady; the way, and the number of runs.

    onnxruntime writes into the outputs that the run before left in the binding, and so allocates none. Where their
    shape depends on chance (sampling) it refuses to; then they are let go before each run, and allocated anew.
    """

    def run_anew() -> None:
        bind_outputs(session, binding)
        session.run_with_iobinding(binding)

    run = partial(session.run_with_iobinding, binding)
    try:
        return run, until(run)
    except RuntimeError:
        return run_anew, until(run_anew)


if __name__ == "__main__":
    serve(measure, Request)
