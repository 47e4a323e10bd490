"""The measuring child: one model, one workload, one fresh process (`python -m edgeprof.measure.latency_worker`).

Everything a run needs is made before it: inputs are bound as OrtValues, and the runs after the first write into the
outputs that it allocated, so that the timed loop only runs the model.
"""

import gc
import importlib
import sys
import time
from typing import TYPE_CHECKING

from edgeprof.errors import EdgeprofError
from edgeprof.measure import device_memory, memory, sampling
from edgeprof.measure.contention import Contention
from edgeprof.measure.io_binding import Binding
from edgeprof.process import Progress, serve
from edgeprof.providers import placement, refusals
from edgeprof.providers.session import open_request
from edgeprof.schema import CPU, Reading, Request
from edgeprof.store import require_unchanged

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

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
    require_unchanged(request.files)
    imports = memory.read()
    start = time.perf_counter_ns()
    session = open_request(request, record_assignment=request.target.runtime_name != CPU.runtime_name)
    load_ns = time.perf_counter_ns() - start
    loaded = memory.read()
    require_unchanged(request.files)
    require_share(session, request)
    try:
        binding = Binding(session, request.target, request.inputs)
        peak_is_of_runs = memory.reset_peak()
        start = time.perf_counter_ns()
        binding.run()
        binding.wait()
        first_run_ns = time.perf_counter_ns() - start
        binding.settle(request.in_place)
        run, warmup_runs = binding.warm_up()
        company = Contention()
        latencies_s = sampling.time_runs(run, request.stopping)
        contention = company.share(request.threads)
    except (EdgeprofError, MemoryError):
        raise
    except Exception as problem:  # onnxruntime's errors share no base class
        raise refusals.not_run(request.model, request.target, problem) from problem
    after = memory.read()
    device_bytes = device_memory.taken(request.target)
    require_unchanged(request.files)
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
        device_memory_bytes=device_bytes,
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


def require_share(session: "InferenceSession", request: Request) -> None:
    """See that the session about to be timed is what the placement tells of; it was read in another process.

    Raises:
        EdgeprofError: the provider has no node, or more or fewer than it had there.
    """
    target = request.target
    if target.runtime_name == CPU.runtime_name:
        return
    found = sum(node.provider == target.runtime_name for node in placement.assigned(session))
    if not found or (request.nodes and found != request.nodes):
        expected = str(request.nodes) if request.nodes else "any"
        raise EdgeprofError(f"{target.provider} was given {found} nodes of {request.model}, and not {expected}.")


if __name__ == "__main__":
    serve(measure, Request)
