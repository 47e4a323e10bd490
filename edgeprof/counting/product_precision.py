"""What the products of a graph multiply, in the field's short word: fp32, fp16, bf16, int8, int4, a16w8."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from edgeprof.counting import flatten, macs
from edgeprof.counting.contrib_shapes import MS
from edgeprof.counting.weights import Weights

if TYPE_CHECKING:
    import onnx

    from edgeprof.counting.flatten import Node

WORDS = {
    1: "fp32",
    10: "fp16",
    11: "fp64",
    16: "bf16",
    2: "int8",
    3: "int8",
    4: "int16",
    5: "int16",
    6: "int32",
    17: "fp8",
    18: "fp8",
    19: "fp8",
    20: "fp8",
    21: "int4",
    22: "int4",
    23: "fp4",
    25: "int2",
    26: "int2",
}
"""By number of TensorProto.DataType."""
NARROW = ("int2", "fp4", "int4", "fp8", "int8", "int16", "bf16", "fp16", "fp32", "fp64")
"""From the narrowest: what is stored narrow and made wide is called after what is stored."""
FP32 = "fp32"
WIDE_INTEGERS = {4, 5}  # TensorProto: UINT16, INT16
QUANTIZE = {"QuantizeLinear", MS + "QuantizeLinear"}
DEQUANTIZE = {"DequantizeLinear", MS + "DequantizeLinear"}
TYPED_BY = {**dict.fromkeys(DEQUANTIZE, 1), MS + "GatherBlockQuantized": 2}
"""The input whose type the result has, if it is not the first: scales."""
IN_BLOCKS = {MS + "MatMulNBits": "bits", MS + "MatMulBnb4": "bits", MS + "QMoE": "expert_weight_bits"}


def precision(model: onnx.ModelProto) -> str:
    """What most of the weights are multiplied as; without any product, what most of their bytes are stored as."""
    found = _Precision(model)
    weighed = Counter[str]()
    for node in found.flat.node:
        if node.operator in macs.MACS:
            word, values = found.of(node)
            weighed[word] += values
    if weighed:
        return weighed.most_common(1)[0][0]
    stored = Counter[str]()
    for name, tensor in found.weights.stored.items():
        if found.weights.parameters[name]:
            stored[WORDS.get(tensor.dtype, FP32)] += tensor.nbytes
    return stored.most_common(1)[0][0] if stored else FP32


class _Precision:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.flat = flatten.everything(model.graph)
        self.weights = Weights(self.flat)
        self.makers = {name: node for node in self.flat.node for name in node.output}
        self.given = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}

    def of(self, node: Node) -> tuple[str, int]:
        """What a product multiplies, and the weights among that."""
        operands = [name for name in self.weights.operands(node) if self.weights.values(name)]
        values = sum(map(self.weights.values, operands))
        if node.operator in IN_BLOCKS:
            return f"int{node.attributes.get(IN_BLOCKS[node.operator], 4)}", values
        words = [word for name in operands or node.input[:2] for word in self._words(name)]
        word = min(words, key=NARROW.index, default=FP32)
        if operands and word.startswith("int") and self._is_wide(node):
            return f"a16w{word.removeprefix('int')}", values
        return word, values

    def _words(self, name: str) -> list[str]:
        """Types of the numbers that a tensor is made of, and of its own."""
        origins = [origin for origin in self.weights.origins(name) if self.weights.parameters.get(origin)]
        types = [self.weights.stored[origin].dtype for origin in origins] + [self._dtype(name)]
        return [word for one in types if (word := WORDS.get(one, "")) in NARROW]

    def _dtype(self, name: str) -> int:
        """The element type of a tensor, from the nearest one before it whose type the file states; 0: none does."""
        seen: set[str] = set()
        while name not in seen:
            seen.add(name)
            node = self.makers.get(name)
            if name in self.weights.stored:
                return self.weights.stored[name].dtype
            if node is None:
                return int(self.given.get(name, 0))
            if node.operator == "Cast":
                return int(node.attributes.get("to", 0))
            if node.operator in QUANTIZE:
                return self._quantized(node)
            at = TYPED_BY.get(node.operator, 0)
            if len(node.input) <= at:
                return 0
            name = node.input[at]
        return 0

    def _quantized(self, node: Node) -> int:
        if len(node.input) > 2 and node.input[2]:
            return self._dtype(node.input[2])
        return int(node.attributes.get("output_dtype", 0)) or 2  # TensorProto.UINT8

    def _is_wide(self, node: Node) -> bool:
        """Whether the activations are integers of 16 bits."""
        for name in node.input[:1]:
            maker = self.makers.get(name)
            if maker is not None and maker.operator in DEQUANTIZE:
                return self._dtype(maker.input[0]) in WIDE_INTEGERS
        return False
