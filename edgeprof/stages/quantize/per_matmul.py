"""Quantize one matrix at a time: onnxruntime's quantizers get a model of a single MatMul (or Gemm) for each.

With the whole model, a quantizer would hold its weights three to four times. With one matrix in memory at a time, every
model that can be loaded can be quantized.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from edgeprof.errors import QuantizationError
from edgeprof.process import Progress
from edgeprof.providers.ort_errors import ort_errors
from edgeprof.stages.quantize.matmuls import reachable

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

Quantizer = Callable[["onnx.ModelProto"], "onnx.ModelProto"]
"""Quantizes the model of one MatMul, whose input has the same name as in the whole model."""


def quantize_each(
    model: ir.Model, quantizer: Callable[[ir.Node], Quantizer], progress: Progress, *, inner: bool = False
) -> None:
    """Replace every MatMul that multiplies by a constant matrix by its quantized form.

    The integers stay in memory until the model is written, the matrices do not.

    Args:
        quantizer: returns the quantizer of a node.
        inner: include those in branches and bodies of loops.

    Raises:
        QuantizationError: the quantizer cannot quantize a matrix.
    """
    import onnx_ir.passes.common as passes

    nodes = reachable(model, inner=inner)
    for index, node in enumerate(nodes):
        name = str(node.inputs[1].name)  # type: ignore[union-attr]
        progress(f"quantizing {name}", index / len(nodes))
        with ort_errors(partial(_not_quantized, name)):
            quantized = quantizer(node)(_single(node, model.graph.opset_imports[""]))
        _replace(model, node, quantized)
    passes.RemoveUnusedNodesPass()(model)
    passes.CommonSubexpressionEliminationPass()(model)  # activations that several matmuls read are quantized once


def _not_quantized(name: str, reason: str) -> QuantizationError:
    advice = "Check its values, or try a different recipe."
    return QuantizationError(f"onnxruntime cannot quantize {name}: {reason}.", advice)


def without_zero_points(matmul: onnx.ModelProto, optional: Callable[[onnx.NodeProto], bool]) -> onnx.ModelProto:
    """Remove zero points that are all 0, as those of symmetric weights are: leaving them out means the same.

    Args:
        optional: whether onnxruntime also fuses a node without its zero points, which are its last input.
    """
    from onnx import numpy_helper

    zeros = {tensor.name for tensor in matmul.graph.initializer if not numpy_helper.to_array(tensor).any()}
    for node in matmul.graph.node:
        if optional(node) and node.input[-1] in zeros:
            node.input.pop()
    used = {name for node in matmul.graph.node for name in node.input}
    kept = [tensor for tensor in matmul.graph.initializer if tensor.name in used]
    del matmul.graph.initializer[:]
    matmul.graph.initializer.extend(kept)
    return matmul


def _single(node: ir.Node, opset: int) -> onnx.ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    x, *constants = (value for value in node.inputs if value is not None)
    weights = [numpy_helper.from_array(value.const_value.numpy(), value.name) for value in constants]  # type: ignore[union-attr]
    columns, rows = (0, 1) if node.attributes.get_int("transB", 0) else (1, 0)
    source = helper.make_tensor_value_info(x.name or "x", TensorProto.FLOAT, ["rows", weights[0].dims[rows]])
    result = helper.make_tensor_value_info("product", TensorProto.FLOAT, ["rows", weights[0].dims[columns]])
    attributes: Any = {"transB": 1} if columns == 0 else {}
    names = [source.name, *(weight.name for weight in weights)]
    product = helper.make_node(node.op_type, names, [result.name], name="matmul", **attributes)
    graph = helper.make_graph([product], "one matmul", [source], [result], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def _replace(model: ir.Model, node: ir.Node, quantized: onnx.ModelProto) -> None:
    """Replace a MatMul by the nodes of its quantized form."""
    import onnx_ir as ir

    x, y, place = node.inputs[0], node.outputs[0], node.graph
    assert x is not None
    assert place is not None
    part = ir.from_proto(quantized)
    for domain, version in part.opset_imports.items():
        model.graph.opset_imports.setdefault(domain, version)
    inner_x, inner_y = part.graph.inputs[0], part.graph.outputs[0]
    ir.convenience.replace_all_uses_with(inner_x, x)
    for value in list(part.graph.initializers.values()):
        _adopt(model, value)
    steps = list(part.graph)
    part.graph.outputs.clear()
    part.graph.remove(steps)
    for step in steps:
        for value in step.outputs:
            if value is not inner_y:
                value.name = f"{y.name}/{value.name}"
        step.name = f"{y.name}/{step.name}"
    inner_y.name, inner_y.type, inner_y.shape = None, y.type, y.shape
    place.insert_before(node, steps)
    name = y.name
    y.replace_all_uses_with(inner_y, replace_graph_outputs=True)
    constants = [value for value in node.inputs[1:] if value is not None]
    place.remove(node, safe=True)
    inner_y.name = name
    for value in constants:
        if not value.uses() and not value.is_graph_output():
            del model.graph.initializers[value.name or ""]


def _adopt(model: ir.Model, value: ir.Value) -> None:
    """Move an initializer to the model, or let its readers use an equal one of that name in the model."""
    import onnx_ir as ir

    name = value.name or ""
    while (existing := model.graph.initializers.get(name)) is not None and not _equal(existing, value):
        name += "'"  # a bias of two matmuls has two scales
    if existing is None:
        existing = ir.Value(name=name, shape=value.shape, type=value.type, const_value=value.const_value)
        model.graph.register_initializer(existing)
    ir.convenience.replace_all_uses_with(value, existing)


def _equal(one: ir.Value, other: ir.Value) -> bool:
    a, b = one.const_value, other.const_value
    assert a is not None
    assert b is not None
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
