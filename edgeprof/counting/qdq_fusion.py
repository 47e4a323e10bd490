"""Graphs with QuantizeLinear and DequantizeLinear (QDQ): what onnxruntime never makes of them, and what it makes anew.

When it loads such a graph it lets operators work on the integers themselves: then neither their inputs nor their result
is ever a tensor of real numbers. Where it does not, even a weight is turned into real numbers in every run, as it folds
no DequantizeLinear. Seen in onnxruntime 1.32 on graphs of its own quantizers, with activations of 8 bits without sign
and of 16 bits. Not modelled: of activations with a sign it leaves some products as they are, and where all sizes are
fixed in the file it joins products of more than two dimensions with their bias too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeprof.counting.flatten import Flat, Node
    from edgeprof.counting.tensors import Tensor

EIGHT_BITS = {2, 3}  # TensorProto: UINT8, INT8
MOVING = {"Flatten", "Gather", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
"""What they take and give are the same numbers, of any width."""
ARITHMETIC = {"Add", "AveragePool", "Concat", "Conv", "GlobalAveragePool", "LeakyRelu", "Mul", "Sigmoid", "Softmax"}
"""On integers of 8 bits, if their result is quantized again."""
PRODUCTS = {"Gemm", "MatMul"}
"""On integers of 8 bits, whether their result is quantized or not."""


def absorbed(graph: Flat, tensors: Mapping[str, Tensor], constants: Collection[str]) -> dict[str, int]:
    """Tensors of real numbers that are never made, each with the index of the last node that would read it."""
    return _Absorbed(graph, tensors, constants).tensors_and_readers()


def unpacked(graph: Flat, constants: Collection[str], never: Collection[str]) -> set[str]:
    """Those of `constants` that are made anew in every run: dequantized weights, and what is made of them.

    Args:
        never: tensors that are not made at all.
    """
    found: set[str] = set()
    for node in graph.node:
        if node.output[0] not in constants or node.output[0] in never:
            continue
        if node.op_type == "DequantizeLinear" or found.intersection(node.input):
            found.update(node.output)
    return found


class _Absorbed:
    def __init__(self, graph: Flat, tensors: Mapping[str, Tensor], constants: Collection[str]) -> None:
        self.graph, self.tensors, self.constants = graph, tensors, constants
        self.kept = {value.name for value in graph.output}
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
        found = {}
        for name, source in self.integers.items():
            readers = self.readers.get(name, [])
            takers = either if source in self.constants else whole
            if readers and name not in self.kept and takers.issuperset(readers):
                found[name] = max(readers)
        for index in whole:
            if self._is_quantized(result := nodes[index].output[0]):
                found[result] = self.readers[result][0]
        return found

    def _on_integers(self, node: Node) -> bool:
        if node.op_type in MOVING:
            return node.input[0] in self.integers and self._is_quantized(node.output[0])
        if node.op_type not in ARITHMETIC | PRODUCTS or not all(name in self.integers for name in node.input if name):
            return False
        if not all(self._is_narrow(name) for name in node.input[:2]):
            return False
        return self._is_quantized(node.output[0]) or (node.op_type in PRODUCTS and not self._becomes_gemm(node))

    def _unpacks_itself(self, node: Node) -> bool:
        """A product of real numbers with a quantized weight (MatMulNBits)."""
        if node.op_type != "MatMul" or self._becomes_gemm(node):
            return False
        return self.integers.get(node.input[1], "") in self.constants and node.input[0] not in self.constants

    def _becomes_gemm(self, node: Node) -> bool:
        """A product of two matrices and the addition of a bias: joined before integers are looked for, to a Gemm whose
        bias is of real numbers, which is then computed on real numbers."""
        readers = self.readers.get(node.output[0], [])
        added = len(readers) == 1 and self.graph.node[readers[0]].op_type == "Add" and node.output[0] not in self.kept
        return node.op_type == "MatMul" and added and all(self._is_matrix(name) for name in node.input)

    def _is_matrix(self, name: str) -> bool:
        tensor = self.tensors.get(name)
        return tensor is not None and tensor.shape is not None and len(tensor.shape) == 2

    def _is_narrow(self, name: str) -> bool:
        source = self.tensors.get(self.integers[name])
        return source is not None and source.dtype in EIGHT_BITS

    def _is_quantized(self, name: str) -> bool:
        readers = self.readers.get(name, [])
        return name not in self.kept and [self.graph.node[index].op_type for index in readers] == ["QuantizeLinear"]
