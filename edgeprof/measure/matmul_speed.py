"""Measure one matrix product in fp32 and in int8: the largest gain of int8 with this processor and onnxruntime.

onnxruntime does not report the instructions that it uses, but the speed of its product can be measured: in processes
of its own, fp32 and int8 in turn.
"""

import statistics
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from edgeprof.measure.launch import LATENCY_WORKER, run_worker
from edgeprof.measure.probe_graphs import build
from edgeprof.measure.schedule import SETTLED
from edgeprof.schema import InputValue, KernelTime, Reading, Request, StoppingRule, Work

if TYPE_CHECKING:
    import onnx

Numbers = Literal["fp32", "int8"]

WIDTH = 2048  # 17 MB of weights in fp32: more than the caches of a core, as in a model
TOKENS = (1, 128)
ROUNDS = 3
STOPPING = StoppingRule(min_runs=10, min_time_s=0.15, max_time_s=10.0)
TIMEOUT_S = 60.0


class Product(NamedTuple):
    """One visit of a matrix product; `tokens` is the number of rows."""

    round: int
    tokens: int
    precision: Numbers


def to_measure(threads: int, done: Iterable[KernelTime]) -> list[Product]:
    """The remaining products for a number of threads, fp32 and int8 in turn."""
    ours = (kernel for kernel in done if kernel.threads == threads and kernel.status in SETTLED)
    measured = {(kernel.round, kernel.tokens, kernel.precision) for kernel in ours}
    precisions: tuple[Numbers, ...] = ("fp32", "int8")
    every = (Product(number, tokens, p) for number in range(ROUNDS) for tokens in TOKENS for p in precisions)
    return [product for product in every if product not in measured]


def measure_kernels(products: Sequence[Product], threads: int, machine_id: str) -> Iterator[KernelTime]:
    """Measure each product in a fresh process, and yield its record as soon as it is complete."""
    if not products:
        return
    with tempfile.TemporaryDirectory(prefix="edgeprof-") as folder:
        files = {precision: Path(folder) / f"{precision}.onnx" for precision in ("fp32", "int8")}
        for precision, file in files.items():
            file.write_bytes(model(precision).SerializeToString())
        for product in products:
            request = _request(files[product.precision], product, threads)
            outcome = run_worker(LATENCY_WORKER, request, Reading, TIMEOUT_S)
            yield KernelTime(
                precision=product.precision,
                tokens=product.tokens,
                width=WIDTH,
                threads=threads,
                round=product.round,
                status=outcome.status,
                error=outcome.error,
                median_s=statistics.median(outcome.reading.latencies_s) if outcome.reading else None,
                machine_id=machine_id,
                started_at=outcome.started_at,
            )


def model(precision: str) -> "onnx.ModelProto":
    """x -> MatMul -> y; for int8, MatMulInteger of unsigned activations and signed weights, the fastest pair."""
    operator = "MatMulInteger" if precision == "int8" else "MatMul"
    return build(Work(operator=operator, precision=precision, sizes={"inner": WIDTH, "columns": WIDTH}))


def _request(file: Path, product: Product, threads: int) -> Request:
    shape = (product.tokens, WIDTH)
    value = InputValue(name="x", dtype="float32", shape=shape, fill="normal")
    if product.precision == "int8":
        value = InputValue(name="x", dtype="uint8", shape=shape, fill="token_ids", high=256)
    return Request(model=str(file), threads=threads, inputs=(value,), stopping=STOPPING)
