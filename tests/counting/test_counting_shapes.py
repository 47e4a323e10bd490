"""Shapes of every value against what onnxruntime makes, and the arithmetic on shapes that they need."""

from typing import Any

import numpy as np
import onnx
import pytest
from nodes import OPSET, count, f32, graph, i64, node, one, require_real_shapes, shapes, u8
from onnx import helper, numpy_helper

from edgeprof.counting.shapes import infer


def chain(*nodes: Any, feeds: Any, weights: Any = None, opset: int = OPSET) -> None:
    require_real_shapes(graph(list(nodes), feeds, weights, opset=opset), feeds)


def test_reshape_to_what_is_computed_from_a_shape() -> None:
    """[2, 6, 8] -> [2, 6, 4, 2], as attention heads are split."""
    chain(
        node("Shape", "x", "s"),
        node("Gather", "s zero", "b"),
        node("Shape", "x", "length", start=1, end=2),
        node("Unsqueeze", "b axis", "b1"),
        node("Concat", "b1 length rest", "to", axis=0),
        node("Reshape", "x to"),
        feeds={"x": f32(2, 6, 8)},
        weights={"zero": np.asarray(0), "axis": i64(0), "rest": i64(4, -1)},
    )


def test_range_and_mask_of_a_length() -> None:
    """A causal mask from positions: ranges of a length that comes from a shape, past and new added up."""
    chain(
        node("Shape", "x", "s"),
        node("Gather", "s one", "new", axis=0),
        node("Shape", "past", "p"),
        node("Gather", "p two", "old", axis=0),
        node("Add", "new old", "all"),
        node("Range", "zero all step", "keys"),
        node("Range", "old all step", "queries"),
        node("Unsqueeze", "queries axis", "rows"),
        node("LessOrEqual", "keys rows", "seen"),
        feeds={"x": f32(2, 3, 4), "past": f32(2, 4, 5, 8)},
        weights={
            "zero": np.asarray(0),
            "one": np.asarray(1),
            "two": np.asarray(2),
            "step": np.asarray(1),
            "axis": i64(1),
        },
    )


def test_expand_as_torch_writes_it() -> None:
    """ConstantOfShape, Mul, Equal, Where: -1 stands for the size that is there."""
    minus = numpy_helper.from_array(i64(-1))
    chain(
        node("Constant", "", "want", value=numpy_helper.from_array(i64(5, -1, 4))),
        node("ConstantOfShape", "rank", "ones", value=numpy_helper.from_array(i64(1))),
        node("Constant", "", "minus", value=minus),
        node("Mul", "ones minus", "any"),
        node("Equal", "want any", "which"),
        node("Where", "which ones want", "to"),
        node("Expand", "x to"),
        feeds={"x": f32(3, 1)},
        weights={"rank": i64(3)},
    )


def test_resize_by_scales_computed_from_sizes() -> None:
    """Position embeddings of an image are interpolated from 4 x 4 to 6 x 10: scales are 6 / 4 and 10 / 4."""
    chain(
        node("Shape", "x", "s"),
        node("Slice", "s two four axis", "wanted"),
        node("Cast", "wanted", "real", to=1),
        node("Div", "real held", "by"),
        node("Concat", "same by", "scales", axis=0),
        node("Resize", "grid - scales", mode="linear"),
        feeds={"x": f32(1, 3, 6, 10)},
        weights={
            "two": i64(2),
            "four": i64(4),
            "axis": i64(0),
            "held": np.asarray([4, 4], np.float32),
            "same": np.ones(2, np.float32),
            "grid": f32(1, 8, 4, 4),
        },
    )


def test_resize_to_sizes() -> None:
    chain(
        node("Shape", "x", "s", start=2),
        node("Concat", "keep s", "sizes", axis=0),
        node("Resize", "grid - - sizes", mode="nearest"),
        feeds={"x": f32(1, 3, 6, 10)},
        weights={"keep": i64(1, 8), "grid": f32(1, 8, 4, 4)},
    )


INTEGERS = i64(7, -7, 3, 2)
VALUES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "rounds towards zero": ([node("Div", "a b")], {"a": INTEGERS, "b": i64(2, 2, -2, 2)}),
    "modulo has the sign of the divisor": ([node("Mod", "a b")], {"a": INTEGERS, "b": i64(3, 3, -2, 2)}),
    "fmod has the sign of the dividend": ([node("Mod", "a b", fmod=1)], {"a": INTEGERS, "b": i64(3, 3, -2, 2)}),
    "slice backwards": (
        [node("Slice", "a start end axis step")],
        {"a": INTEGERS, "start": i64(-1), "end": i64(-(2**63)), "axis": i64(0), "step": i64(-1)},
    ),
    "slice backwards by two, to a place": (
        [node("Slice", "a start end axis step")],
        {"a": INTEGERS, "start": i64(3), "end": i64(0), "axis": i64(-1), "step": i64(-2)},
    ),
    "slice beyond the end": (
        [node("Slice", "a start end")],
        {"a": INTEGERS, "start": i64(1), "end": i64(2**63 - 1)},
    ),
    "gather from the end": ([node("Gather", "a at")], {"a": INTEGERS, "at": i64(-1, 0)}),
    "gather along the second axis": (
        [node("Gather", "a at", axis=1)],
        {"a": INTEGERS.reshape(2, 2), "at": np.asarray(1)},
    ),
    "squeeze all": ([node("Squeeze", "a")], {"a": INTEGERS.reshape(1, 4, 1)}),
    "squeeze one": ([node("Squeeze", "a axes")], {"a": INTEGERS.reshape(1, 4, 1), "axes": i64(-1)}),
    "unsqueeze two": ([node("Unsqueeze", "a axes")], {"a": INTEGERS, "axes": i64(0, -1)}),
    "reduce": ([node("ReduceProd", "a axes", keepdims=0)], {"a": INTEGERS, "axes": i64(0)}),
    "reduce all": ([node("ReduceProd", "a")], {"a": INTEGERS}),
    "reduce none": ([node("ReduceSum", "a", noop_with_empty_axes=1)], {"a": INTEGERS}),
    "smallest of three": ([node("Min", "a b c")], {"a": INTEGERS, "b": i64(0), "c": i64(5, 5, 5, -9)}),
    "largest": ([node("Max", "a b")], {"a": INTEGERS, "b": i64(0)}),
    "where": ([node("Where", "c a b")], {"c": np.asarray([True, False] * 2), "a": INTEGERS, "b": i64(0)}),
    "reshape keeps": ([node("Reshape", "a to")], {"a": INTEGERS.reshape(2, 2), "to": i64(0, 1, -1)}),
    "ceil of a quotient": (
        [node("Cast", "a", "r", to=1), node("Div", "r two", "h"), node("Ceil", "h", "c"), node("Cast", "c", "y", to=7)],
        {"a": INTEGERS, "two": np.asarray([2], np.float32)},
    ),
    "floor of a quotient": (
        [node("Cast", "a", "r", to=1), node("Div", "r two", "h"), node("Floor", "h", "c"), node("Cast", "c", to=7)],
        {"a": INTEGERS, "two": np.asarray([2], np.float32)},
    ),
    "square root": ([node("Cast", "a", "r", to=1), node("Sqrt", "r", "q"), node("Cast", "q", to=7)], {"a": i64(16, 9)}),
    "negated": ([node("Neg", "a")], {"a": INTEGERS}),
    "and": (
        [node("Greater", "a b", "c"), node("Less", "a b", "d"), node("Or", "c d", "e"), node("Not", "e")],
        {"a": INTEGERS, "b": i64(2)},
    ),
    "expand": ([node("Expand", "a to")], {"a": i64(3, 4), "to": i64(2, 1)}),
    "expand of booleans": ([node("Expand", "a to")], {"a": np.asarray([True, False]), "to": i64(2, 1)}),
    "tile": ([node("Tile", "a by")], {"a": i64(3, 4), "by": i64(3)}),
    "transpose": ([node("Transpose", "a", perm=[1, 0])], {"a": INTEGERS.reshape(2, 2)}),
    "split in two": ([node("Split", "a", "y z", num_outputs=2)], {"a": INTEGERS}),
    "split unevenly": ([node("Split", "a parts", "y z")], {"a": INTEGERS, "parts": i64(1, 3)}),
    "where it is not zero": ([node("NonZero", "a")], {"a": i64(0, 3, 0, 4)}),
    "exclusive or": ([node("Xor", "a b")], {"a": np.asarray([True, False]), "b": np.asarray([True, True])}),
    "clip": ([node("Clip", "a low high")], {"a": INTEGERS, "low": np.asarray(-1), "high": np.asarray(3)}),
    "running sum": ([node("CumSum", "a axis")], {"a": INTEGERS, "axis": np.asarray(0)}),
    "sum": ([node("Cast", "a", "r", to=1), node("Sum", "r r", "d"), node("Cast", "d", to=7)], {"a": INTEGERS}),
    "absolute": ([node("Abs", "a")], {"a": INTEGERS}),
    "power": ([node("Pow", "a two")], {"a": INTEGERS, "two": i64(2)}),
    "size": ([node("Size", "a")], {"a": INTEGERS}),
    "constant of integers": (
        [
            node("Constant", "", value_ints=[3, 4]),
        ],
        {},
    ),
    "constant of an integer": ([node("Constant", "", value_int=3)], {}),
}


@pytest.mark.parametrize("case", VALUES.values(), ids=VALUES)
def test_values_are_those_that_onnxruntime_computes(case: tuple[list[Any], dict[str, Any]]) -> None:
    """Seen where they size something: ConstantOfShape of each value (made positive) has exactly that many places."""
    nodes, held = case
    last = nodes[-1].output
    sized = [
        one_node
        for name in last
        for one_node in (
            node("Cast", name, f"{name}.int", to=7),
            node("Abs", f"{name}.int", f"{name}.abs"),
            node("Reshape", f"{name}.abs flat", f"{name}.flat"),
            node("ConstantOfShape", f"{name}.flat", f"{name}.sized"),
        )
    ]
    feeds = {"x": f32(1)}
    model = graph([*nodes, *sized, node("Identity", "x", "same")], feeds, {**held, "flat": i64(-1)})
    require_real_shapes(model, feeds)


def test_values_of_weights_in_a_data_file_are_not_needed(tmp_path: Any) -> None:
    """The shape lies in a file that is not opened: the result is unknown, and nothing fails."""
    model = graph(node("Reshape", "x to"), {"x": f32(2, 6)}, {"to": i64(3, 4)})
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="data", size_threshold=0)
    (tmp_path / "data").unlink()
    outside = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    assert infer(outside, {"x": (2, 6)}).get("y", (1, None))[1] is None


CONTRIB: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    "SkipLayerNormalization": (
        node("ms.SkipLayerNormalization", "x s g b", "y - - sum"),
        {"x": f32(2, 3, 8), "s": f32(2, 3, 8)},
        {"g": f32(8), "b": f32(8)},
    ),
    "SkipSimplifiedLayerNormalization": (
        node("ms.SkipSimplifiedLayerNormalization", "x s g", "y - - sum"),
        {"x": f32(2, 3, 8), "s": f32(2, 3, 8)},
        {"g": f32(8)},
    ),
    "SimplifiedLayerNormalization": (node("SimplifiedLayerNormalization", "x g"), {"x": f32(2, 3, 8)}, {"g": f32(8)}),
    "EmbedLayerNormalization": (
        node("ms.EmbedLayerNormalization", "ids seg words places segments g b mask", "y index"),
        {name: np.ones((2, 5), np.int32) for name in ("ids", "seg", "mask")},
        {"words": f32(9, 8), "places": f32(7, 8), "segments": f32(2, 8), "g": f32(8), "b": f32(8)},
    ),
    "RotaryEmbedding": (
        node("ms.RotaryEmbedding", "x at cos sin"),
        {"x": f32(2, 3, 5, 8), "at": np.zeros((2, 5), np.int64)},
        {"cos": f32(16, 4), "sin": f32(16, 4)},
    ),
    "BiasGelu": (node("ms.BiasGelu", "x b"), {"x": f32(2, 3, 8)}, {"b": f32(8)}),
    "FastGelu": (node("ms.FastGelu", "x b"), {"x": f32(2, 3, 8)}, {"b": f32(8)}),
    "QuickGelu": (node("ms.QuickGelu", "x"), {"x": f32(2, 3, 8)}, {}),
    "GatherBlockQuantized": (
        node("ms.GatherBlockQuantized", "w ids s", bits=4, block_size=16),
        {"ids": np.zeros((2, 5), np.int64)},
        {"w": u8(7, 16), "s": f32(7, 2)},
    ),
    "GatherBlockQuantized, along the other axis": (
        node("ms.GatherBlockQuantized", "w ids s", gather_axis=1, quantize_axis=0, block_size=16),
        {"ids": np.zeros((3,), np.int64)},
        {
            "w": helper.make_tensor("w", onnx.TensorProto.INT4, [32, 6], np.zeros(192, np.int8)),
            "s": f32(2, 6),
        },
    ),
    "QLinearAdd": (
        node("ms.QLinearAdd", "x s z w s z s z"),
        {"x": u8(2, 3, 4)},
        {"w": u8(4), "s": one(), "z": one(np.uint8)},
    ),
    "QuantizeLinear": (
        node("ms.QuantizeLinear", "x s z"),
        {"x": f32(2, 3)},
        {"s": one(), "z": one(np.int8)},
    ),
    "DequantizeLinear": (
        node("ms.DequantizeLinear", "x s z"),
        {"x": u8(2, 3)},
        {"s": one(), "z": one(np.uint8)},
    ),
    "MultiHeadAttention keeps narrow values apart": (
        node("ms.MultiHeadAttention", "q k v", "y nk nv", num_heads=3),
        {"q": f32(2, 5, 12), "k": f32(2, 7, 12), "v": f32(2, 7, 6)},
        {},
    ),
}


@pytest.mark.parametrize("case", CONTRIB.values(), ids=CONTRIB)
def test_contrib_operators(case: Any) -> None:
    built, feeds, weights = case
    require_real_shapes(graph(built, feeds, weights), feeds)


@pytest.mark.parametrize(
    ("nodes", "feeds", "opset"),
    [
        ([node("Shape", "x", "s"), node("Slice", "s", "t", starts=[1], ends=[3]), node("ConstantOfShape", "t")], 3, 9),
        ([node("Shape", "x", "s"), node("Unsqueeze", "s", "t", axes=[0]), node("Squeeze", "t", axes=[0])], 3, 11),
        ([node("Shape", "x", "s"), node("ReduceSum", "s", axes=[0], keepdims=0)], 3, 11),
        ([node("Shape", "x", "s"), node("Split", "s", "y z", axis=0, split=[1, 2])], 3, 11),
        ([node("Clip", "x", min=0.0, max=1.0)], 3, 9),
    ],
)
def test_attributes_that_later_became_inputs(nodes: Any, feeds: int, opset: int) -> None:
    require_real_shapes(graph(nodes, {"x": f32(*[2] * feeds)}, opset=opset), {"x": f32(*[2] * feeds)})


@pytest.mark.parametrize(
    "broken",
    [
        node("ms.FusedMatMul", "x z"),  # 3 columns and 5 rows
        node("ms.MatMulNBits", "x z"),  # without its attributes
        node("ms.QLinearAdd", "x z z z"),  # with half of its inputs
        node("ms.MultiHeadAttention", "x"),
        node("MatMul", "x z"),
        node("Concat", "x z", axis=7),
        node("MatMul", "x nothing"),
    ],
)
def test_an_invalid_node_is_no_crash(broken: Any) -> None:
    feeds = {"x": f32(2, 3), "z": f32(5, 7)}
    counted = count(graph(broken, feeds), feeds)
    assert counted.macs == 0
    assert counted.unsized == 1


def test_an_impossible_value_is_no_crash() -> None:
    """Nine is beyond a shape of two, and nothing can be divided by zero."""
    feeds = {"x": f32(2, 3)}
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s nine", "out"),
        node("Div", "s none", "by"),
        node("Reshape", "x by", "y"),
    ]
    assert count(graph(nodes, feeds, {"nine": np.asarray(9), "none": i64(0)}), feeds).macs == 0


def test_inputs_have_the_shapes_that_are_given() -> None:
    feeds = {"x": f32(2, 3)}
    assert infer(graph(node("Relu", "x"), feeds), {"x": (4, 5)})["y"].shape == (4, 5)
    assert shapes(feeds) == {"x": (2, 3)}
