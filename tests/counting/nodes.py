"""Graphs of a few nodes, counted and run: what is inferred has to be what onnxruntime makes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgeprof import counting
from edgeprof.counting.shapes import infer

Arrays = Mapping[str, Any]
OPSET = 23
MS = "com.microsoft"


def f32(*shape: int) -> Any:
    return np.full(shape, 0.5, np.float32)


def i8(*shape: int) -> Any:
    return np.ones(shape, np.int8)


def u8(*shape: int) -> Any:
    return np.ones(shape, np.uint8)


def i64(*values: Any) -> Any:
    """A list of integers: shapes, axes, indices."""
    return np.asarray(values, np.int64)


def one(dtype: Any = np.float32) -> Any:
    """A scalar: a scale or zero point of a whole tensor."""
    return np.asarray(1, dtype)


def node(op_type: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node from names with blanks between; "-" is an input or output that is left out; "ms." a contrib operator."""
    names = ["" if name == "-" else name for name in inputs.split()]
    built = ["" if name == "-" else name for name in outputs.split()]
    domain = MS if op_type.startswith("ms.") else ""
    return helper.make_node(op_type.removeprefix("ms."), names, built, domain=domain, **attributes)


def graph(
    nodes: onnx.NodeProto | Sequence[onnx.NodeProto],
    feeds: Arrays,
    weights: Arrays | None = None,
    *,
    outputs: Sequence[str] = (),
    opset: int = OPSET,
) -> onnx.ModelProto:
    """A model of these nodes. Outputs of the graph are all that nodes make, unless they are told."""
    nodes = [nodes] if isinstance(nodes, onnx.NodeProto) else list(nodes)
    given = [helper.make_tensor_value_info(name, _dtype(array), array.shape) for name, array in feeds.items()]
    held = [
        array if isinstance(array, TensorProto) else numpy_helper.from_array(array, name)
        for name, array in (weights or {}).items()
    ]
    names = outputs or [name for one_node in nodes for name in one_node.output if name]
    built = [onnx.ValueInfoProto(name=name) for name in names]
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MS, 1)]
    return helper.make_model(helper.make_graph(nodes, "g", given, built, held), opset_imports=opsets, ir_version=10)


def _dtype(array: Any) -> int:
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def shapes(feeds: Arrays) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in feeds.items()}


def count(model: onnx.ModelProto, feeds: Arrays) -> counting.GraphCosts:
    return counting.count(model, shapes(feeds))


def run(model: onnx.ModelProto, feeds: Arrays) -> dict[str, Any]:
    """All outputs by name, of the graph as it is: nothing is fused."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def require_real_shapes(model: onnx.ModelProto, feeds: Arrays) -> None:
    """Shapes and types as inferred are those that onnxruntime makes."""
    inferred = infer(model, shapes(feeds))
    for name, array in run(model, feeds).items():
        assert name in inferred, f"nothing is inferred of {name}, which is {array.dtype} {array.shape}"
        assert inferred[name].shape == array.shape, name
        assert helper.tensor_dtype_to_np_dtype(inferred[name].dtype) == array.dtype, name


def uncounted(model: onnx.ModelProto, feeds: Arrays) -> dict[str, tuple[int, str]]:
    """Operator -> how many nodes, and why."""
    return {missed.operator: (missed.count, missed.reason) for missed in count(model, feeds).uncounted}
