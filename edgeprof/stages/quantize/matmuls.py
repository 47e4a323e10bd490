"""The multiplications by weights of a graph: what recipes are for, and what they are counted by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgeprof.schema import Left, Record
from edgeprof.stages import graph
from edgeprof.stages.quantize.constants import origin

if TYPE_CHECKING:
    import onnx_ir as ir

MULTIPLYING = {
    **dict.fromkeys(("MatMul", "Gemm", "FusedMatMul", "FusedGemm", "Einsum", "Attention"), (0, 1)),
    **dict.fromkeys(("LSTM", "GRU", "RNN"), (1, 2)),
    "MoE": (2, 4, 6),
}
"""Operators that multiply by matrices, and which of their inputs may be one."""

CONVOLVING = ("Conv", "ConvTranspose")

INNER = "it is in a branch or a loop, whose activations cannot be observed"


class Weight(Record, frozen=True, kw_only=True):
    """What is multiplied or convolved by, and what it means if a recipe does not reach it."""

    name: str  # of the initializer
    bytes: int
    obstacle: str = ""  # why no quantizer can take it; "" if any can

    def left(self, reason: str) -> Left:
        return Left(weight=self.name, bytes=self.bytes, reason=self.obstacle or reason)


def weight_matmuls(model: ir.Model) -> dict[str, Weight]:
    """Every multiplication by a constant matrix, by name of the matrix, wherever it stands in the graph."""
    found: dict[str, Weight] = {}
    for node in model.graph.all_nodes():
        for weight, obstacle in _weights(model, node):
            _keep(found, weight, obstacle)
    return found


def convolutions(model: ir.Model) -> dict[str, Weight]:
    """Every convolution with a constant kernel, by name of the kernel."""
    found: dict[str, Weight] = {}
    for node in model.graph.all_nodes():
        kernel = origin(node.inputs[1]) if node.op_type in CONVOLVING and node.domain == "" else None
        if kernel is not None:
            _keep(found, kernel, _kind(kernel) or ("" if node.graph is model.graph else INNER))
    return found


def _keep(found: dict[str, Weight], weight: ir.Value, obstacle: str) -> None:
    assert weight.const_value is not None
    name = weight.name or ""
    if obstacle or name not in found:
        found[name] = Weight(name=name, bytes=weight.const_value.nbytes, obstacle=obstacle)


def reachable(model: ir.Model, *, inner: bool = False) -> list[ir.Node]:
    """The nodes that multiply by a constant matrix, and that nothing keeps a quantizer from.

    Args:
        inner: also those in branches and bodies of loops, whose activations cannot be observed from outside.
    """
    allowed = {"", INNER} if inner else {""}
    return [node for node in model.graph.all_nodes() if any(why in allowed for _, why in _weights(model, node))]


def _weights(model: ir.Model, node: ir.Node) -> Iterator[tuple[ir.Value, str]]:
    """The constant matrices that a node multiplies by, and why a quantizer cannot take them."""
    for position in MULTIPLYING.get(node.op_type, ()):
        weight = origin(node.inputs[position]) if position < len(node.inputs) else None
        if weight is not None and is_matrix(weight.const_value):
            yield weight, _obstacle(model, node, position, weight)


def is_matrix(tensor: ir.TensorProtocol | None) -> bool:
    """Whether a constant holds numbers in two dimensions or more."""
    return tensor is not None and tensor.dtype.is_floating_point() and len(tensor.shape) >= 2


def _obstacle(model: ir.Model, node: ir.Node, position: int, weight: ir.Value) -> str:
    assert weight.const_value is not None
    shape, value = tuple(weight.const_value.shape.numpy()), node.inputs[position]
    assert value is not None
    producer = value.producer()
    if kind := _kind(weight):
        return kind
    if position == 0:
        return "it is multiplied from the left"
    if node.op_type == "Gemm":
        return gemm_obstacle(node)
    if node.op_type == "Einsum":
        return f"Einsum {node.attributes.get_string('equation', '')} is more than a matrix product"
    if node.op_type != "MatMul":
        return f"no quantizer takes {node.op_type}"
    if value is not weight and producer is not None and producer.op_type != "Transpose":
        return f"it is computed by {producer.op_type} in every run"
    if len(shape) != 2:
        return f"it has {len(shape)} dimensions"
    if 0 in shape:
        return "it is empty"
    return "" if node.graph is model.graph else INNER


def _kind(weight: ir.Value) -> str:
    import onnx_ir as ir

    return "" if weight.dtype == ir.DataType.FLOAT else f"it is {graph.specs([weight])[0].dtype}"


def gemm_obstacle(node: ir.Node) -> str:
    """Why a Gemm is no product with a matrix and a sum; "" if it is one."""
    for name, neutral in (("alpha", 1.0), ("beta", 1.0)):
        if (found := node.attributes.get_float(name, neutral)) != neutral:
            return f"Gemm with {name} {found:g} is more than a matrix product"
    return "Gemm multiplies by the transpose of its input" if node.attributes.get_int("transA", 0) else ""
