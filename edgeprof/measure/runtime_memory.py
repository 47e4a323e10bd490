"""Memory of a measuring process besides its model: interpreter, libraries, and the code that they touch."""

from functools import cache
from pathlib import Path

from msgspec.structs import replace

from edgeprof.errors import EdgeprofError
from edgeprof.measure import memory
from edgeprof.measure.canary import PRODUCT
from edgeprof.measure.launch import LATENCY_WORKER, run_worker
from edgeprof.schema import InputValue, Reading, Request, RuntimeMemory, StoppingRule

TIMEOUT_S = 60.0


def read(threads: int, weights: Path | None = None) -> RuntimeMemory:
    """What a process of this machine takes that measures a model, without the model: a reading, made once.

    Args:
        threads: of the runtime.
        weights: the model's data file, of which the system maps a part at once; None: it has none.

    Raises:
        EdgeprofError: not even a product of two numbers can be measured here.
    """
    empty = _without_model(threads)
    return replace(empty, window_bytes=memory.window_bytes(weights)) if weights else empty


@cache
def _without_model(threads: int) -> RuntimeMemory:
    """A process that measures one product, which stands for any small graph."""
    one = tuple(InputValue(name=name, dtype="float32", shape=(1, 1), fill="ones") for name in ("x", "w"))
    stopping = StoppingRule(min_runs=1, min_time_s=0.0, max_time_s=1.0)
    request = Request(model=str(PRODUCT), threads=threads, inputs=one, stopping=stopping)
    reading = run_worker(LATENCY_WORKER, request, Reading, TIMEOUT_S).reading
    if reading is None:
        raise EdgeprofError("Memory cannot be measured: onnxruntime does not run.", "Run: edgeprof devices")
    return RuntimeMemory(loaded_bytes=reading.memory_loaded_bytes, run_bytes=reading.memory_run_peak_bytes)
