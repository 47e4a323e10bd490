"""Which matmuls with constant weights an ONNX file computes in fp32, whatever made it. Weights are not read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

FLOATING = ("MatMul", "Gemm", "FusedMatMul")
MOVING = ("Transpose", "Reshape", "Identity", "Squeeze", "Unsqueeze")  # the same numbers, elsewhere
UNPACKING = ("DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear", "Cast")  # numbers made anew in every run


@dataclass(frozen=True)
class Left:
    """Weight matmuls that are not multiplied in the form they are stored in; bytes as fp32 would take."""

    fp32: int
    fp32_bytes: int
    unpacked: int  # stored quantized, and turned into other numbers in every run
    unpacked_bytes: int

    def __str__(self) -> str:
        parts = [
            f"{count} {what} ({size / 1e6:.1f} MB)"
            for count, what, size in (
                (self.fp32, "in fp32", self.fp32_bytes),
                (self.unpacked, "unpacked in every run", self.unpacked_bytes),
            )
            if count
        ]
        return ", ".join(parts) or "none"


def weights_left(path: Path) -> Left:
    graph = onnx.load(path, load_external_data=False).graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    result = list(_matmuls(graph, weights, makers))
    fp32 = [4 * prod(weight.dims) for kind, weight in result if kind == "fp32"]
    unpacked = [4 * prod(weight.dims) for kind, weight in result if kind == "unpacked"]
    return Left(len(fp32), sum(fp32), len(unpacked), sum(unpacked))


def _matmuls(
    graph: GraphProto, weights: dict[str, TensorProto], makers: dict[str, NodeProto]
) -> Iterator[tuple[str, TensorProto]]:
    """ "fp32" or "unpacked", and the weight, of every matmul that is not computed from what is stored."""
    for node in graph.node:
        if node.op_type not in (*FLOATING, "MatMulInteger"):
            continue
        weight, unpacked = _source(node.input[1], weights, makers)
        if weight is None:
            continue
        # Where the other side comes out of a DequantizeLinear too, onnxruntime multiplies integers.
        if unpacked and not (node.op_type in FLOATING and _dequantized(node.input[0], makers)):
            yield "unpacked", weight
        elif not unpacked and weight.data_type == onnx.TensorProto.FLOAT:
            yield "fp32", weight


def _source(
    name: str, weights: dict[str, TensorProto], makers: dict[str, NodeProto]
) -> tuple[TensorProto | None, bool]:
    """The constant that a value is made of alone, and whether its numbers are made anew on the way."""
    unpacked = False
    while name not in weights:
        node = makers.get(name)
        if node is None or node.op_type not in (*MOVING, *UNPACKING):
            return None, unpacked
        unpacked = unpacked or node.op_type in UNPACKING
        name = node.input[0]
    return weights[name], unpacked


def _dequantized(name: str, makers: dict[str, NodeProto]) -> bool:
    node = makers.get(name)
    while node is not None and node.op_type in MOVING:
        node = makers.get(node.input[0])
    return node is not None and node.op_type == "DequantizeLinear"
