"""Graphs with QuantizeLinear and DequantizeLinear (QDQ): tensors that onnxruntime never allocates, and weights that it
unpacks in every run.

When onnxruntime loads such a graph, it lets operators work on the integers: then neither their inputs nor their result
exist in floating point. Where it does not, even a weight is dequantized in every run, as DequantizeLinear is never
folded. Observed in onnxruntime 1.32 on graphs of its own quantizers, with activations in unsigned 8 bits and in 16
bits. Not modelled: with signed activations some products stay as they are, and where all sizes are fixed in the file,
products of more than two dimensions are fused with their bias as well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeprof.counting.flatten import Flat, Node
    from edgeprof.counting.tensors import Tensor

EIGHT_BITS = {2, 3}  # TensorProto: UINT8, INT8
MOVING = {"Flatten", "Gather", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
"""Their outputs are numbers of their inputs, of any width."""
ARITHMETIC = {"Add", "AveragePool", "Concat", "Conv", "GlobalAveragePool", "LeakyRelu", "Mul", "Sigmoid", "Softmax"}
"""Work on 8-bit integers if their result is quantized again."""
PRODUCTS = {"Gemm", "MatMul"}
"""Work on 8-bit integers whether their result is quantized or not."""


def absorbed(graph: Flat, tensors: Mapping[str, Tensor], constants: Collection[str]) -> dict[str, int]:
    """Floating-point tensors that are never allocated, each with the index of the last node that would read it."""
    return _Absorption(graph, tensors, constants).tensors_and_readers()


def unpacked(graph: Flat, constants: Collection[str], never: Collection[str]) -> set[str]:
    """Those of `constants` that are computed in every run: dequantized weights, and what is computed from them.

    Args:
        never: tensors that are never allocated.
    """
    names: set[str] = set()
    for node in graph.node:
        if node.output[0] not in constants or node.output[0] in never:
            continue
        if node.op_type == "DequantizeLinear" or names.intersection(node.input):
            names.update(node.output)
    return names


class _Absorption:
    def __init__(self, graph: Flat, tensors: Mapping[str, Tensor], constants: Collection[str]) -> None:
        self.graph, self.tensors, self.constants = graph, tensors, constants
        self.outputs = {value.name for value in graph.output}
        self.readers: dict[str, list[int]] = {}
        for index, node in enumerate(graph.node):
            for name in node.input:
                self.readers.setdefault(name, []).append(index)
        self.integers = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}

    def tensors_and_readers(self) -> dict[str, int]:
        nodes = self.graph.node
        whole = {index for index, node in enumerate(nodes) if self._on_integers(node)}
        weights = {index for index, node in enumerate(nodes) if self._unpacks_itself(node)}
        either = whole | weights
        last_readers = {}
        for name, source in self.integers.items():
            readers = self.readers.get(name, [])
            accepting = either if source in self.constants else whole
            if readers and name not in self.outputs and accepting.issuperset(readers):
                last_readers[name] = max(readers)
        for index in whole:
            if self._is_quantized(result := nodes[index].output[0]):
                last_readers[result] = self.readers[result][0]
        return last_readers

    def _on_integers(self, node: Node) -> bool:
        if node.op_type in MOVING:
            return node.input[0] in self.integers and self._is_quantized(node.output[0])
        if node.op_type not in ARITHMETIC | PRODUCTS or not all(name in self.integers for name in node.input if name):
            return False
        if not all(self._is_narrow(name) for name in node.input[:2]):
            return False
        return self._is_quantized(node.output[0]) or (node.op_type in PRODUCTS and not self._becomes_gemm(node))

    def _unpacks_itself(self, node: Node) -> bool:
        """Whether it is a floating-point product with a quantized weight (MatMulNBits)."""
        if node.op_type != "MatMul" or self._becomes_gemm(node):
            return False
        return self.integers.get(node.input[1], "") in self.constants and node.input[0] not in self.constants

    def _becomes_gemm(self, node: Node) -> bool:
        """Whether a product of two matrices and the addition of a bias are fused, before QDQ is, to a Gemm with a
        floating-point bias, which is then computed in floating point."""
        readers = self.readers.get(node.output[0], [])
        read_by_add = len(readers) == 1 and self.graph.node[readers[0]].op_type == "Add"
        fused = node.op_type == "MatMul" and read_by_add and node.output[0] not in self.outputs
        return fused and all(self._is_matrix(name) for name in node.input)

    def _is_matrix(self, name: str) -> bool:
        tensor = self.tensors.get(name)
        return tensor is not None and tensor.shape is not None and len(tensor.shape) == 2

    def _is_narrow(self, name: str) -> bool:
        source = self.tensors.get(self.integers[name])
        return source is not None and source.dtype in EIGHT_BITS

    def _is_quantized(self, name: str) -> bool:
        readers = self.readers.get(name, [])
        return name not in self.outputs and [self.graph.node[index].op_type for index in readers] == ["QuantizeLinear"]
