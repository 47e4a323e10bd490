"""Multiply-accumulates of every operator: by a rule, or none; an operator in neither table is reported as not counted.

1 MAC = one multiplication and one addition = 2 FLOP. Norms, softmax, activations and biases are not counted, as is
usual (Kaplan et al. 2020); a causal mask saves nothing, as kernels compute as much with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from edgeprof.counting.contrib_shapes import (
    ML,
    MS,
    TOTAL,
    Tensors,
    experts_packing,
    keys_of_multi_head,
    operand,
    past_tokens,
)


class NotCountable(Exception):
    """Why a node's MACs are not known."""


Rule = Callable[[Tensors, Tensors, dict[str, Any]], int]
"""MACs from the input tensors, the output tensors and the attributes; raises RULE_ERRORS where a shape is missing."""


def _matmul(a: int = 0) -> Rule:
    """Every element of the product sums over the last dimension of the first operand."""

    def rule(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> int:
        return int(prod(outs[0].shape) * operand(ins[a].shape, attributes, "A")[-1])

    return rule


def _matmul_nbits(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> int:
    return int(prod(outs[0].shape) * attributes["K"])


def _convolution(weight: int) -> Rule:
    """Every element of the result sums over the weights of its channel: [out, in / groups, kernel...]."""
    return lambda ins, outs, attributes: int(prod(outs[0].shape) * prod(ins[weight].shape[1:]))


def _transposed_convolution(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> int:
    """Every element of the input is spread by the weights of its channel: [in, out / groups, kernel...]."""
    return int(prod(ins[0].shape) * prod(ins[1].shape[1:]))


def _einsum(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> int:
    """The product of the sizes of all indices, for two operands. Further operands are multiplied one after the other,
    as onnxruntime does; an index is summed over as soon as neither the result nor a later operand has it."""
    left, arrow, right = attributes["equation"].replace(" ", "").partition("->")
    terms = [_without_dots(term, len(tensor.shape)) for term, tensor in zip(left.split(","), ins, strict=True)]
    result = right if arrow else _implied_result(left)
    if "..." in left:
        result += "".join(map(str, range(MOST_DIMENSIONS)))  # the dimensions behind dots are kept
    sizes: dict[str, int] = {}
    for term, tensor in zip(terms, ins, strict=True):
        for index, size in zip(term, tensor.shape, strict=True):
            sizes[index] = max(size, sizes.get(index, 1))
    macs, indices = 0, set(terms[0])
    for at, term in enumerate(terms[1:], 2):
        indices |= set(term)
        macs += prod(sizes[index] for index in indices)
        indices &= set(result).union(*terms[at:])
    return macs


MOST_DIMENSIONS = 10


def _without_dots(term: str, rank: int) -> str:
    """A digit for every dimension that dots stand for, the last one 0: "...ij" of rank 4 is "10ij"."""
    dots = rank - len(term.replace("...", ""))
    return term.replace("...", "".join(map(str, reversed(range(dots)))))


def _implied_result(left: str) -> str:
    """Without an arrow, the result has the indices that occur once."""
    return "".join(index for index in set(left) - set(",.") if left.count(index) == 1)


def _recurrent(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> int:
    """Each step multiplies by the weights of input and state, [directions, gates x hidden, ...], once."""
    steps = ins[0].shape[0] * ins[0].shape[1]
    return int(steps * (prod(ins[1].shape) + prod(ins[2].shape)))


def _causal_convolution(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> int:
    """Every channel has a kernel of its own: [channels, 1, kernel]."""
    return int(prod(outs[0].shape) * ins[1].shape[-1])


def _experts(quantized: bool) -> Rule:
    """Each token passes through `k` experts of two or three matrices: [experts, out, in]."""
    positions = (2, 5, 8) if quantized else (2, 4, 6)

    def rule(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> int:
        each = 0
        for at, position in enumerate(positions, 1):
            weight = ins[position] if position < len(ins) else None
            if weight is not None:
                each += prod(weight.shape[1:]) * (experts_packing(weight.dtype, attributes, at) if quantized else 1)
        return int(prod(ins[0].shape[:-1]) * attributes.get("k", 1) * each)

    return rule


def _distances(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> int:
    """CDist: between all rows of two matrices."""
    return int(ins[0].shape[0] * ins[1].shape[0] * ins[0].shape[1])


def _linear_model(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> int:
    """Every row is multiplied by all coefficients: one for each feature of each class or target."""
    return int(prod(ins[0].shape[:-1]) * len(attributes["coefficients"]))


def _support_vectors(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> int:
    """Every row is multiplied by the support vectors, and the result by the coefficients."""
    numbers = len(attributes.get("support_vectors", ())) + len(attributes["coefficients"])
    return int(prod(ins[0].shape[:-1]) * numbers)


# --- attention -----------------------------------------------------------------------------------------


class AttentionSizes:
    """Sizes of an attention: MACs of its two matmuls, and the scores between them."""

    def __init__(self, batch: int, heads: int, queries: int, keys: int, size: int, value_size: int) -> None:
        self.queries, self.keys, self.columns = queries, keys, size + value_size
        self.pairs = queries * keys
        self.scores = batch * heads * self.pairs
        self.macs = self.scores * (size + value_size)


def _standard(ins: Tensors, attributes: dict[str, Any]) -> AttentionSizes:
    """ai.onnx Attention: 4-D [B, heads, n, d], or 3-D with the heads as attributes; past keys are input 4."""
    query, key, value = (tensor.shape for tensor in ins[:3])
    past = past_tokens(ins, 4, 2)
    if len(query) == 4:
        return AttentionSizes(query[0], query[1], query[2], key[2] + past, query[3], value[3])
    heads, kv_heads = attributes["q_num_heads"], attributes["kv_num_heads"]
    return AttentionSizes(query[0], heads, query[1], key[1] + past, query[2] // heads, value[2] // kv_heads)


def _packed(past_at: int) -> Callable[[Tensors, dict[str, Any]], AttentionSizes]:
    def heads(ins: Tensors, attributes: dict[str, Any]) -> AttentionSizes:
        batch, tokens, _ = ins[0].shape
        count, columns = attributes["num_heads"], ins[1].shape[-1]
        queries, _, values = attributes.get("qkv_hidden_sizes", [columns // 3] * 3)
        total = tokens + past_tokens(ins, past_at, 3)
        return AttentionSizes(batch, count, tokens, total, queries // count, values // count)

    return heads


def _multi_head(ins: Tensors, attributes: dict[str, Any]) -> AttentionSizes:
    query, count = ins[0].shape, attributes["num_heads"]
    value = ins[2].shape if len(ins) > 2 and ins[2] is not None else None
    size = query[-1] // count if len(query) == 3 else query[-1]
    value_size = size if value is None else (value[-1] // count if len(value) == 3 else value[-1])
    keys = keys_of_multi_head(ins)
    if keys is None:
        raise NotCountable("its keys are packed in a way edgeprof does not know")
    return AttentionSizes(query[0], count, query[1], keys, size, value_size)


def _group_query(ins: Tensors, attributes: dict[str, Any]) -> AttentionSizes:
    heads, kv_heads = attributes["num_heads"], attributes["kv_num_heads"]
    batch, tokens, columns = ins[0].shape
    size = columns // (heads if ins[1] is not None else heads + 2 * kv_heads)
    total = attributes.get(TOTAL, tokens + past_tokens(ins, 3, 2))
    return AttentionSizes(batch, heads, tokens, total, size, size)


def _packed_tokens(ins: Tensors, attributes: dict[str, Any]) -> AttentionSizes:
    """Tokens of all sequences in one row, [tokens, D]: counted as if every sequence were as long as the longest."""
    columns, count = ins[1].shape[-1], attributes["num_heads"]
    queries, _, values = attributes.get("qkv_hidden_sizes", [columns // 3] * 3)
    batch, longest = ins[3].shape
    return AttentionSizes(batch, count, longest, longest, queries // count, values // count)


ATTENTION: dict[str, Callable[[Tensors, dict[str, Any]], AttentionSizes]] = {
    "Attention": _standard,
    MS + "Attention": _packed(past_at=4),
    MS + "QAttention": _packed(past_at=8),
    MS + "MultiHeadAttention": _multi_head,
    MS + "GroupQueryAttention": _group_query,
    MS + "SparseAttention": _group_query,
    MS + "PackedAttention": _packed_tokens,
}


def _attention(operator: str) -> Rule:
    """The two matmuls; and the projections, where the operator holds the weights of Q, K and V."""
    projects = operator in PROJECTING

    def rule(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> int:
        projection = prod(ins[0].shape) * ins[1].shape[-1] if projects else 0
        return ATTENTION[operator](ins, attributes).macs + int(projection)

    return rule


PROJECTING = (MS + "Attention", MS + "QAttention", MS + "PackedAttention")


def _linear_attention(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> int:
    """A state of [d, value d] for each head: a token is added to it and multiplied by it; with a delta rule, the update
    is a product with the state as well."""
    (batch, tokens, columns), heads, kv_heads = ins[0].shape, attributes["q_num_heads"], attributes["kv_num_heads"]
    state = columns // heads * (ins[2].shape[-1] // kv_heads)
    updates = 2 if "delta" in attributes.get("update_rule", "gated_delta") else 1
    return int(batch * tokens * state * (heads + updates * kv_heads))


# --- tables --------------------------------------------------------------------------------------------

PRODUCTS: dict[str, Rule] = {
    "MatMul": _matmul(),
    "Gemm": _matmul(),
    "Einsum": _einsum,
    "MatMulInteger": _matmul(),
    "QLinearMatMul": _matmul(),
    MS + "FusedMatMul": _matmul(),
    MS + "TransposeMatMul": _matmul(),
    MS + "FusedGemm": _matmul(),
    MS + "GemmFastGelu": _matmul(),
    MS + "MatMulIntegerToFloat": _matmul(),
    MS + "DynamicQuantizeMatMul": _matmul(),
    MS + "QGemm": _matmul(),
    MS + "MatMulNBits": _matmul_nbits,
    MS + "MatMulBnb4": _matmul_nbits,
    MS + "FusedMatMulActivation": _matmul(),
    MS + "MatMulInteger16": _matmul(),
    MS + "SparseToDenseMatMul": _matmul(),
    MS + "GemmFloat8": _matmul(),
}
CONVOLUTIONS: dict[str, Rule] = {
    "Conv": _convolution(1),
    "ConvTranspose": _transposed_convolution,
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "DeformConv": _convolution(1),
    "CausalConvWithState": _causal_convolution,
    MS + "CausalConvWithState": _causal_convolution,
    MS + "FusedConv": _convolution(1),
    MS + "NhwcConv": _convolution(1),
    MS + "NhwcFusedConv": _convolution(1),
    MS + "QLinearConv": _convolution(3),
}
EXPERTS: dict[str, Rule] = {MS + "MoE": _experts(quantized=False), MS + "QMoE": _experts(quantized=True)}
RECURRENT: dict[str, Rule] = dict.fromkeys(("RNN", "GRU", "LSTM", MS + "DynamicQuantizeLSTM"), _recurrent)

MACS: dict[str, Rule] = {
    **PRODUCTS,
    **CONVOLUTIONS,
    **RECURRENT,
    **{operator: _attention(operator) for operator in ATTENTION},
    "LinearAttention": _linear_attention,
    MS + "LinearAttention": _linear_attention,
    **EXPERTS,
    MS + "CDist": _distances,
    **dict.fromkeys((ML + "LinearClassifier", ML + "LinearRegressor"), _linear_model),
    **dict.fromkeys((ML + "SVMClassifier", ML + "SVMRegressor"), _support_vectors),
}

NORMS = {
    *("BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization"),
    *("MeanVarianceNormalization", "RMSNormalization", "SimplifiedLayerNormalization"),
    MS + "SimplifiedLayerNormalization",
    MS + "SkipLayerNormalization",
    MS + "SkipSimplifiedLayerNormalization",
    MS + "SkipGroupNorm",
    MS + "GatedRMSNorm",
    MS + "QEmbedLayerNormalization",
    MS + "QOrderedLayerNormalization",
    MS + "EmbedLayerNormalization",
    MS + "GroupNorm",
}
LOOKUPS = {"Gather", MS + "GatherBlockQuantized", MS + "TorchEmbedding"}

VIEWS = {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"}
"""The output is the input under another shape: onnxruntime copies nothing."""

IN_PLACE = {
    *("Celu", "Clip", "Elu", "HardSigmoid", "LeakyRelu", "LogSoftmax", "Relu", "Selu", "Shrink", "Sigmoid", "Softmax"),
    *("Softplus", "Softsign", "Tanh", "ThresholdedRelu"),
}
"""The output overwrites the input if nothing else needs it. Observed in onnxruntime 1.32 by counting allocations, for
one operator at a time between two products. Additions are not among them."""

ELEMENTWISE = {
    *("Abs", "Add", "Cast", "Ceil", "Cos", "Div", "Dropout", "Erf", "Exp", "Floor", "Gelu", "HardSwish", "Log", "Max"),
    *("Min", "Mish", "Mod", "Mul", "Neg", "Not", "PRelu", "Pow", "Reciprocal", "Round", "Sign", "Sin", "Sqrt", "Sub"),
    *("Sum", "Where"),
    *(MS + name for name in ("BiasGelu", "FastGelu", "Gelu", "QuickGelu")),
}

MOVEMENT = {
    *("Acos", "Acosh", "AffineGrid", "Asin", "Asinh", "Atan", "Atanh", "Bernoulli", "BitCast", "BlackmanWindow"),
    *("CenterCropPad", "Col2Im", "Cosh", "CumProd", "GlobalLpPool", "GridSample", "HammingWindow", "HannWindow"),
    *("LRN", "LpPool", "MaxRoiPool", "MaxUnpool", "Multinomial", "NonMaxSuppression", "RoiAlign", "Scatter", "Sinh"),
    *("ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement", "SequenceAt", "SequenceConstruct"),
    *("SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SplitToSequence", "Swish"),
    *(
        "And",
        "ArgMax",
        "ArgMin",
        "BitShift",
        "BitwiseAnd",
        "BitwiseNot",
        "BitwiseOr",
        "BitwiseXor",
        "CastLike",
    ),
    *("AveragePool", "Compress", "Concat", "Constant", "ConstantOfShape", "CumSum", "DepthToSpace", "DequantizeLinear"),
    *("DynamicQuantizeLinear", "Equal", "Expand", "EyeLike", "GatherElements", "GatherND", "GlobalAveragePool"),
    *("GlobalMaxPool", "Greater", "GreaterOrEqual", "Hardmax", "IsInf", "IsNaN", "Less", "LessOrEqual", "MaxPool"),
    *("Mean", "NonZero", "OneHot", "Or", "Pad", "QuantizeLinear", "RandomNormal", "RandomNormalLike", "RandomUniform"),
    *("RandomUniformLike", "Range", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax"),
    *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "Resize", "ReverseSequence"),
    *("RotaryEmbedding", "ScatterElements", "ScatterND", "Shape", "Size", "Slice", "SpaceToDepth", "Split"),
    *("Tan", "TensorScatter", "Tile", "TopK", "Transpose", "Trilu", "Unique", "Upsample", "Xor"),
    *(MS + name for name in ("BiasAdd", "BiasSoftmax", "DequantizeLinear", "QuantizeLinear", "QLinearAdd")),
    *(MS + name for name in ("QLinearConcat", "QLinearLeakyRelu", "QLinearMul", "QLinearSigmoid", "QLinearSoftmax")),
    *(MS + name for name in ("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearReduceMean", "QLinearWhere")),
    *(MS + name for name in ("BiasSplitGelu", "ExpandDims", "GatherND", "NhwcMaxPool", "RotaryEmbedding", "Trilu")),
    *(MS + name for name in ("BiasDropout", "BitmaskBiasDropout", "BitmaskDropout", "ComplexMul", "ComplexMulConj")),
    *(MS + name for name in ("CropAndResize", "DynamicTimeWarping", "GatedAdd", "GemmaRotaryEmbedding", "GridSample")),
    *(MS + name for name in ("Inverse", "Irfft", "IsAllFinite", "MRotaryEmbedding", "MaxpoolWithMask", "MulInteger")),
    *(MS + name for name in ("MurmurHash3", "NGramRepeatBlock", "Pad", "QOrderedGelu", "QuantizeWithOrder", "Range")),
    *(MS + name for name in ("DequantizeWithOrder", "ReduceSumInteger", "RelativePositionBias", "RemovePadding")),
    *(MS + name for name in ("RestorePadding", "Rfft", "ScaledSiLU", "SwiGLU", "Tokenizer", "UnfoldTensor", "Unique")),
    *("DFT", "Det", "ImageDecoder", "MelWeightMatrix", "NegativeLogLikelihoodLoss", "RegexFullMatch", "STFT"),
    *("SoftmaxCrossEntropyLoss", "StringConcat", "StringNormalizer", "StringSplit", "SwiGLU", "TfIdfVectorizer"),
    *(ML + name for name in ("ArrayFeatureExtractor", "Binarizer", "CastMap", "CategoryMapper", "DictVectorizer")),
    *(ML + name for name in ("FeatureVectorizer", "Imputer", "LabelEncoder", "Normalizer", "OneHotEncoder", "Scaler")),
    *(ML + name for name in ("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "ZipMap")),
}

WITHOUT_MACS = NORMS | LOOKUPS | VIEWS | IN_PLACE | ELEMENTWISE | MOVEMENT
"""Operators that are known to multiply no matrices."""

QUANTIZATION: dict[str, tuple[int, ...]] = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "MatMulInteger": (2, 3),
    "ConvInteger": (2, 3),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    MS + "QuantizeLinear": (1, 2),
    MS + "DequantizeLinear": (1, 2),
    MS + "MatMulIntegerToFloat": (2, 3, 4, 5),
    MS + "DynamicQuantizeMatMul": (2, 3),
    MS + "MatMulNBits": (2, 3),
    MS + "GatherBlockQuantized": (2, 3),
    MS + "QGemm": (1, 2, 4, 5, 7, 8),
    MS + "QAttention": (3, 4, 6, 7),
    MS + "QMoE": (3, 6, 9, 11, 12, 13, *range(15, 21)),
    MS + "QLinearAveragePool": (1, 2, 3, 4),
    MS + "QLinearGlobalAveragePool": (1, 2, 3, 4),
    MS + "QLinearReduceMean": (1, 2, 3, 4),
    MS + "QLinearSoftmax": (1, 2, 3, 4),
    MS + "QLinearSigmoid": (1, 2, 3, 4),
    MS + "QLinearLeakyRelu": (1, 2, 3, 4),
    MS + "QLinearAdd": (1, 2, 4, 5, 6, 7),
    MS + "QLinearMul": (1, 2, 4, 5, 6, 7),
}
"""Inputs that are scales and zero points: they belong to a weight's format and are not parameters."""
OPERANDS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(LOOKUPS, (0,)),
    **dict.fromkeys((*PRODUCTS, *CONVOLUTIONS), (0, 1)),
    **dict.fromkeys(RECURRENT, (1, 2)),
    **dict.fromkeys(("QLinearMatMul", MS + "QGemm", "QLinearConv", MS + "QLinearConv"), (0, 3)),
    **dict.fromkeys(PROJECTING, (1,)),
    MS + "MoE": (2, 4, 6),
    MS + "QMoE": (2, 5, 8),
}
"""Inputs that are looked up or multiplied: the others are indices, biases, scales and zero points."""


def role(operator: str, weights: Sequence[int]) -> str:
    """The kind of a node, in words for a reader.

    >>> role("MatMul", [2]), role("MatMul", []), role("LayerNormalization", [])
    ('weight matmuls', 'activation matmuls', 'norms')

    Args:
        weights: rank of each operand (`OPERANDS`) that is computed from nothing but weights.
    """
    if operator in LOOKUPS and max(weights, default=0) > 1:
        return "embedding"
    if operator in PRODUCTS:
        return "weight matmuls" if weights else "activation matmuls"
    for names, word in (
        (ATTENTION, "attention"),
        (CONVOLUTIONS, "convolution"),
        (NORMS, "norms"),
        (RECURRENT, "recurrent"),
        (EXPERTS, "experts"),
    ):
        if operator in names:
            return word
    return "elementwise and data movement"
