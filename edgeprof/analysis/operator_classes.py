"""Operators by purpose: the table of classes, and the number format in which matmuls multiply.

Names are those of the graph that onnxruntime runs, fused operators included; it does not report their domains.
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
"""Operators in none of these classes are OTHER: sums, products, comparisons."""

_CLASS = {operator: name for name, operators in CLASSES.items() for operator in operators}
NAMES = (*CLASSES, OTHER)


def class_of(operator: str) -> str:
    return _CLASS.get(operator, OTHER)


def class_times(reading: OperatorReading) -> dict[str, float]:
    """Seconds of each class in one run, in the order of NAMES; 0 for a class without operators."""
    times = dict.fromkeys(NAMES, 0.0)
    for kind in reading.operators:
        times[class_of(kind.operator)] += kind.time_s
    return times


def explained_share(reading: OperatorReading) -> float | None:
    """Sum of operator times over the latency of an unprofiled run of the same process; None without such a run."""
    plain_s = statistics.median(reading.latencies_s) if reading.latencies_s else 0.0
    return sum(kind.time_s for kind in reading.operators) / plain_s if plain_s else None


def weight_products(reading: OperatorReading) -> list[MatrixTime]:
    """Matmuls with a weight; products of two activations belong to attention."""
    return [product for product in reading.matrices if product.second != "activation"]


def in_fp32(products: Iterable[MatrixTime]) -> list[MatrixTime]:
    """Products that multiply in fp32, by a weight stored in fp32 or dequantized in every run."""
    return [each for each in products if each.dtype == "float" and each.operator not in (*INTEGER, *PACKED)]


def successful(passes: Iterable[OperatorPass]) -> Iterator[tuple[OperatorPass, OperatorReading]]:
    """Passes that succeeded, each with its reading."""
    for profiled in passes:
        if profiled.outcome.status == "ok" and profiled.outcome.reading is not None:
            yield profiled, profiled.outcome.reading
