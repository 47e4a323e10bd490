"""What operators are for: the table of classes, and which matmuls multiply in which numbers.

Names are those of the graph that onnxruntime runs, fused operators among them; it does not tell domains.
"""

import statistics
from collections.abc import Iterable, Iterator

from edgeprof.schema import MatrixTime, OperatorPass, OperatorReading

MATMUL = "matmul"
ATTENTION = "attention"
CONVERSION = "quantize/dequantize/cast"
NORMALIZATION = "normalization/activation"
MOVEMENT = "data movement"
OTHER = "other"

INTEGER = (
    *("MatMulInteger", "MatMulIntegerToFloat", "MatMulInteger16", "DynamicQuantizeMatMul", "QLinearMatMul", "QGemm"),
    *("ConvInteger", "QLinearConv"),
)
PACKED = ("MatMulNBits", "MatMulBnb4", "MatMulFpQ4")  # weights are unpacked within the kernel

CLASSES: dict[str, tuple[str, ...]] = {
    MATMUL: (
        *("MatMul", "Gemm", "FusedMatMul", "FusedGemm", "GemmFastGelu", "MatMulNBits", "MatMulBnb4", "MatMulFpQ4"),
        *("Conv", "FusedConv", "Einsum", "QMoE", "MoE", *INTEGER),
    ),
    ATTENTION: (
        *("Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention", "PackedAttention"),
        *("DecoderMaskedMultiHeadAttention", "DecoderMaskedSelfAttention", "RotaryEmbedding", "SparseAttention"),
    ),
    CONVERSION: ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast", "CastLike"),
    NORMALIZATION: (
        *("LayerNormalization", "SkipLayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization"),
        *("SkipSimplifiedLayerNormalization", "EmbedLayerNormalization", "BatchNormalization", "GroupNormalization"),
        *("Gelu", "FastGelu", "BiasGelu", "QuickGelu", "Erf", "Tanh", "Relu", "Sigmoid", "Swish", "Softmax"),
        *("BiasSoftmax", "QLinearSoftmax", "QLinearSigmoid"),
    ),
    MOVEMENT: (
        *("Concat", "Gather", "GatherND", "GatherElements", "GatherBlockQuantized", "Transpose", "Reshape", "Flatten"),
        *("Split", "Slice", "Squeeze", "Unsqueeze", "Expand", "Tile", "Pad", "Where", "ScatterND", "Identity"),
        *("Shape", "Range", "ConstantOfShape", "QLinearConcat", "MemcpyFromHost", "MemcpyToHost"),
    ),
}
"""Operators of no class are OTHER: sums, products, comparisons."""

_CLASS = {operator: name for name, operators in CLASSES.items() for operator in operators}
NAMES = (*CLASSES, OTHER)


def class_of(operator: str) -> str:
    return _CLASS.get(operator, OTHER)


def class_times(reading: OperatorReading) -> dict[str, float]:
    """Seconds of each class in one run, in the order of NAMES; a class that has no operator takes none."""
    times = dict.fromkeys(NAMES, 0.0)
    for one in reading.operators:
        times[class_of(one.operator)] += one.time_s
    return times


def explained(reading: OperatorReading) -> float | None:
    """The sum of operator times over an unprofiled run of the same process; None where that took no time."""
    plain_s = statistics.median(reading.latencies_s) if reading.latencies_s else 0.0
    return sum(one.time_s for one in reading.operators) / plain_s if plain_s else None


def weight_products(reading: OperatorReading) -> list[MatrixTime]:
    """The matmuls with a weight; those of activations with each other are attention in parts."""
    return [one for one in reading.matrices if one.second != "activation"]


def in_fp32(products: Iterable[MatrixTime]) -> list[MatrixTime]:
    """Those that multiply in fp32, by a weight that is stored so or is made so in the run."""
    return [one for one in products if one.dtype == "float" and one.operator not in (*INTEGER, *PACKED)]


def ok(passes: Iterable[OperatorPass]) -> Iterator[tuple[OperatorPass, OperatorReading]]:
    for one in passes:
        if one.outcome.status == "ok" and one.outcome.reading is not None:
            yield one, one.outcome.reading
