"""Parameters, bytes and roles: whose weights they are, and which tensors are none."""

from typing import Any

import numpy as np
import onnx
import pytest
from nodes import Arrays, count, f32, graph, i8, i64, node, one, u8
from onnx import TensorProto, helper, numpy_helper

from edgeprof.counting import NodeCost

X = {"x": f32(2, 3, 4)}


def costs(nodes: Any, feeds: Arrays, weights: Arrays) -> list[NodeCost]:
    return list(count(graph(nodes, feeds, weights), feeds).nodes)


def test_weights_and_biases_are_parameters_of_who_uses_them() -> None:
    """[4, 5] and [5] in fp32; the shape, an int64 tensor, is none, but its two numbers are stored."""
    nodes = [node("MatMul", "x w", "m"), node("Add", "m b", "a"), node("Reshape", "a to")]
    model = graph(nodes, X, {"w": f32(4, 5), "b": f32(5), "to": i64(-1, 5)})
    counted = count(model, X)
    assert [cost.params for cost in counted.nodes] == [20, 5, 0]
    assert [cost.weight_bytes for cost in counted.nodes] == [80, 20, 16]
    assert (counted.params, counted.weights_bytes) == (25, 116)
    assert [cost.role for cost in counted.nodes] == ["weight matmuls", *["elementwise and data movement"] * 2]


def test_single_values_are_no_parameters() -> None:
    assert [cost.params for cost in costs(node("Mul", "x c"), X, {"c": one()})] == [0]


def test_half_precision_is_stored_in_half_the_bytes() -> None:
    feeds = {"x": np.ones((3, 4), np.float16)}
    (cost,) = costs(node("MatMul", "x w"), feeds, {"w": np.ones((4, 5), np.float16)})
    assert (cost.params, cost.weight_bytes, cost.activation_bytes) == (20, 40, 3 * 5 * 2)


def test_a_tied_embedding_is_counted_once_where_it_is_used_first() -> None:
    """[7, 4] rows are looked up, and the same matrix, transposed, is the LM head."""
    feeds = {"ids": i64(1, 2, 3)}
    nodes = [node("Gather", "w ids", "x"), node("Transpose", "w", "t", perm=[1, 0]), node("MatMul", "x t")]
    lookup, transpose, head = costs(nodes, feeds, {"w": f32(7, 4)})
    assert (lookup.role, lookup.params, lookup.weight_bytes) == ("embedding", 28, 112)
    assert (transpose.params, transpose.activation_bytes) == (0, 0)  # folded when the graph is loaded
    assert (head.role, head.params, head.macs) == ("weight matmuls", 0, 3 * 7 * 4)


@pytest.mark.parametrize(
    "way",
    [
        node("Transpose", "w", "v", perm=[1, 0]),
        node("Cast", "w", "v", to=TensorProto.FLOAT),
        node("Reshape", "w to", "v"),
    ],
)
def test_weights_are_traced_through_folded_operators(way: Any) -> None:
    *_, product = costs([way, node("MatMul", "x v")], X, {"w": f32(4, 4), "to": i64(4, 4)})
    assert (product.role, product.params) == ("weight matmuls", 16)


def test_qdq_scales_and_zero_points_are_no_parameters() -> None:
    """int8 weights [4, 5] with a scale and a zero point per column: 20 parameters, 20 + 5 x 4 + 5 bytes."""
    nodes = [node("DequantizeLinear", "w s z", "v", axis=1), node("MatMul", "x v")]
    weights = {"w": i8(4, 5), "s": f32(5), "z": i8(5)}
    *_, product = costs(nodes, X, weights)
    assert (product.role, product.params, product.weight_bytes) == ("weight matmuls", 20, 45)


def test_dynamic_int8_as_onnxruntime_writes_it() -> None:
    """[4, 5] int8 with a scale per column, which is multiplied with the scale of the activations: 20 parameters."""
    nodes = [
        node("DynamicQuantizeLinear", "x", "q qs qz"),
        node("MatMulInteger", "q w qz wz", "p"),
        node("Cast", "p", "r", to=TensorProto.FLOAT),
        node("Mul", "qs ws", "s"),
        node("Mul", "r s", "m"),
        node("Add", "m b"),
    ]
    weights = {"w": i8(4, 5), "wz": i8(5), "ws": f32(5), "b": f32(5)}
    counted = count(graph(nodes, X, weights), X)
    assert [cost.params for cost in counted.nodes] == [0, 20, 0, 0, 0, 5]
    assert (counted.params, counted.weights_bytes) == (25, 20 + 5 + 20 + 20)


def test_scales_that_are_looked_up_are_no_parameters() -> None:
    """An int8 embedding that is the LM head as well: its rows and the scales of those are looked up."""
    nodes = [
        node("Gather", "w ids", "rows"),
        node("Cast", "rows", "real", to=TensorProto.FLOAT),
        node("Gather", "ws ids", "scale"),
        node("Unsqueeze", "scale last", "column"),
        node("Mul", "real column", "x"),
        node("Transpose", "w", "t", perm=[1, 0]),
        node("DynamicQuantizeLinear", "x", "q qs qz"),
        node("MatMulInteger", "q t qz", "p"),
        node("Cast", "p", "f", to=TensorProto.FLOAT),
        node("Mul", "qs ws", "s"),
        node("Mul", "f s"),
    ]
    feeds = {"ids": i64(1, 2, 3)}
    counted = count(graph(nodes, feeds, {"w": i8(7, 4), "ws": f32(7), "last": i64(1)}), feeds)
    assert counted.params == 28
    assert [cost.role for cost in counted.nodes].count("embedding") == 1


def test_a_table_of_rows_with_a_scale_each() -> None:
    """[7, 4] in int8, and 7 scales in fp16 that are made fp32 when the graph is loaded: 28 parameters."""
    nodes = [
        node("Cast", "h", "s", to=TensorProto.FLOAT),
        node("Gather", "w ids", "rows"),
        node("Cast", "rows", "real", to=TensorProto.FLOAT),
        node("Gather", "s ids", "scales"),
        node("Mul", "real scales"),
    ]
    feeds = {"ids": i64(1, 2, 3)}
    counted = count(graph(nodes, feeds, {"w": i8(7, 4), "h": np.ones((7, 1), np.float16)}), feeds)
    assert [cost.params for cost in counted.nodes] == [0, 28, 0, 0, 0]
    assert [cost.role == "embedding" for cost in counted.nodes] == [False, True, False, False, False]
    assert (counted.params, counted.weights_bytes) == (28, 28 + 14)
    # integers, then numbers of three rows; three scales; three rows
    assert [cost.activation_bytes for cost in counted.nodes] == [0, 3 * 4, 3 * 4 * 4, 3 * 4, 3 * 4 * 4]


def test_an_integer_kernel_is_dequantized_when_the_graph_is_loaded() -> None:
    """[3, 2, 3, 3] in int8, a scale per filter: 54 parameters; a run makes nothing but the 3 x 3 x 3 result."""
    nodes = [node("Cast", "w", "r", to=TensorProto.FLOAT), node("Mul", "r s", "k"), node("Conv", "x k")]
    feeds = {"x": f32(1, 2, 5, 5)}
    counted = count(graph(nodes, feeds, {"w": i8(3, 2, 3, 3), "s": f32(3, 1, 1, 1)}), feeds)
    convolution = counted.nodes[2]
    assert (convolution.role, convolution.params, convolution.weight_bytes) == ("convolution", 54, 54 + 12)
    assert [cost.activation_bytes for cost in counted.nodes] == [0, 0, 4 * 27]
    assert (counted.params, convolution.macs) == (54, 27 * 18)


def test_a_factor_of_real_numbers_is_a_parameter() -> None:
    """What scales the numbers of an image is no scale of weights."""
    nodes = [node("Cast", "x", "r", to=TensorProto.FLOAT), node("Mul", "r f")]
    assert [cost.params for cost in costs(nodes, {"x": u8(2, 3)}, {"f": f32(3)})] == [0, 3]


def test_blocks_of_4_bits() -> None:
    """N x K = 6 x 40 weights in 6 x 2 blocks of 16 bytes (the last block of a row is part empty), scales 6 x 2."""
    built = node("ms.MatMulNBits", "x w s z", N=6, K=40, bits=4, block_size=32)
    weights = {"w": u8(6, 2, 16), "s": f32(12), "z": u8(6)}
    (cost,) = costs(built, {"x": f32(3, 40)}, weights)
    assert (cost.params, cost.weight_bytes, cost.role) == (240, 192 + 48 + 6, "weight matmuls")


def test_packed_matrix_that_is_embedding_and_head_is_counted_once() -> None:
    """7 x 32 weights, two in a byte."""
    nodes = [
        node("ms.GatherBlockQuantized", "w ids s", "x", bits=4, block_size=32),
        node("Reshape", "w blocks", "b"),
        node("ms.MatMulNBits", "x b s", N=7, K=32, bits=4, block_size=32),
    ]
    feeds = {"ids": i64(1, 2)}
    lookup, _, head = costs(nodes, feeds, {"w": u8(7, 16), "s": f32(7, 1), "blocks": i64(7, 1, 16)})
    assert (lookup.role, lookup.params, lookup.weight_bytes) == ("embedding", 224, 112 + 28)
    assert (head.params, head.macs) == (0, 2 * 7 * 32)


def test_int4_is_stored_two_in_a_byte() -> None:
    """15 elements in 8 bytes."""
    packed = helper.make_tensor("w", TensorProto.INT4, [5, 3], np.zeros(15, np.int8))
    nodes = [node("DequantizeLinear", "w s", "v"), node("MatMul", "x v")]
    *_, product = costs(nodes, {"x": f32(2, 5)}, {"w": packed, "s": one()})
    assert (product.params, product.weight_bytes) == (15, 8 + 4)


def test_constants_of_many_values_are_weights_too() -> None:
    held = numpy_helper.from_array(f32(4, 5))
    model = graph([node("Constant", "", "w", value=held), node("MatMul", "x w")], X)
    counted = count(model, X)
    assert [cost.params for cost in counted.nodes] == [0, 20]
    assert counted.weights_bytes == 80
    assert counted.nodes[1].role == "weight matmuls"


def branches(weight: str) -> dict[str, Any]:
    """Both branches of an If multiply the same tensor of the graph around them; one holds a matrix of its own."""
    own = numpy_helper.from_array(f32(4, 2), "own")
    summary = [onnx.ValueInfoProto(name="b")]
    then = helper.make_graph([node("MatMul", f"x {weight}", "b")], "then", [], summary)
    other = helper.make_graph([node("MatMul", "x own", "b")], "else", [], summary, [own])
    return {"then_branch": then, "else_branch": other}


def test_weights_of_subgraphs_are_weights() -> None:
    """[4, 5] around the If and [4, 2] within it; what it multiplies is not counted, and that is said."""
    feeds = {**X, "c": np.asarray(True)}
    counted = count(graph(node("If", "c", **branches("w")), feeds, {"w": f32(4, 5)}), feeds)
    assert (counted.params, counted.weights_bytes) == (28, 112)
    assert [missed.operator for missed in counted.uncounted] == ["If"]


ROLES: list[tuple[str, Any, Arrays, Arrays]] = [
    ("embedding", node("Gather", "w ids"), {"ids": i64(1, 2)}, {"w": f32(7, 4)}),
    ("elementwise and data movement", node("Gather", "x at", axis=1), X, {"at": np.asarray(0)}),
    ("elementwise and data movement", node("Gather", "w ids"), {"ids": i64(1, 2)}, {"w": f32(7)}),
    ("activation matmuls", node("MatMul", "x z"), {**X, "z": f32(2, 4, 5)}, {}),
    ("activation matmuls", node("MatMulInteger", "a b az"), {"a": u8(3, 4), "b": u8(4, 5)}, {"az": one(np.uint8)}),
    (
        "activation matmuls",
        node("QLinearMatMul", "a s z b s z s z"),
        {"a": u8(3, 4), "b": u8(4, 5)},
        {"s": one(), "z": one(np.uint8)},
    ),
    (
        "weight matmuls",
        node("QLinearMatMul", "a s z b s z s z"),
        {"a": u8(3, 4)},
        {"b": u8(4, 5), "s": one(), "z": one(np.uint8)},
    ),
    ("activation matmuls", node("Gemm", "a b c"), {"a": f32(3, 4), "b": f32(4, 5)}, {"c": f32(5)}),
    ("attention", node("Attention", "q k v"), {name: f32(1, 2, 5, 8) for name in "qkv"}, {}),
    ("attention", node("ms.MultiHeadAttention", "q k v", num_heads=2), {name: f32(1, 5, 8) for name in "qkv"}, {}),
    ("convolution", node("Conv", "x w"), {"x": f32(1, 2, 5, 5)}, {"w": f32(3, 2, 3, 3)}),
    ("norms", node("LayerNormalization", "x g"), X, {"g": f32(4)}),
    ("norms", node("ms.SkipLayerNormalization", "x z g"), {**X, "z": f32(2, 3, 4)}, {"g": f32(4)}),
    (
        "recurrent",
        node("RNN", "x w r", "y", hidden_size=4),
        {"x": f32(5, 2, 3)},
        {"w": f32(1, 4, 3), "r": f32(1, 4, 4)},
    ),
]


@pytest.mark.parametrize(("role", "built", "feeds", "weights"), ROLES)
def test_roles(role: str, built: Any, feeds: Arrays, weights: Arrays) -> None:
    (cost,) = costs(built, feeds, weights)
    assert cost.role == role


def test_what_nodes_write() -> None:
    """[2, 3, 4] and [2, 12] in fp32; a view writes nothing."""
    nodes = [node("Relu", "x", "a"), node("Reshape", "a to", "v"), node("Relu", "v"), node("Softmax", "y", "p")]
    written = [cost.activation_bytes for cost in costs(nodes, X, {"to": i64(2, 12)})]
    assert written == [96, 0, 96, 96]
