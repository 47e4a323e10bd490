"""Output shapes of the operators that onnxruntime adds to the standard ones.

Inputs, attributes and outputs as in onnxruntime's docs/ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from edgeprof.counting.flatten import Node

FLOAT, INT32 = 1, 6  # TensorProto

Tensors = Sequence[Any]  # a node's input or output tensors, None where one is missing or not known
Result = list[tuple[int, tuple[int, ...] | None] | None]
Rule = Callable[[Tensors, dict[str, Any]], Result]

RULE_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Errors that a rule raises for a node without the inputs, attributes or shapes it needs, or with sizes that do not
match."""

TOTAL = "total_sequence_length"


def options(node: Node, values: Mapping[str, Any]) -> dict[str, Any]:
    """A node's attributes; of GroupQueryAttention also the total number of tokens, where its input 6 is known.

    The cache may be larger than that: past and present are then one buffer.
    """
    attributes = node.attributes
    if node.operator == MS + "GroupQueryAttention" and len(node.input) > 6 and node.input[6] in values:
        return {**attributes, TOTAL: int(values[node.input[6]].reshape(-1)[0])}
    return attributes


def _known(*tensors: Any) -> bool:
    return all(tensor is not None and tensor.shape is not None for tensor in tensors)


def past_tokens(ins: Tensors, at: int, axis: int) -> int:
    """Tokens in a KV cache: the size of an axis of an optional input."""
    past = ins[at] if len(ins) > at else None
    return int(past.shape[axis]) if past is not None and past.shape is not None else 0


def _like_first(ins: Tensors, attributes: dict[str, Any]) -> Result:
    return [ins[0]] if ins and ins[0] is not None else []


def _skip_norm(ins: Tensors, attributes: dict[str, Any]) -> Result:
    """The norm, two statistics that inference does not compute, and the sum that was normalized."""
    return [ins[0], None, None, ins[0]]


def _broadcast(first: int, second: int) -> Rule:
    def rule(ins: Tensors, attributes: dict[str, Any]) -> Result:
        one, other = ins[first], ins[second]
        return [(one.dtype, np.broadcast_shapes(one.shape, other.shape))] if _known(one, other) else []

    return rule


def operand(shape: tuple[int, ...], attributes: dict[str, Any], which: str) -> tuple[int, ...]:
    """[batch..., rows, columns] of an operand, "A" or "B".

    transBatch: the batch axes stand between the other two, [x, batch..., y]; trans: x and y are columns and rows.

    >>> operand((2, 5, 7), {"transB": 1}, "B")
    (2, 7, 5)
    """
    if len(shape) > 1 and attributes.get(f"transBatch{which}"):
        shape = (*shape[1:-1], shape[0], shape[-1])
    return (*shape[:-2], shape[-1], shape[-2]) if len(shape) > 1 and attributes.get(f"trans{which}") else shape


def matmul_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a matrix product.

    >>> matmul_shape((8, 3, 4), (4, 5))
    (8, 3, 5)

    Raises:
        ValueError: the shapes cannot be multiplied.
    """
    if a[-1] != b[-2 if len(b) > 1 else -1]:
        raise ValueError(f"{a} and {b} cannot be multiplied")
    rows, columns = a[-2:-1], b[-1:] if len(b) > 1 else ()
    return (*np.broadcast_shapes(a[:-2], b[:-2]), *rows, *columns)


def _product(a: int, b: int, dtype: int | None = FLOAT) -> Rule:
    def rule(ins: Tensors, attributes: dict[str, Any]) -> Result:
        one, other = ins[a], ins[b]
        if not _known(one, other):
            return []
        shape = matmul_shape(operand(one.shape, attributes, "A"), operand(other.shape, attributes, "B"))
        return [(one.dtype if dtype is None else dtype, shape)]

    return rule


def _qgemm(ins: Tensors, attributes: dict[str, Any]) -> Result:
    a, b = ins[0], ins[3]
    if not _known(a, b):
        return []
    quantized = len(ins) > 7 and ins[7] is not None
    shape = matmul_shape(operand(a.shape, attributes, "A"), operand(b.shape, attributes, "B"))
    return [(a.dtype if quantized else FLOAT, shape)]


def _matmul_nbits(ins: Tensors, attributes: dict[str, Any]) -> Result:
    return [(ins[0].dtype, (*ins[0].shape[:-1], attributes["N"]))] if _known(ins[0]) else []


def _gather_blocks(ins: Tensors, attributes: dict[str, Any]) -> Result:
    data, indices, scales = ins[:3]
    if not _known(data, indices, scales):
        return []
    unpacked = (*data.shape[:-1], data.shape[-1] * packing(data.dtype, attributes))
    axis = attributes.get("gather_axis", 0) % len(unpacked)
    return [(scales.dtype, (*unpacked[:axis], *indices.shape, *unpacked[axis + 1 :]))]


def packing(dtype: int, attributes: dict[str, Any], bits: str = "bits") -> int:
    """Weights in one element of a block-quantized tensor: two of 4 bits in a byte, else one.

    >>> packing(2, {"bits": 4}), packing(2, {"bits": 8})
    (2, 1)

    Args:
        bits: name of the attribute with the bits of a weight.
    """
    return 8 // int(attributes.get(bits) or 4) if dtype == 2 else 1  # TensorProto.UINT8


def _embed_norm(ins: Tensors, attributes: dict[str, Any]) -> Result:
    ids, words = ins[0], ins[2]
    if not _known(ids, words):
        return []
    hidden = (words.dtype, (*ids.shape, words.shape[-1]))
    return [hidden, (ids.dtype, ids.shape[:1]), hidden]


def _packed_attention(past_at: int, dtype: int | None = None) -> Rule:
    """Attention and QAttention: input [B, S, D], weight [D, q + k + v], past [2, B, heads, P, d]."""

    def rule(ins: Tensors, attributes: dict[str, Any]) -> Result:
        x, weight = ins[0], ins[1]
        if not _known(x, weight):
            return []
        batch, tokens, _ = x.shape
        values = attributes.get("qkv_hidden_sizes", [weight.shape[-1] // 3] * 3)[2]
        heads = attributes["num_heads"]
        total = tokens + past_tokens(ins, past_at, 3)
        result = x.dtype if dtype is None else dtype
        return [(result, (batch, tokens, values)), (result, (2, batch, heads, total, values // heads))]

    return rule


def _multi_head(ins: Tensors, attributes: dict[str, Any]) -> Result:
    """query [B, S, D], key [B, L, D], value [B, L, Dv]; or packed in the query or the key; or key [B, heads, L, d]."""
    query, _, value = (*ins, None, None)[:3]
    if not _known(query):
        return []
    heads, batch, tokens = attributes["num_heads"], query.shape[0], query.shape[1]
    if value is not None and value.shape is not None:
        width = value.shape[-1] if len(value.shape) == 3 else value.shape[1] * value.shape[3]
    else:
        width = heads * query.shape[-1] if len(query.shape) == 5 else query.shape[-1]
    length = keys_of_multi_head(ins)
    if length is None:
        return [(query.dtype, (batch, tokens, width))]
    if len(ins) > 8 and ins[8] is not None:  # past and present are one buffer of fixed size
        return [(query.dtype, (batch, tokens, width)), tuple(ins[6]), tuple(ins[7])]
    size = query.shape[-1] if len(query.shape) == 5 else query.shape[-1] // heads
    keys, values = ((query.dtype, (batch, heads, length, each)) for each in (size, width // heads))
    return [(query.dtype, (batch, tokens, width)), keys, values]


def keys_of_multi_head(ins: Tensors) -> int | None:
    """Number of tokens that a MultiHeadAttention attends to, past ones included; None where that is not known."""
    query, key = (*ins, None)[:2]
    before = past_tokens(ins, 6, 2)
    if len(ins) > 8 and ins[8] is not None:  # new tokens are written into the buffer of the past
        return before
    if key is None:
        return query.shape[1] + before if len(query.shape) == 5 else None
    if key.shape is None:
        return None
    return int(key.shape[2] if len(key.shape) == 4 else key.shape[1]) + before


def _group_query(ins: Tensors, attributes: dict[str, Any]) -> Result:
    """query [B, S, heads x d], or with keys and values packed behind it; past [B, kv_heads, P, d]."""
    query, key = ins[0], ins[1]
    if not _known(query):
        return []
    heads, kv_heads = attributes["num_heads"], attributes["kv_num_heads"]
    size = query.shape[-1] // (heads if key is not None else heads + 2 * kv_heads)
    batch, tokens = query.shape[:2]
    cached = past_tokens(ins, 3, 2)
    total = max(cached, attributes[TOTAL]) if TOTAL in attributes else tokens + cached
    cache = (query.dtype, (batch, kv_heads, total, size))
    return [(query.dtype, (batch, tokens, heads * size)), cache, cache]


def _dequantized(ins: Tensors, attributes: dict[str, Any]) -> Result:
    return [(ins[1].dtype, ins[0].shape)] if ins[0] is not None and ins[1] is not None else []


def _quantized(ins: Tensors, attributes: dict[str, Any]) -> Result:
    zero_point = ins[2] if len(ins) > 2 else None
    return [(zero_point.dtype if zero_point is not None else 2, ins[0].shape)] if ins[0] is not None else []


def _convolution(weight_at: int = 1, *, channels_last: bool = False, weights_last: bool = False) -> Rule:
    """Sizes as in the standard's Conv. `weights_last`: kernels are [out, height, width, in], else [out, in, ...]."""

    def rule(ins: Tensors, attributes: dict[str, Any]) -> Result:
        x, weight = ins[0], ins[weight_at]
        if not _known(x, weight):
            return []
        kernel = weight.shape[1:-1] if weights_last else weight.shape[2:]
        if channels_last or attributes.get("channels_last"):
            sizes = _positions(x.shape[1:-1], kernel, attributes)
            return [(x.dtype, (x.shape[0], *sizes, weight.shape[0]))]
        return [(x.dtype, (x.shape[0], weight.shape[0], *_positions(x.shape[2:], kernel, attributes)))]

    return rule


def _positions(sizes: tuple[int, ...], kernel: tuple[int, ...], attributes: dict[str, Any]) -> list[int]:
    """Number of positions of a kernel along each axis."""
    rank = len(kernel)
    strides, dilations = attributes.get("strides", [1] * rank), attributes.get("dilations", [1] * rank)
    if attributes.get("auto_pad", "NOTSET").startswith("SAME"):
        return [-(-size // stride) for size, stride in zip(sizes, strides, strict=True)]
    pads = attributes.get("pads") or [0] * 2 * rank
    return [
        (sizes[axis] + pads[axis] + pads[rank + axis] - dilations[axis] * (kernel[axis] - 1) - 1) // strides[axis] + 1
        for axis in range(rank)
    ]


def _pool(*, channels_last: bool = False) -> Rule:
    """NhwcMaxPool and QLinearAveragePool: windows over the axes between batch and channels."""

    def rule(ins: Tensors, attributes: dict[str, Any]) -> Result:
        x, kernel = ins[0], attributes["kernel_shape"]
        if not _known(x):
            return []
        if channels_last or attributes.get("channels_last"):
            return [(x.dtype, (x.shape[0], *_positions(x.shape[1:-1], kernel, attributes), x.shape[-1]))]
        return [(x.dtype, (*x.shape[:2], *_positions(x.shape[2:], kernel, attributes)))]

    return rule


def _global_pool(ins: Tensors, attributes: dict[str, Any]) -> Result:
    batch, *sizes = ins[0].shape
    ones = [1] * (len(sizes) - 1)
    kept = (*ones, sizes[-1]) if attributes.get("channels_last") else (sizes[0], *ones)
    return [(ins[0].dtype, (batch, *kept))]


def _reduction(ins: Tensors, attributes: dict[str, Any]) -> Result:
    x = ins[0]
    axes = {axis % len(x.shape) for axis in attributes.get("axes", range(len(x.shape)))}
    kept = 1 if attributes.get("keepdims", 1) else None
    sizes = [kept if axis in axes else size for axis, size in enumerate(x.shape)]
    return [(x.dtype, tuple(size for size in sizes if size is not None))]


def _concatenation(ins: Tensors, attributes: dict[str, Any]) -> Result:
    """QLinearConcat: scale and zero point of the result, then the tensor, scale and zero point of each part."""
    parts = ins[2::3]
    if not _known(*parts):
        return []
    sizes = list(parts[0].shape)
    axis = attributes["axis"] % len(sizes)
    sizes[axis] = sum(part.shape[axis] for part in parts)
    return [(parts[0].dtype, tuple(sizes))]


def _selection(ins: Tensors, attributes: dict[str, Any]) -> Result:
    """QLinearWhere: condition, then two tensors, each with scale and zero point."""
    condition, one, other = ins[0], ins[1], ins[4]
    return [(one.dtype, np.broadcast_shapes(condition.shape, one.shape, other.shape))]


def _pairs(ins: Tensors, attributes: dict[str, Any]) -> Result:
    """CDist: a distance for each row of one matrix and each of the other."""
    return [(ins[0].dtype, (ins[0].shape[0], ins[1].shape[0]))]


def _halved(ins: Tensors, attributes: dict[str, Any]) -> Result:
    """BiasSplitGelu: one half of the last axis gates the other."""
    return [(ins[0].dtype, (*ins[0].shape[:-1], ins[0].shape[-1] // 2))]


def _skip_group_norm(ins: Tensors, attributes: dict[str, Any]) -> Result:
    return [ins[0], ins[0]]


def _targets(ins: Tensors, attributes: dict[str, Any]) -> Result:
    """LinearRegressor and SVMRegressor: a row of results for each row."""
    return [(FLOAT, (ins[0].shape[0], attributes.get("targets", 1)))]


def _features(ins: Tensors, attributes: dict[str, Any]) -> Result:
    """FeatureVectorizer: rows concatenated."""
    return [(FLOAT, (ins[0].shape[0], sum(attributes["inputdimensions"])))]


def _as_floats(ins: Tensors, attributes: dict[str, Any]) -> Result:
    return [(FLOAT, ins[0].shape)]


def experts_packing(dtype: int, attributes: dict[str, Any], at: int) -> int:
    """Weights in one element of the first, second or third matrix (`at`) of each expert of a QMoE."""
    own = f"fc{at}_expert_weight_bits"
    return packing(dtype, attributes, own if attributes.get(own) else "expert_weight_bits")


def _lstm(ins: Tensors, attributes: dict[str, Any]) -> Result:
    """DynamicQuantizeLSTM: X [steps, batch, in], R [directions, hidden, 4 x hidden]."""
    x, recurrent = ins[0], ins[2]
    if not _known(x, recurrent):
        return []
    (steps, batch, _), (directions, hidden, _) = x.shape, recurrent.shape
    state = (x.dtype, (directions, batch, hidden))
    return [(x.dtype, (steps, directions, batch, hidden)), state, state]


MS, ML = "com.microsoft::", "ai.onnx.ml::"
OUTPUTS: dict[str, Rule] = {
    "SimplifiedLayerNormalization": _like_first,
    **{
        MS + name: _like_first
        for name in (
            *("Gelu", "FastGelu", "BiasGelu", "QuickGelu", "BiasAdd", "RotaryEmbedding", "QLinearSigmoid"),
            *("QLinearLeakyRelu", "QLinearSoftmax", "SimplifiedLayerNormalization", "BiasSoftmax", "GroupNorm"),
            *("MoE", "QMoE", "Trilu", "Inverse", "ComplexMul", "ComplexMulConj", "SwiGLU", "GatedRMSNorm"),
            *("GemmaRotaryEmbedding", "BiasDropout", "ScaledSiLU", "GatedAdd", "QOrderedGelu"),
        )
    },
    MS + "SkipLayerNormalization": _skip_norm,
    MS + "SkipSimplifiedLayerNormalization": _skip_norm,
    MS + "EmbedLayerNormalization": _embed_norm,
    MS + "QLinearAdd": _broadcast(0, 3),
    MS + "QLinearMul": _broadcast(0, 3),
    MS + "FusedMatMul": _product(0, 1, None),
    MS + "TransposeMatMul": _product(0, 1, None),
    MS + "FusedGemm": _product(0, 1, None),
    MS + "GemmFastGelu": _product(0, 1, None),
    MS + "MatMulIntegerToFloat": _product(0, 1),
    MS + "DynamicQuantizeMatMul": _product(0, 1),
    MS + "QGemm": _qgemm,
    MS + "MatMulNBits": _matmul_nbits,
    MS + "GatherBlockQuantized": _gather_blocks,
    MS + "Attention": _packed_attention(past_at=4),
    MS + "QAttention": _packed_attention(past_at=8, dtype=FLOAT),
    MS + "MultiHeadAttention": _multi_head,
    MS + "GroupQueryAttention": _group_query,
    MS + "DequantizeLinear": _dequantized,
    MS + "QuantizeLinear": _quantized,
    MS + "MatMulBnb4": _matmul_nbits,
    MS + "FusedConv": _convolution(),
    MS + "NhwcConv": _convolution(channels_last=True, weights_last=True),
    MS + "NhwcFusedConv": _convolution(channels_last=True),
    MS + "QLinearConv": _convolution(3),
    MS + "DynamicQuantizeLSTM": _lstm,
    MS + "SparseAttention": _group_query,
    MS + "FusedMatMulActivation": _product(0, 1, None),
    MS + "MatMulInteger16": _product(0, 1, INT32),
    MS + "SparseToDenseMatMul": _product(0, 1, None),
    MS + "GemmFloat8": _product(0, 1),
    MS + "NhwcMaxPool": _pool(channels_last=True),
    MS + "QLinearAveragePool": _pool(),
    MS + "QLinearGlobalAveragePool": _global_pool,
    MS + "QLinearReduceMean": _reduction,
    MS + "ReduceSumInteger": _reduction,
    MS + "CDist": _pairs,
    MS + "QLinearConcat": _concatenation,
    MS + "QLinearWhere": _selection,
    MS + "BiasSplitGelu": _halved,
    MS + "SkipGroupNorm": _skip_group_norm,
    "GroupNormalization": _like_first,
    "MeanVarianceNormalization": _like_first,
    **{ML + name: _as_floats for name in ("Imputer", "Normalizer", "Scaler")},
    ML + "LinearRegressor": _targets,
    ML + "SVMRegressor": _targets,
    ML + "FeatureVectorizer": _features,
}
"""Element type and shape of each operator's outputs, in order; outputs that are not listed stay unknown."""
