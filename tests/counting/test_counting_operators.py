"""Operators that few files have: MACs by hand, shapes against onnxruntime's where it has a kernel."""

from typing import Any

import numpy as np
import onnx
import pytest
from nodes import Arrays, count, f32, graph, i8, i64, node, one, require_real_shapes, u8
from onnx import defs, helper

from edgeprof.counting import flatten
from edgeprof.counting import macs as rules
from edgeprof.counting.shapes import infer

ML = "ai.onnx.ml"
i32 = np.int32


def ml(op_type: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), outputs.split(), domain=ML, **attributes)


def f16(*shape: int) -> Any:
    return np.full(shape, 0.5, np.float16)


def quantized(op_type: str, **attributes: Any) -> onnx.NodeProto:
    return node(f"ms.{op_type}", "x s z s z", **attributes)


SCALE: Arrays = {"s": one(), "z": one(np.uint8)}
IMAGE: Arrays = {"x": u8(1, 4, 9, 9)}
LAST: Arrays = {"x": u8(1, 9, 9, 4)}

RUN: dict[str, tuple[Any, Arrays, Arrays, int, int]] = {
    # nodes, feeds, weights, operator set, MACs
    "GroupNormalization, a scale per group": (
        [node("GroupNormalization", "x g g", "n", num_groups=2), node("Conv", "n w")],
        {"x": f32(1, 8, 16, 16)},
        {"g": f32(2), "w": f32(4, 8, 1, 1)},
        18,
        4 * 16 * 16 * 8,
    ),
    "GroupNormalization, a scale per channel": (
        [node("GroupNormalization", "x g g", "n", num_groups=2), node("Conv", "n w")],
        {"x": f32(1, 8, 16, 16)},
        {"g": f32(8), "w": f32(4, 8, 1, 1)},
        21,
        4 * 16 * 16 * 8,
    ),
    "GreaterOrEqual": (
        [node("GreaterOrEqual", "x z", "c"), node("Where", "c x z", "v"), node("MatMul", "v w")],
        {"x": f32(2, 3, 4), "z": f32(3, 1)},
        {"w": f32(4, 5)},
        12,
        2 * 3 * 5 * 4,
    ),
    "LessOrEqual": (
        [node("LessOrEqual", "x z", "c"), node("Where", "c x z", "v"), node("MatMul", "v w")],
        {"x": f32(2, 3, 4), "z": f32(3, 1)},
        {"w": f32(4, 5)},
        12,
        2 * 3 * 5 * 4,
    ),
    "MeanVarianceNormalization": (
        [node("MeanVarianceNormalization", "x", "n"), node("Conv", "n w")],
        {"x": f32(1, 8, 4, 4)},
        {"w": f32(4, 8, 1, 1)},
        9,
        4 * 16 * 8,
    ),
    "LayerNormalization before its time": (
        [node("LayerNormalization", "x g g", "n", axis=-1), node("MatMul", "n w")],
        {"x": f32(2, 3, 4)},
        {"g": f32(4), "w": f32(4, 5)},
        11,
        2 * 3 * 5 * 4,
    ),
    "integers of 32 bits, summed": (
        [
            node("Shape", "x", "s"),
            node("Cast", "s", "i", to=6),
            node("ReduceSum", "i", "r", keepdims=0),
            node("Mul", "r two", "m"),
            node("Cast", "m", "n", to=7),
            node("Range", "zero n step", "y"),
        ],
        {"x": f32(2, 3)},
        {"two": np.asarray(2, i32), "zero": np.asarray(0), "step": np.asarray(1)},
        13,
        0,
    ),
    "QLinearAveragePool": (
        quantized("QLinearAveragePool", kernel_shape=[3, 3], strides=[2, 2]), IMAGE, SCALE, 13, 0,
    ),
    "QLinearAveragePool, channels last": (
        quantized("QLinearAveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1], channels_last=1), LAST, SCALE, 13, 0,
    ),
    "QLinearGlobalAveragePool": (quantized("QLinearGlobalAveragePool"), IMAGE, SCALE, 13, 0),
    "QLinearGlobalAveragePool, channels last": (
        quantized("QLinearGlobalAveragePool", channels_last=1), LAST, SCALE, 13, 0,
    ),
    "QLinearConcat": (
        node("ms.QLinearConcat", "s z x s z w s z", axis=1), IMAGE, {**SCALE, "w": u8(1, 3, 9, 9)}, 13, 0,
    ),
    "NhwcMaxPool": (node("ms.NhwcMaxPool", "x", kernel_shape=[2, 2], strides=[2, 2]), LAST, {}, 13, 0),
    # 3 x 4 rows and 5 x 4 rows
    "CDist": (node("ms.CDist", "x w", metric="euclidean"), {"x": f32(3, 4)}, {"w": f32(5, 4)}, 13, 3 * 5 * 4),
    # 2 x 3 tokens, 2 of 4 experts each, which have 16 x 8 and 8 x 16 weights
    "MoE": (
        node("ms.MoE", "x p u - d", k=2, activation_type="relu"),
        {"x": f32(2, 3, 8), "p": f32(6, 4)},
        {"u": f32(4, 16, 8), "d": f32(4, 8, 16)},
        21,
        6 * 2 * 2 * 128,
    ),
    "attention over a shared buffer": (
        node("ms.MultiHeadAttention", "q k v", num_heads=2),
        {"q": f32(1, 1, 8), "k": f32(1, 2, 9, 4), "v": f32(1, 2, 9, 4)},
        {},
        17,
        2 * 9 * 8,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RUN.values(), ids=RUN)
def test_as_it_runs(case: Any) -> None:
    nodes, feeds, weights, opset, macs = case
    model = graph(nodes, feeds, weights, opset=opset)
    require_real_shapes(model, feeds)
    counted = count(model, feeds)
    assert (counted.macs, counted.uncounted, counted.unsized) == (macs, (), 0)


COUNTED: dict[str, tuple[Any, Arrays, Arrays, int, tuple[int, ...]]] = {
    # nodes, feeds, weights, MACs, shape of y
    # 5 tokens of 8 to queries, keys and values of 8, then 2 heads of 4
    "Attention in fp16": (
        [node("ms.Attention", "x w b", "a", num_heads=2), node("MatMul", "a v")],
        {"x": f16(1, 5, 8)},
        {"w": f16(8, 24), "b": f16(24), "v": f16(8, 8)},
        5 * 8 * 24 + 2 * 25 * 8 + 5 * 64,
        (1, 5, 8),
    ),
    "SkipGroupNorm": (
        node("ms.SkipGroupNorm", "x g g k", "y sum", groups=2),
        {"x": f32(1, 4, 4, 8), "k": f32(1, 4, 4, 8)},
        {"g": f32(8)},
        0,
        (1, 4, 4, 8),
    ),
    "BiasSplitGelu": (node("ms.BiasSplitGelu", "x b"), {"x": f32(2, 3, 16)}, {"b": f32(16)}, 0, (2, 3, 8)),
    "QLinearReduceMean": (quantized("QLinearReduceMean", axes=[-1], keepdims=0), IMAGE, SCALE, 0, (1, 4, 9)),
    # 6 tokens, one of 4 experts: 16 x 8 and 8 x 16 weights of 4 bits
    "QMoE": (
        node("ms.QMoE", "x p u us - d ds", expert_weight_bits=4),
        {"x": f32(6, 8), "p": f32(6, 4)},
        {"u": u8(4, 16, 4), "us": f32(4, 16), "d": u8(4, 8, 8), "ds": f32(4, 8)},
        6 * 2 * 128,
        (6, 8),
    ),
    # a past of 9 in a buffer of 32: the buffer is what is looked at
    "MultiHeadAttention with past and present in one buffer": (
        node("ms.MultiHeadAttention", "q k v - - - pk pv n", "y nk nv", num_heads=2),
        {
            **{name: f32(1, 1, 8) for name in "qkv"},
            "pk": f32(1, 2, 32, 4),
            "pv": f32(1, 2, 32, 4),
            "n": np.asarray([9], i32),
        },
        {},
        2 * 32 * 8,
        (1, 1, 8),
    ),
    # a state of 4 x 4 in each of 2 heads: queries, updates and what a delta rule takes off
    "LinearAttention": (
        node("LinearAttention", "q k v - - g", "y state", q_num_heads=2, kv_num_heads=2, update_rule="delta"),
        {**{name: f32(1, 5, 8) for name in "qkv"}, "g": f32(1, 5, 2)},
        {},
        5 * 2 * 16 * 3,
        (1, 5, 8),
    ),
    "CausalConvWithState": (
        node("CausalConvWithState", "x w", "y state"), {"x": f32(1, 8, 5)}, {"w": f32(8, 1, 4)}, 8 * 5 * 4, (1, 8, 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", COUNTED.values(), ids=COUNTED)
def test_what_has_no_kernel_here(case: Any) -> None:
    nodes, feeds, weights, macs, shape = case
    model = graph(nodes, feeds, weights, opset=27)
    counted = count(model, feeds)
    assert (counted.macs, counted.uncounted, counted.unsized) == (macs, (), 0)
    assert infer(model, {name: array.shape for name, array in feeds.items()})["y"].shape == shape


def test_experts_are_parameters_and_have_a_role() -> None:
    """4 x (16 x 8 + 8 x 16) weights of 4 bits; scales are none."""
    nodes, feeds, weights, *_ = COUNTED["QMoE"]
    (cost,) = count(graph(nodes, feeds, weights), feeds).nodes
    assert (cost.role, cost.params) == ("experts", 4 * 256)


CLASSIC: dict[str, tuple[onnx.NodeProto, Arrays, int]] = {
    # 5 rows of 3 features: 2 classes
    "LinearClassifier": (
        ml("LinearClassifier", "x", "y p", coefficients=[0.5] * 6, intercepts=[0.0] * 2, classlabels_ints=[0, 1]),
        {"x": f32(5, 3)},
        5 * 6,
    ),
    "LinearRegressor": (ml("LinearRegressor", "x", coefficients=[0.5] * 6, targets=2), {"x": f32(5, 3)}, 5 * 6),
    # 4 support vectors of 3 features, and a coefficient for each
    "SVMRegressor": (
        ml(
            "SVMRegressor",
            "x",
            kernel_type="RBF",
            kernel_params=[0.5, 0.0, 3.0],
            n_supports=4,
            support_vectors=[0.5] * 12,
            coefficients=[1.0] * 4,
            rho=[0.0],
        ),
        {"x": f32(5, 3)},
        5 * (12 + 4),
    ),
    "Scaler": (ml("Scaler", "x", offset=[0.0] * 3, scale=[1.0] * 3), {"x": f32(5, 3)}, 0),
    "Normalizer": (ml("Normalizer", "x"), {"x": f32(5, 3)}, 0),
    "Imputer": (ml("Imputer", "x", imputed_value_floats=[0.0]), {"x": f32(5, 3)}, 0),
    "FeatureVectorizer": (ml("FeatureVectorizer", "x z", inputdimensions=[3, 2]), {"x": f32(5, 3), "z": f32(5, 2)}, 0),
    "LabelEncoder": (ml("LabelEncoder", "x", keys_int64s=[1], values_floats=[2.0]), {"x": i64(1, 2)}, 0),
}


@pytest.mark.parametrize("case", CLASSIC.values(), ids=CLASSIC)
def test_classic_models(case: Any) -> None:
    built, feeds, macs = case
    model = graph(built, feeds)
    model.opset_import.append(helper.make_opsetid(ML, 3))
    require_real_shapes(model, feeds)
    counted = count(model, feeds)
    assert (counted.macs, counted.uncounted) == (macs, ())


def test_maps_are_counted_as_nothing() -> None:
    built = ml("ZipMap", "x", classlabels_int64s=[0, 1, 2])
    model = graph(built, {"x": f32(5, 3)})
    model.opset_import.append(helper.make_opsetid(ML, 1))
    assert count(model, {"x": f32(5, 3)}).uncounted == ()


def test_every_operator_of_the_standard_is_known() -> None:
    """Each has a rule, or is known to multiply no matrices; operators for training are left out."""
    known = {*rules.MACS, *rules.WITHOUT_MACS, *flatten.CONTROL_FLOW}
    names = {
        schema.name if not schema.domain else f"{schema.domain}::{schema.name}"
        for schema in defs.get_all_schemas()
        if schema.domain in ("", ML) and not schema.deprecated
    }
    assert names - known == set()


def test_the_standard_under_its_other_name() -> None:
    """The operator set imported as "ai.onnx", and nodes that name it."""
    model = graph(node("MatMul", "x w"), {"x": f32(3, 4)}, {"w": f32(4, 5)}, opset=17)
    model.opset_import[0].domain = model.graph.node[0].domain = "ai.onnx"
    counted = count(model, {"x": f32(3, 4)})
    assert (counted.macs, counted.nodes[0].operator, counted.uncounted) == (60, "MatMul", ())


def test_int8_weights_looked_up_by_torch() -> None:
    feeds = {"ids": i64(1, 2)}
    counted = count(graph(node("ms.TorchEmbedding", "w ids"), feeds, {"w": i8(7, 4)}), feeds)
    assert (counted.params, counted.nodes[0].role) == (28, "embedding")
