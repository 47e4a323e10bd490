"""Constant folding of weights: operators between a stored tensor and a product are evaluated ahead of time.

A matrix behind Reshape, Cast or Split is as constant as any other, but quantizers look for stored tensors only. The
arithmetic is that of onnx's reference implementation. Nothing stays in memory: a result is computed once for its shape,
and again when it is quantized or written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

QUANTIZED = re.compile(
    r"Q(Linear|Ordered|Attention|Gemm|MoE|EmbedLayer)\w*|(Dynamic)?(Quantize|Dequantize)\w*"
    r"|(MatMul|Conv)Integer\w*|MatMul(NBits|Bnb4|FpQ4)|GatherBlockQuantized"
)
"""Operators on integers, of onnx and of onnxruntime."""

PRODUCTS = ("MatMul", "Gemm", "Einsum", "Conv", "ConvTranspose", "FusedMatMul", "FusedGemm", "Attention")

MOVING = ("Cast", "Concat", "Flatten", "Identity", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Transpose")
COMPUTING = ("Abs", "Add", "Div", "Mul", "Neg", "Pow", "Reciprocal", "ReduceL2", "ReduceSum", "Sqrt", "Sub")
FOLDED = {*MOVING, *COMPUTING, "Unsqueeze"}
"""Operators whose results are no larger than their operands, as long as these do not broadcast to a larger shape."""


def fold_weights(model: ir.Model, *, shared: bool) -> None:
    """Fold the weights of products that are computed from constants.

    A weight that cannot be folded stays. A tensor with other readers would be stored twice: it is folded only if
    `shared`. A transpose alone is left to `graph.fold_weight_transposes`, which knows tied embeddings.
    """
    import onnx_ir.passes.common as passes

    for node in list(model.graph.all_nodes()):
        for position in range(min(len(node.inputs), 2)) if node.op_type in PRODUCTS else ():
            value = node.inputs[position]
            root = origin(value)
            if value is None or root is None or root is value or _is_transpose(model, value, root):
                continue
            if shared or len(root.uses()) == 1:
                _fold(model, value)
    passes.RemoveUnusedNodesPass()(model)


def origin(value: ir.Value | None) -> ir.Value | None:
    """The constant itself, or the largest constant that a value is computed from; None if it depends on an input."""
    constants: list[ir.Value] = []
    waiting, seen = [value], {value}
    while waiting:
        one = waiting.pop()
        if one is None:
            continue
        if one.const_value is not None:
            constants.append(one)
            continue
        node = one.producer()
        if node is None or not node.inputs or not _is_arithmetic(node):
            return None
        waiting += [operand for operand in dict.fromkeys(node.inputs) if operand not in seen]
        seen.update(node.inputs)
    return max(constants, key=lambda one: one.const_value.nbytes, default=None)  # type: ignore[union-attr]


def _is_arithmetic(node: ir.Node) -> bool:
    """Whether a node is deterministic, works on floating-point numbers and holds no graph."""
    import onnx_ir as ir

    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    random = node.op_type.startswith("Random") or node.op_type in ("Bernoulli", "Dropout", "Multinomial")
    excluded = random or QUANTIZED.fullmatch(node.op_type)
    return not excluded and not any(attribute.type in graphs for attribute in node.attributes.values())


def _is_transpose(model: ir.Model, value: ir.Value, root: ir.Value) -> bool:
    node = value.producer()
    turned = node is not None and node.op_type == "Transpose" and node.inputs[0] is root and node.graph is model.graph
    return turned and len(root.shape or ()) == 2


def _fold(model: ir.Model, value: ir.Value) -> None:
    """Store the results of the nodes that compute a value, from the first one on, as far as that is possible."""
    waiting = [value.producer()]
    while waiting:
        node = waiting[-1]
        assert node is not None
        before = [one.producer() for one in node.inputs if one is not None and one.const_value is None]
        if before:
            waiting.append(before[0])
        elif _store(model, node):
            waiting.pop()
        else:
            return


def _store(model: ir.Model, node: ir.Node) -> bool:
    """Replace a node's results by constants; returns whether that was possible."""
    import onnx_ir as ir

    if node.op_type not in FOLDED or node.domain:
        return False
    compute = _computation(model, node)
    try:
        results = compute()
    except Exception:  # noqa: BLE001  (an operator of the reference may raise anything: the weight is reported as not quantized)
        return False
    for index, (output, result) in enumerate(zip(node.outputs, results, strict=True)):
        dtype, shape, name = ir.DataType.from_numpy(result.dtype), ir.Shape(result.shape), _name(model, node, output)

        def computed(index: int = index, name: str = name) -> ir.TensorProtocol:
            return ir.Tensor(np.ascontiguousarray(compute()[index]), name=name)

        tensor = ir.LazyTensor(computed, dtype=dtype, shape=shape, name=name)
        stored = ir.Value(name=name, shape=shape, type=ir.TensorType(dtype), const_value=tensor)
        model.graph.register_initializer(stored)
        output.replace_all_uses_with(stored)
    return True


def _computation(model: ir.Model, node: ir.Node) -> Callable[[], list[NDArray[Any]]]:
    """A function that computes a node without its graph."""
    import onnx_ir as ir
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(ir.to_proto(node), opsets=dict(model.graph.opset_imports))
    sources = {value.name or "": value.const_value for value in node.inputs if value is not None}

    def compute() -> list[NDArray[Any]]:
        feeds = {name: tensor.numpy() for name, tensor in sources.items() if tensor is not None}
        if node.op_type in COMPUTING and _broadcasts_larger(*feeds.values()):
            raise ValueError("operands broadcast to a larger shape")
        return [np.asarray(result) for result in evaluator.run(None, feeds)]

    return compute


def _broadcasts_larger(*operands: NDArray[Any]) -> bool:
    """Whether a result is larger than each operand: two vectors may broadcast to a matrix of any size."""
    shape = np.broadcast_shapes(*(operand.shape for operand in operands))
    return math.prod(shape) > max(operand.size for operand in operands)


def _name(model: ir.Model, node: ir.Node, output: ir.Value) -> str:
    """A name for the result: that of its source if nothing else reads the source."""
    source = origin(output)
    assert source is not None
    if len(source.uses()) == len(node.outputs) == 1 and not source.is_graph_output():
        model.graph.initializers.pop(source.name or "", None)
        return source.name or ""
    return f"{source.name}/{output.name}"
