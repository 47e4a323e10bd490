"""Fixed reference work: what the cores and the memory of this machine give at the moment.

Other guests of a host, the other half of a physical core, clocks and heat slow a visit without a trace in the kernel's
counters. They slow this work as well: a product of matrices, which cores limit, and one of a matrix and a vector, which
memory limits, on as many threads as the visit uses. Its time says nothing about a model, only about the moment.
"""

import mmap
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprof.process import Progress, serve
from edgeprof.providers.session import create_session, session_options
from edgeprof.schema import CPU, Canaries, Request

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRODUCT = Path(__file__).with_suffix(".onnx")
"""x [m, k] times w [k, n], both of them inputs."""

MATRICES, VECTOR = (256, 768, 3072), (1, 2048, 8192)
"""m, k and n: 0.6 GMAC on 13 MB, and 17 MMAC on 67 MB."""

RUNS = 4


def read(threads: int) -> Canaries:
    """Do the work once; its memory is given back."""
    return Canaries(matrices_s=_least_s(*MATRICES, threads), vector_s=_least_s(*VECTOR, threads))


def bytes_per_s(readings: Iterable[Canaries]) -> float | None:
    """What memory gave, in the middle of many readings: the product with a vector reads its matrix once."""
    _, inner, columns = VECTOR
    times = [reading.vector_s for reading in readings]
    return 4 * inner * columns / statistics.median(times) if times else None


def _least_s(rows: int, inner: int, columns: int, threads: int) -> float:
    from onnxruntime import OrtValue

    shapes = {"x": (rows, inner), "w": (inner, columns), "y": (rows, columns)}
    values = {name: OrtValue.ortvalue_from_numpy(_array(*shape)) for name, shape in shapes.items()}
    session = create_session(PRODUCT.read_bytes(), CPU, session_options(CPU, threads))
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", values["x"])
    binding.bind_ortvalue_input("w", values["w"])
    binding.bind_ortvalue_output("y", values["y"])
    taken = []
    for _ in range(RUNS):
        start = time.perf_counter_ns()
        session.run_with_iobinding(binding)
        taken.append(time.perf_counter_ns() - start)
    return min(taken) / 1e9


def _array(rows: int, columns: int) -> "NDArray[Any]":
    """On pages of its own: malloc would keep some, and change where it places what follows."""
    import numpy as np

    array = np.frombuffer(mmap.mmap(-1, rows * columns * 4), np.float32).reshape(rows, columns)
    array.fill(0.01)
    return array


def _alone(request: Request, _progress: Progress) -> Canaries:
    """In a process of its own, beside a runtime whose memory onnxruntime's would add to."""
    return read(request.threads)


if __name__ == "__main__":
    serve(_alone, Request)
