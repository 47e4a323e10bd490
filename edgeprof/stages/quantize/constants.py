"""Weights that are computed from constants: what stands between a stored tensor and a product is worked out beforehand.

A matrix behind Reshape, Cast or Split is as constant as any other, but quantizers look for stored tensors only. The
arithmetic is that of onnx's reference implementation. Nothing is kept in memory: a result is computed once to learn its
shape, and again when it is quantized or written.
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
"""Operators of integers: onnx's and onnxruntime's."""

PRODUCTS = ("MatMul", "Gemm", "Einsum", "Conv", "ConvTranspose", "FusedMatMul", "FusedGemm", "Attention")

MOVING = ("Cast", "Concat", "Flatten", "Identity", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Transpose")
COMPUTING = ("Abs", "Add", "Div", "Mul", "Neg", "Pow", "Reciprocal", "ReduceL2", "ReduceSum", "Sqrt", "Sub")
FOLDED = {*MOVING, *COMPUTING, "Unsqueeze"}
"""Operators that give no more numbers than they read, as long as their operands do not stretch each other."""


def fold_weights(model: ir.Model, *, shared: bool) -> None:
    """Store what products multiply by, where it is computed from constants.

    What cannot be worked out beforehand stays. A tensor that something else reads as well would be stored twice: it is
    left alone unless `shared`. A mere transpose is left to `graph.fold_weight_transposes`, which knows what is tied.
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
    """The largest of the constants that a value is computed from, or is; None if it depends on anything else."""
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
    """Whether a node gives the same for the same in every run, in the same numbers, and holds no graph."""
    import onnx_ir as ir

    graphs = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    chance = node.op_type.startswith("Random") or node.op_type in ("Bernoulli", "Dropout", "Multinomial")
    others = chance or QUANTIZED.fullmatch(node.op_type)
    return not others and not any(attribute.type in graphs for attribute in node.attributes.values())


def _is_transpose(model: ir.Model, value: ir.Value, root: ir.Value) -> bool:
    node = value.producer()
    turned = node is not None and node.op_type == "Transpose" and node.inputs[0] is root and node.graph is model.graph
    return turned and len(root.shape or ()) == 2


def _fold(model: ir.Model, value: ir.Value) -> None:
    """Store the results of the nodes that a value is computed by, the first ones first, as far as that can be done."""
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
    """Put constants in the place of a node's results; whether it could be done."""
    import onnx_ir as ir

    if node.op_type not in FOLDED or node.domain:
        return False
    compute = _computation(model, node)
    try:
        results = compute()
    except Exception:  # noqa: BLE001  (whatever an operator of the reference raises: the weight is named as left)
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
    """What a node computes, by a function that does not need the graph any more."""
    import onnx_ir as ir
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(ir.to_proto(node), opsets=dict(model.graph.opset_imports))
    sources = {value.name or "": value.const_value for value in node.inputs if value is not None}

    def compute() -> list[NDArray[Any]]:
        feeds = {name: tensor.numpy() for name, tensor in sources.items() if tensor is not None}
        if node.op_type in COMPUTING and _stretches(*feeds.values()):
            raise ValueError("operands stretch each other")
        return [np.asarray(result) for result in evaluator.run(None, feeds)]

    return compute


def _stretches(*operands: NDArray[Any]) -> bool:
    """Whether a result has more numbers than each operand: two vectors could make a matrix of any size."""
    together = np.broadcast_shapes(*(operand.shape for operand in operands))
    return math.prod(together) > max(operand.size for operand in operands)


def _name(model: ir.Model, node: ir.Node, output: ir.Value) -> str:
    """That of the tensor it was computed from, if nothing else reads that."""
    source = origin(output)
    assert source is not None
    if len(source.uses()) == len(node.outputs) == 1 and not source.is_graph_output():
        model.graph.initializers.pop(source.name or "", None)
        return source.name or ""
    return f"{source.name}/{output.name}"
