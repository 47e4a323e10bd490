"""Small real models, and jobs that measure them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from builders.records import changed
from onnx import TensorProto, helper, numpy_helper

from edgeprof.measure.schedule import Job
from edgeprof.schema import (
    Facts,
    Graph,
    GraphCount,
    InputValue,
    Load,
    Place,
    PointKey,
    Precision,
    StoppingRule,
    Subject,
    TensorSpec,
    WeightsSource,
)

QUICK = StoppingRule(min_runs=3, min_time_s=0.0)
ENDLESS = StoppingRule(min_runs=3, min_time_s=600.0, max_time_s=600.0)


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    weights: Sequence[onnx.TensorProto] = (),
    opset: int = 18,
) -> Path:
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path))
    return path


def save_matmuls(path: Path, width: int, layers: int) -> Path:
    """x -> MatMul -> ... -> y, with 4 * width * width bytes of weights a layer."""
    values = np.full((width, width), 1 / width, np.float32)
    names = ["x", *(f"h{layer}" for layer in range(layers - 1)), "y"]
    return save(
        path,
        [helper.make_node("MatMul", [names[at], f"w{at}"], [names[at + 1]]) for at in range(layers)],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch_size", "sequence_length", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, f"w{at}") for at in range(layers)],
    )


def x(*shape: int) -> InputValue:
    return InputValue(name="x", dtype="float32", shape=shape, fill="normal")


def make_job(model: Path, values: tuple[InputValue, ...], stopping: StoppingRule = QUICK, **changes: object) -> Job:
    graph = Graph(
        path=str(model),
        sha256="a" * 64,
        opset=18,
        inputs=(TensorSpec(name="x", dtype="float32", dims=("batch_size", "sequence_length", 8)),),
        outputs=(),
        count=GraphCount(nodes={"MatMul": 1}, weights_bytes=28),
    )
    weights, precision = WeightsSource(kind="file"), Precision(recipe="fp32")
    subject = Subject(model="toy", precision=precision, weights=weights, digest=graph.sha256)
    place = Place(machine_id="here", provider="cpu", threads=1)
    plain = Job(
        key=PointKey(subject=subject, load=Load(tokens=2), place=place),
        facts=Facts(params=7),
        graph=graph,
        inputs=values,
        stopping=stopping,
    )
    return changed(plain, **changes)
