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

Found = Sequence[Any]  # the tensors of a node's inputs, None where one is missing or not known
Result = list[tuple[int, tuple[int, ...] | None] | None]
Rule = Callable[[Found, dict[str, Any]], Result]

UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a rule raises at a node that lacks inputs, attributes or shapes, or whose sizes do not fit together."""


TOTAL = "total_sequence_length"


def options(node: Node, values: Mapping[str, Any]) -> dict[str, Any]:
    """A node's attributes; of GroupQueryAttention also how many tokens there are in all, where its input 6 is known.

    The cache may have room for more: past and present are one buffer then.
    """
    told = node.attributes
    if node.operator == MS + "GroupQueryAttention" and len(node.input) > 6 and node.input[6] in values:
        return {**told, TOTAL: int(values[node.input[6]].reshape(-1)[0])}
    return told


def _known(*tensors: Any) -> bool:
    return all(tensor is not None and tensor.shape is not None for tensor in tensors)


def past_tokens(found: Found, at: int, axis: int) -> int:
    """Tokens in a KV cache: the size of an axis of an optional input."""
    past = found[at] if len(found) > at else None
    return int(past.shape[axis]) if past is not None and past.shape is not None else 0


def _like_first(found: Found, attributes: dict[str, Any]) -> Result:
    return [found[0]] if found and found[0] is not None else []


def _skip_norm(found: Found, attributes: dict[str, Any]) -> Result:
    """The norm, two statistics that are never made, and the sum it was taken of."""
    return [found[0], None, None, found[0]]


def _broadcast(first: int, second: int) -> Rule:
    def rule(found: Found, attributes: dict[str, Any]) -> Result:
        one, other = found[first], found[second]
        return [(one.dtype, np.broadcast_shapes(one.shape, other.shape))] if _known(one, other) else []

    return rule


def operand(shape: tuple[int, ...], attributes: dict[str, Any], which: str) -> tuple[int, ...]:
    """[batch..., rows, columns] of an operand, "A" or "B".

    transBatch: the batch stands between the other two, [x, batch..., y]; trans: x and y are columns and rows.
    """
    if len(shape) > 1 and attributes.get(f"transBatch{which}"):
        shape = (*shape[1:-1], shape[0], shape[-1])
    return (*shape[:-2], shape[-1], shape[-2]) if len(shape) > 1 and attributes.get(f"trans{which}") else shape


def matmul_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a product.

    Raises:
        ValueError: the shapes do not fit.
    """
    if a[-1] != b[-2 if len(b) > 1 else -1]:
        raise ValueError(f"{a} and {b} cannot be multiplied")
    rows, columns = a[-2:-1], b[-1:] if len(b) > 1 else ()
    return (*np.broadcast_shapes(a[:-2], b[:-2]), *rows, *columns)


def _product(a: int, b: int, dtype: int | None = FLOAT) -> Rule:
    def rule(found: Found, attributes: dict[str, Any]) -> Result:
        one, other = found[a], found[b]
        if not _known(one, other):
            return []
        shape = matmul_shape(operand(one.shape, attributes, "A"), operand(other.shape, attributes, "B"))
        return [(one.dtype if dtype is None else dtype, shape)]

    return rule


def _qgemm(found: Found, attributes: dict[str, Any]) -> Result:
    a, b = found[0], found[3]
    if not _known(a, b):
        return []
    quantized = len(found) > 7 and found[7] is not None
    shape = matmul_shape(operand(a.shape, attributes, "A"), operand(b.shape, attributes, "B"))
    return [(a.dtype if quantized else FLOAT, shape)]


def _matmul_nbits(found: Found, attributes: dict[str, Any]) -> Result:
    return [(found[0].dtype, (*found[0].shape[:-1], attributes["N"]))] if _known(found[0]) else []


def _gather_blocks(found: Found, attributes: dict[str, Any]) -> Result:
    data, indices, scales = found[:3]
    if not _known(data, indices, scales):
        return []
    unpacked = (*data.shape[:-1], data.shape[-1] * packing(data.dtype, attributes))
    axis = attributes.get("gather_axis", 0) % len(unpacked)
    return [(scales.dtype, (*unpacked[:axis], *indices.shape, *unpacked[axis + 1 :]))]


def packing(dtype: int, attributes: dict[str, Any], bits: str = "bits") -> int:
    """Weights in one element of a block-quantized tensor: two of 4 bits in a byte, else one.

    Args:
        bits: the attribute that has the bits of a weight.
    """
    return 8 // int(attributes.get(bits) or 4) if dtype == 2 else 1  # TensorProto.UINT8


def _embed_norm(found: Found, attributes: dict[str, Any]) -> Result:
    ids, words = found[0], found[2]
    if not _known(ids, words):
        return []
    hidden = (words.dtype, (*ids.shape, words.shape[-1]))
    return [hidden, (ids.dtype, ids.shape[:1]), hidden]


def _packed_attention(past_at: int, dtype: int | None = None) -> Rule:
    """Attention and QAttention: input [B, S, D], weight [D, q + k + v], past [2, B, heads, P, d]."""

    def rule(found: Found, attributes: dict[str, Any]) -> Result:
        x, weight = found[0], found[1]
        if not _known(x, weight):
            return []
        batch, tokens, _ = x.shape
        values = attributes.get("qkv_hidden_sizes", [weight.shape[-1] // 3] * 3)[2]
        heads = attributes["num_heads"]
        total = tokens + past_tokens(found, past_at, 3)
        made = x.dtype if dtype is None else dtype
        return [(made, (batch, tokens, values)), (made, (2, batch, heads, total, values // heads))]

    return rule


def _multi_head(found: Found, attributes: dict[str, Any]) -> Result:
    """query [B, S, D], key [B, L, D], value [B, L, Dv]; or packed in the query or the key; or key [B, heads, L, d]."""
    query, _, value = (*found, None, None)[:3]
    if not _known(query):
        return []
    heads, batch, tokens = attributes["num_heads"], query.shape[0], query.shape[1]
    if value is not None and value.shape is not None:
        width = value.shape[-1] if len(value.shape) == 3 else value.shape[1] * value.shape[3]
    else:
        width = heads * query.shape[-1] if len(query.shape) == 5 else query.shape[-1]
    length = keys_of_multi_head(found)
    if length is None:
        return [(query.dtype, (batch, tokens, width))]
    if len(found) > 8 and found[8] is not None:  # past and present are one buffer of fixed size
        return [(query.dtype, (batch, tokens, width)), tuple(found[6]), tuple(found[7])]
    size = query.shape[-1] if len(query.shape) == 5 else query.shape[-1] // heads
    keys, values = ((query.dtype, (batch, heads, length, each)) for each in (size, width // heads))
    return [(query.dtype, (batch, tokens, width)), keys, values]


def keys_of_multi_head(found: Found) -> int | None:
    """How many tokens a MultiHeadAttention looks at, past ones included."""
    query, key = (*found, None)[:2]
    before = past_tokens(found, 6, 2)
    if len(found) > 8 and found[8] is not None:  # new tokens are put into the buffer of the past
        return before
    if key is None:
        return query.shape[1] + before if len(query.shape) == 5 else None
    if key.shape is None:
        return None
    return int(key.shape[2] if len(key.shape) == 4 else key.shape[1]) + before


def _group_query(found: Found, attributes: dict[str, Any]) -> Result:
    """query [B, S, heads x d], or with keys and values packed behind it; past [B, kv_heads, P, d]."""
    query, key = found[0], found[1]
    if not _known(query):
        return []
    heads, kv_heads = attributes["num_heads"], attributes["kv_num_heads"]
    size = query.shape[-1] // (heads if key is not None else heads + 2 * kv_heads)
    batch, tokens = query.shape[:2]
    cached = past_tokens(found, 3, 2)
    total = max(cached, attributes[TOTAL]) if TOTAL in attributes else tokens + cached
    cache = (query.dtype, (batch, kv_heads, total, size))
    return [(query.dtype, (batch, tokens, heads * size)), cache, cache]


def _dequantized(found: Found, attributes: dict[str, Any]) -> Result:
    return [(found[1].dtype, found[0].shape)] if found[0] is not None and found[1] is not None else []


def _quantized(found: Found, attributes: dict[str, Any]) -> Result:
    zero_point = found[2] if len(found) > 2 else None
    return [(zero_point.dtype if zero_point is not None else 2, found[0].shape)] if found[0] is not None else []


def _convolution(weight_at: int = 1, *, channels_last: bool = False, weights_last: bool = False) -> Rule:
    """Sizes as in the standard's Conv. `weights_last`: kernels are [out, height, width, in], else [out, in, ...]."""

    def rule(found: Found, attributes: dict[str, Any]) -> Result:
        x, weight = found[0], found[weight_at]
        if not _known(x, weight):
            return []
        kernel = weight.shape[1:-1] if weights_last else weight.shape[2:]
        if channels_last or attributes.get("channels_last"):
            sizes = _places(x.shape[1:-1], kernel, attributes)
            return [(x.dtype, (x.shape[0], *sizes, weight.shape[0]))]
        return [(x.dtype, (x.shape[0], weight.shape[0], *_places(x.shape[2:], kernel, attributes)))]

    return rule


def _places(sizes: tuple[int, ...], kernel: tuple[int, ...], attributes: dict[str, Any]) -> list[int]:
    """Where a kernel can be put, on each axis."""
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

    def rule(found: Found, attributes: dict[str, Any]) -> Result:
        x, kernel = found[0], attributes["kernel_shape"]
        if not _known(x):
            return []
        if channels_last or attributes.get("channels_last"):
            return [(x.dtype, (x.shape[0], *_places(x.shape[1:-1], kernel, attributes), x.shape[-1]))]
        return [(x.dtype, (*x.shape[:2], *_places(x.shape[2:], kernel, attributes)))]

    return rule


def _global_pool(found: Found, attributes: dict[str, Any]) -> Result:
    batch, *sizes = found[0].shape
    ones = [1] * (len(sizes) - 1)
    kept = (*ones, sizes[-1]) if attributes.get("channels_last") else (sizes[0], *ones)
    return [(found[0].dtype, (batch, *kept))]


def _reduction(found: Found, attributes: dict[str, Any]) -> Result:
    x = found[0]
    axes = {axis % len(x.shape) for axis in attributes.get("axes", range(len(x.shape)))}
    kept = 1 if attributes.get("keepdims", 1) else None
    sizes = [kept if axis in axes else size for axis, size in enumerate(x.shape)]
    return [(x.dtype, tuple(size for size in sizes if size is not None))]


def _concatenation(found: Found, attributes: dict[str, Any]) -> Result:
    """QLinearConcat: scale and zero point of the result, then tensor, scale and zero point of each part."""
    parts = found[2::3]
    if not _known(*parts):
        return []
    sizes = list(parts[0].shape)
    axis = attributes["axis"] % len(sizes)
    sizes[axis] = sum(part.shape[axis] for part in parts)
    return [(parts[0].dtype, tuple(sizes))]


def _selection(found: Found, attributes: dict[str, Any]) -> Result:
    """QLinearWhere: condition, then two tensors, each with scale and zero point."""
    condition, one, other = found[0], found[1], found[4]
    return [(one.dtype, np.broadcast_shapes(condition.shape, one.shape, other.shape))]


def _pairs(found: Found, attributes: dict[str, Any]) -> Result:
    """CDist: a distance for each row of one matrix and each of the other."""
    return [(found[0].dtype, (found[0].shape[0], found[1].shape[0]))]


def _halved(found: Found, attributes: dict[str, Any]) -> Result:
    """BiasSplitGelu: one half of the last axis gates the other."""
    return [(found[0].dtype, (*found[0].shape[:-1], found[0].shape[-1] // 2))]


def _skip_group_norm(found: Found, attributes: dict[str, Any]) -> Result:
    return [found[0], found[0]]


def _targets(found: Found, attributes: dict[str, Any]) -> Result:
    """LinearRegressor and SVMRegressor: a row of results for each row."""
    return [(FLOAT, (found[0].shape[0], attributes.get("targets", 1)))]


def _features(found: Found, attributes: dict[str, Any]) -> Result:
    """FeatureVectorizer: rows put side by side."""
    return [(FLOAT, (found[0].shape[0], sum(attributes["inputdimensions"])))]


def _as_floats(found: Found, attributes: dict[str, Any]) -> Result:
    return [(FLOAT, found[0].shape)]


def experts_packing(dtype: int, attributes: dict[str, Any], at: int) -> int:
    """Weights in one element of the first, second or third matrix of each expert of a QMoE."""
    own = f"fc{at}_expert_weight_bits"
    return packing(dtype, attributes, own if attributes.get(own) else "expert_weight_bits")


def _lstm(found: Found, attributes: dict[str, Any]) -> Result:
    """DynamicQuantizeLSTM: X [steps, batch, in], R [directions, hidden, 4 x hidden]."""
    x, recurrent = found[0], found[2]
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
"""What each operator's outputs are, in order; an output that is not told stays unknown."""
