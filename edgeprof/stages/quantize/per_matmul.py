"""Weights are handed to onnxruntime's quantizers one by one, each in a model of a single MatMul (or Gemm).

A quantizer that is given the whole model holds its weights three to four times; here one matrix is in memory at a
time, so that a model of any size can be quantized where it can be loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgeprof.errors import QuantizationError, said
from edgeprof.process import Progress
from edgeprof.stages.quantize.matmuls import reachable

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

Quantizer = Callable[["onnx.ModelProto"], "onnx.ModelProto"]
"""Takes the model of one MatMul, whose input is called as in the whole model, and returns it quantized."""


def quantize_each(
    model: ir.Model, quantizer: Callable[[ir.Node], Quantizer], progress: Progress, *, inner: bool = False
) -> None:
    """Replace every MatMul that multiplies by a constant matrix by what its quantizer makes of it.

    Integers are kept in memory until the model is written, the matrices they stand for are not.

    Args:
        inner: also those in branches and bodies of loops.

    Raises:
        QuantizationError: the quantizer cannot do it.
    """
    import onnx_ir.passes.common as passes

    nodes = reachable(model, inner=inner)
    for index, node in enumerate(nodes):
        name = node.inputs[1].name  # type: ignore[union-attr]
        progress(f"quantizing {name}", index / len(nodes))
        try:
            quantized = quantizer(node)(_alone(node, model.graph.opset_imports[""]))
        except (ValueError, RuntimeError, AssertionError) as problem:
            raise QuantizationError(
                f"onnxruntime cannot quantize {name}: {said(problem)}.", "Check its values, or take another recipe."
            ) from problem
        _replace(model, node, quantized)
    passes.RemoveUnusedNodesPass()(model)
    passes.CommonSubexpressionEliminationPass()(model)  # activations that several matmuls read are quantized once


def without_zero_points(made: onnx.ModelProto, takes_none: Callable[[onnx.NodeProto], bool]) -> onnx.ModelProto:
    """Weights are symmetric: their zero points, one per column, are all 0, which is what none means.

    Args:
        takes_none: whether onnxruntime joins a node with others as well if its zero points, its last input, are none.
    """
    from onnx import numpy_helper

    zeros = {tensor.name for tensor in made.graph.initializer if not numpy_helper.to_array(tensor).any()}
    for node in made.graph.node:
        if takes_none(node) and node.input[-1] in zeros:
            node.input.pop()
    used = {name for node in made.graph.node for name in node.input}
    kept = [tensor for tensor in made.graph.initializer if tensor.name in used]
    del made.graph.initializer[:]
    made.graph.initializer.extend(kept)
    return made


def _alone(node: ir.Node, opset: int) -> onnx.ModelProto:
    from onnx import TensorProto, helper, numpy_helper

    x, *constants = (value for value in node.inputs if value is not None)
    weights = [numpy_helper.from_array(value.const_value.numpy(), value.name) for value in constants]  # type: ignore[union-attr]
    columns, rows = (0, 1) if node.attributes.get_int("transB", 0) else (1, 0)
    taken = helper.make_tensor_value_info(x.name or "x", TensorProto.FLOAT, ["rows", weights[0].dims[rows]])
    given = helper.make_tensor_value_info("product", TensorProto.FLOAT, ["rows", weights[0].dims[columns]])
    attributes: Any = {"transB": 1} if columns == 0 else {}
    names = [taken.name, *(weight.name for weight in weights)]
    product = helper.make_node(node.op_type, names, [given.name], name="matmul", **attributes)
    made: Any = helper.make_model(
        helper.make_graph([product], "one matmul", [taken], [given], weights),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=10,
    )
    return made  # type: ignore[no-any-return]


def _replace(model: ir.Model, node: ir.Node, quantized: onnx.ModelProto) -> None:
    """Put the nodes of a quantized MatMul where the plain one was."""
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
    """Move an initializer over, or let its readers have an equal one of that name that is there already."""
    import onnx_ir as ir

    name = value.name or ""
    while (standing := model.graph.initializers.get(name)) is not None and not _equal(standing, value):
        name += "'"  # a bias of two matmuls has two scales
    if standing is None:
        standing = ir.Value(name=name, shape=value.shape, type=value.type, const_value=value.const_value)
        model.graph.register_initializer(standing)
    ir.convenience.replace_all_uses_with(value, standing)


def _equal(one: ir.Value, other: ir.Value) -> bool:
    a, b = one.const_value, other.const_value
    assert a is not None
    assert b is not None
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
