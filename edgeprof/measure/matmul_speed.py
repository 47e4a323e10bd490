"""One matrix product alone, in fp32 and in int8: what this processor and this onnxruntime make of int8 at best.

What the runtime dispatches to cannot be asked; how fast its product is can be measured, as anything else is: in
processes of its own, the two in turn.
"""

import statistics
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from edgeprof.measure.launch import LATENCY_WORKER, run_worker
from edgeprof.measure.schedule import SETTLED
from edgeprof.schema import InputValue, KernelTime, Reading, Request, StoppingRule

if TYPE_CHECKING:
    import onnx

Numbers = Literal["fp32", "int8"]

WIDTH = 2048  # 17 MB of weights in fp32: beyond the caches of a core, as those of a model are
TOKENS = (1, 128)
ROUNDS = 3
STOPPING = StoppingRule(min_runs=10, min_time_s=0.15, max_time_s=10.0)
TIMEOUT_S = 60.0
SEED = 0


class Product(NamedTuple):
    round: int
    tokens: int
    precision: Numbers


def to_measure(threads: int, done: Iterable[KernelTime]) -> list[Product]:
    """What is still to be measured with so many threads, fp32 and int8 in turn."""
    seen = {(one.round, one.tokens, one.precision) for one in done if one.threads == threads and one.status in SETTLED}
    precisions: tuple[Numbers, ...] = ("fp32", "int8")
    every = (Product(number, tokens, p) for number in range(ROUNDS) for tokens in TOKENS for p in precisions)
    return [product for product in every if product not in seen]


def measure_kernels(products: Sequence[Product], threads: int, machine_id: str) -> Iterator[KernelTime]:
    """Each product in a fresh process, yielded the moment it is measured."""
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
    """x -> MatMul -> y, or MatMulInteger of unsigned activations and signed weights, the pair that is made fastest."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    dice, shape = np.random.default_rng(SEED), (WIDTH, WIDTH)
    if precision == "int8":
        kind, taken, made = "MatMulInteger", TensorProto.UINT8, TensorProto.INT32
        weights = numpy_helper.from_array(dice.integers(-127, 128, shape, dtype=np.int8), "w")
    else:
        kind, taken, made = "MatMul", TensorProto.FLOAT, TensorProto.FLOAT
        weights = numpy_helper.from_array(dice.standard_normal(shape, dtype=np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", taken, ["tokens", WIDTH])],
        [helper.make_tensor_value_info("y", made, ["tokens", WIDTH])],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _request(file: Path, product: Product, threads: int) -> Request:
    shape = (product.tokens, WIDTH)
    value = InputValue(name="x", dtype="float32", shape=shape, fill="normal")
    if product.precision == "int8":
        value = InputValue(name="x", dtype="uint8", shape=shape, fill="token_ids", high=256)
    return Request(model=str(file), threads=threads, inputs=(value,), stopping=STOPPING)
