"""One ONNX file, loaded once and timed at several shapes one after the other, with I/O binding. Prints medians as JSON.

usage: lengths_loop.py REQUEST.json
"""

import sys
import time
from pathlib import Path
from statistics import median

import msgspec
import onnxruntime

from edgeprof.inputs import tensors
from edgeprof.providers.session import open_session
from edgeprof.schema import InputValue, Record

Shape = tuple[InputValue, ...]
"""The inputs of one run."""


class Request(Record, frozen=True, kw_only=True):
    model: str
    threads: int
    shapes: tuple[Shape, ...]
    min_runs: int
    min_time_s: float


def timed(session: "onnxruntime.InferenceSession", inputs: Shape, request: Request) -> float:
    """The median latency, in seconds. The first runs, which allocate, are not timed."""
    binding = session.io_binding()
    for value in inputs:
        binding.bind_ortvalue_input(value.name, onnxruntime.OrtValue.ortvalue_from_numpy(tensors.make(value)))
    for output in session.get_outputs():
        binding.bind_output(output.name)
    for _ in range(2):
        session.run_with_iobinding(binding)
    latencies_s: list[float] = []
    while len(latencies_s) < request.min_runs or sum(latencies_s) < request.min_time_s:
        start = time.perf_counter()
        session.run_with_iobinding(binding)
        latencies_s.append(time.perf_counter() - start)
    return median(latencies_s)


if __name__ == "__main__":
    request = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Request)
    session = open_session(request.model, threads=request.threads)
    print(msgspec.json.encode([timed(session, inputs, request) for inputs in request.shapes]).decode())
