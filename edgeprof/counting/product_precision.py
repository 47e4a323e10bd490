"""The type that the products of a graph multiply, by its usual short name: fp32, fp16, bf16, int8, int4, a16w8."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from edgeprof.counting import flatten, macs
from edgeprof.counting.contrib_shapes import MS
from edgeprof.counting.weights import StoredWeights

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
"""From the narrowest: a weight that is stored in one type and unpacked into a wider one is named after the former."""
FP32 = "fp32"
WIDE_INTEGERS = {4, 5}  # TensorProto: UINT16, INT16
QUANTIZE = {"QuantizeLinear", MS + "QuantizeLinear"}
DEQUANTIZE = {"DequantizeLinear", MS + "DequantizeLinear"}
TYPED_BY = {**dict.fromkeys(DEQUANTIZE, 1), MS + "GatherBlockQuantized": 2}
"""The input whose type the result has, if it is not the first: scales."""
IN_BLOCKS = {MS + "MatMulNBits": "bits", MS + "MatMulBnb4": "bits", MS + "QMoE": "expert_weight_bits"}


def precision(model: onnx.ModelProto) -> str:
    """The type that most weights are multiplied in; without any product, the type of most stored bytes."""
    types = _ProductTypes(model)
    multiplied = Counter[str]()
    for node in types.flat.node:
        if node.operator in macs.MACS:
            word, values = types.of(node)
            multiplied[word] += values
    if multiplied:
        return multiplied.most_common(1)[0][0]
    stored = Counter[str]()
    for name, tensor in types.weights.stored.items():
        if types.weights.parameters[name]:
            stored[WORDS.get(tensor.dtype, FP32)] += tensor.nbytes
    return stored.most_common(1)[0][0] if stored else FP32


class _ProductTypes:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.flat = flatten.everything(model.graph)
        self.weights = StoredWeights(self.flat)
        self.producers = {name: node for node in self.flat.node for name in node.output}
        self.input_types = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}

    def of(self, node: Node) -> tuple[str, int]:
        """The type that a product multiplies in, and the number of weights among its operands."""
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
        """Types of the weights that a tensor is computed from, and its own."""
        origins = [origin for origin in self.weights.origins(name) if self.weights.parameters.get(origin)]
        types = [self.weights.stored[origin].dtype for origin in origins] + [self._dtype(name)]
        return [word for one in types if (word := WORDS.get(one, "")) in NARROW]

    def _dtype(self, name: str) -> int:
        """Element type of a tensor, or of the nearest one before it whose type the file states; 0 if there is none."""
        seen: set[str] = set()
        while name not in seen:
            seen.add(name)
            node = self.producers.get(name)
            if name in self.weights.stored:
                return self.weights.stored[name].dtype
            if node is None:
                return int(self.input_types.get(name, 0))
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
            producer = self.producers.get(name)
            if producer is not None and producer.operator in DEQUANTIZE:
                return self._dtype(producer.input[0]) in WIDE_INTEGERS
        return False
