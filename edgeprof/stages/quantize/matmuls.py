"""The multiplications by weights in a graph, which recipes quantize and receipts count."""

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
    """A matrix or kernel, and why no recipe can quantize it, if none can."""

    name: str  # of the initializer
    bytes: int
    obstacle: str = ""  # why no recipe can quantize it; "" if one can

    def left(self, reason: str) -> Left:
        return Left(weight=self.name, bytes=self.bytes, reason=self.obstacle or reason)


def weight_matmuls(model: ir.Model) -> dict[str, Weight]:
    """Constant matrices that the graph or its subgraphs multiply by, by name."""
    matrices: dict[str, Weight] = {}
    for node in model.graph.all_nodes():
        for weight, obstacle in _weights(model, node):
            _add(matrices, weight, obstacle)
    return matrices


def convolutions(model: ir.Model) -> dict[str, Weight]:
    """Constant kernels that the graph or its subgraphs convolve by, by name."""
    kernels: dict[str, Weight] = {}
    for node in model.graph.all_nodes():
        kernel = origin(node.inputs[1]) if node.op_type in CONVOLVING and node.domain == "" else None
        if kernel is not None:
            _add(kernels, kernel, _wrong_type(kernel) or ("" if node.graph is model.graph else INNER))
    return kernels


def _add(weights: dict[str, Weight], weight: ir.Value, obstacle: str) -> None:
    assert weight.const_value is not None
    name = weight.name or ""
    if obstacle or name not in weights:
        weights[name] = Weight(name=name, bytes=weight.const_value.nbytes, obstacle=obstacle)


def reachable(model: ir.Model, *, inner: bool = False) -> list[ir.Node]:
    """The nodes that multiply by a constant matrix that can be quantized.

    Args:
        inner: include those in branches and bodies of loops, whose activations cannot be observed from outside.
    """
    allowed = {"", INNER} if inner else {""}
    return [node for node in model.graph.all_nodes() if any(why in allowed for _, why in _weights(model, node))]


def _weights(model: ir.Model, node: ir.Node) -> Iterator[tuple[ir.Value, str]]:
    """The constant matrices that a node multiplies by, each with the reason why it cannot be quantized, or ""."""
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
    if reason := _wrong_type(weight):
        return reason
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


def _wrong_type(weight: ir.Value) -> str:
    import onnx_ir as ir

    return "" if weight.dtype == ir.DataType.FLOAT else f"it is {graph.specs([weight])[0].dtype}"


def gemm_obstacle(node: ir.Node) -> str:
    """Why a Gemm is not simply a matrix product and a sum; "" if it is."""
    for name in ("alpha", "beta"):
        if (factor := node.attributes.get_float(name, 1.0)) != 1.0:
            return f"Gemm with {name} {factor:g} is more than a matrix product"
    return "Gemm multiplies by the transpose of its input" if node.attributes.get_int("transA", 0) else ""
