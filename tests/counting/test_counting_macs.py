"""MACs of every rule on one node, against products written out by hand; shapes against onnxruntime's."""

from typing import Any

import numpy as np
import onnx
import pytest
from nodes import count, f32, graph, i8, node, one, require_real_shapes, u8, uncounted

Case = tuple[Any, dict[str, Any], dict[str, Any], int]


def scales(*names: str, dtype: Any = np.float32) -> dict[str, Any]:
    return {name: one(dtype) for name in names}


i32 = np.int32

PRODUCTS: dict[str, Case] = {
    # rows x columns x summed, over the batch
    "matmul": (node("MatMul", "x w"), {"x": f32(2, 3, 4)}, {"w": f32(4, 5)}, 2 * 3 * 5 * 4),
    "matmul of batches that broadcast": (
        node("MatMul", "x z"),
        {"x": f32(2, 1, 3, 4), "z": f32(7, 4, 5)},
        {},
        2 * 7 * 3 * 5 * 4,
    ),
    "matmul of vectors": (node("MatMul", "x z"), {"x": f32(4), "z": f32(4)}, {}, 4),
    "matmul with a vector": (node("MatMul", "x z"), {"x": f32(3, 4), "z": f32(4)}, {}, 3 * 4),
    "vector with matmul": (node("MatMul", "x z"), {"x": f32(4), "z": f32(2, 4, 5)}, {}, 2 * 5 * 4),
    "gemm": (node("Gemm", "x w b"), {"x": f32(3, 4)}, {"w": f32(4, 5), "b": f32(5)}, 3 * 5 * 4),
    "gemm, both swapped": (
        node("Gemm", "x w", transA=1, transB=1),
        {"x": f32(4, 3)},
        {"w": f32(5, 4)},
        3 * 5 * 4,
    ),
    "einsum": (node("Einsum", "x z", equation="bij, bkj -> bik"), {"x": f32(2, 3, 4), "z": f32(2, 5, 4)}, {}, 120),
    "einsum without arrow": (node("Einsum", "x z", equation="ij,jk"), {"x": f32(3, 4), "z": f32(4, 5)}, {}, 60),
    "einsum, outer product": (node("Einsum", "x z", equation="i,j->ij"), {"x": f32(3), "z": f32(4)}, {}, 12),
    "einsum of one operand": (node("Einsum", "x", equation="ij->ji"), {"x": f32(3, 4)}, {}, 0),
    "integer matmul": (node("MatMulInteger", "x w"), {"x": u8(3, 4)}, {"w": i8(4, 5)}, 60),
    "quantized matmul": (
        node("QLinearMatMul", "x xs xz w ws wz ys yz"),
        {"x": u8(2, 3, 4)},
        {**scales("xs", "ws", "ys"), **scales("xz", "yz", dtype=np.uint8), "w": i8(4, 5), "wz": one(np.int8)},
        120,
    ),
}

CONVOLUTIONS: dict[str, Case] = {
    # elements of the output x weights of its channel: 2 of 4 input channels, 3 x 3
    "conv in groups": (
        node("Conv", "x w", group=2, pads=[1, 1, 1, 1]),
        {"x": f32(1, 4, 8, 8)},
        {"w": f32(6, 2, 3, 3)},
        6 * 8 * 8 * 2 * 9,
    ),
    # (9 + 2 - 3) // 2 + 1 = 5 places
    "conv of one axis": (
        node("Conv", "x w b", strides=[2], pads=[1, 1]),
        {"x": f32(2, 3, 9)},
        {"w": f32(7, 3, 3), "b": f32(7)},
        2 * 7 * 5 * 3 * 3,
    ),
    # ceil(7 / 2) = 4 places on each axis
    "conv, padded to the same size": (
        node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 2]),
        {"x": f32(1, 3, 7, 7)},
        {"w": f32(5, 3, 3, 3)},
        5 * 16 * 27,
    ),
    # every input element is spread over 3 channels x 2 x 2
    "transposed conv": (
        node("ConvTranspose", "x w", strides=[2, 2]),
        {"x": f32(1, 4, 5, 5)},
        {"w": f32(4, 3, 2, 2)},
        4 * 25 * 3 * 4,
    ),
    "transposed conv in groups": (
        node("ConvTranspose", "x w", group=2),
        {"x": f32(1, 4, 5, 5)},
        {"w": f32(4, 3, 2, 2)},
        4 * 25 * 3 * 4,
    ),
    "integer conv": (node("ConvInteger", "x w"), {"x": u8(1, 2, 5, 5)}, {"w": u8(3, 2, 3, 3)}, 3 * 9 * 18),
    "quantized conv": (
        node("QLinearConv", "x xs xz w ws wz ys yz"),
        {"x": u8(1, 2, 5, 5)},
        {**scales("xs", "ws", "ys"), **scales("xz", "wz", "yz", dtype=np.uint8), "w": u8(3, 2, 3, 3)},
        3 * 9 * 18,
    ),
}

RECURRENT: dict[str, Case] = {
    # steps x batch x gates x hidden x (input + hidden) x directions
    "lstm": (
        node("LSTM", "x w r", "y h c", hidden_size=4),
        {"x": f32(5, 2, 3)},
        {"w": f32(1, 16, 3), "r": f32(1, 16, 4)},
        5 * 2 * 4 * 4 * (3 + 4),
    ),
    "gru in both directions": (
        node("GRU", "x w r", "y h", hidden_size=4, direction="bidirectional"),
        {"x": f32(5, 2, 3)},
        {"w": f32(2, 12, 3), "r": f32(2, 12, 4)},
        5 * 2 * 3 * 4 * (3 + 4) * 2,
    ),
    "rnn": (
        node("RNN", "x w r", "y h", hidden_size=4),
        {"x": f32(5, 2, 3)},
        {"w": f32(1, 4, 3), "r": f32(1, 4, 4)},
        5 * 2 * 4 * (3 + 4),
    ),
    "int8 lstm": (
        node("ms.DynamicQuantizeLSTM", "x w r - - - - - ws wz rs rz", "y h c", hidden_size=4),
        {"x": f32(5, 2, 3)},
        {
            "w": i8(1, 3, 16),
            "r": i8(1, 4, 16),
            "ws": f32(1),
            "rs": f32(1),
            "wz": i8(1),
            "rz": i8(1),
        },
        5 * 2 * 4 * 4 * (3 + 4),
    ),
}

# scores: batch x heads x queries x keys x head size; weighted sum: the same with the size of a value
ATTENTION: dict[str, Case] = {
    "of 4 dimensions": (
        node("Attention", "q k v"),
        {"q": f32(2, 3, 5, 8), "k": f32(2, 3, 7, 8), "v": f32(2, 3, 7, 6)},
        {},
        2 * 3 * 5 * 7 * (8 + 6),
    ),
    "a causal mask takes nothing off": (
        node("Attention", "q k v", is_causal=1),
        {"q": f32(2, 3, 5, 8), "k": f32(2, 3, 5, 8), "v": f32(2, 3, 5, 8)},
        {},
        2 * 3 * 5 * 5 * 16,
    ),
    "four heads share two": (
        node("Attention", "q k v", q_num_heads=4, kv_num_heads=2),
        {"q": f32(2, 5, 4 * 8), "k": f32(2, 7, 2 * 8), "v": f32(2, 7, 2 * 6)},
        {},
        2 * 4 * 5 * 7 * (8 + 6),
    ),
    "with a cache of 9": (
        node("Attention", "q k v - pk pv", "y nk nv", q_num_heads=4, kv_num_heads=2),
        {
            "q": f32(2, 1, 4 * 8),
            "k": f32(2, 1, 2 * 8),
            "v": f32(2, 1, 2 * 8),
            "pk": f32(2, 2, 9, 8),
            "pv": f32(2, 2, 9, 8),
        },
        {},
        2 * 4 * 1 * 10 * 16,
    ),
}

CONTRIB: dict[str, Case] = {
    "FusedMatMul": (
        node("ms.FusedMatMul", "x z", transA=1, transB=1),
        {"x": f32(2, 4, 3), "z": f32(2, 5, 4)},
        {},
        2 * 3 * 5 * 4,
    ),
    # transBatch puts the batch behind the rows: [3, 2, 4] is a batch of 2 matrices of 3 x 4
    "FusedMatMul, batch swapped": (
        node("ms.FusedMatMul", "x z", transBatchA=1),
        {"x": f32(3, 2, 4), "z": f32(2, 4, 5)},
        {},
        2 * 3 * 5 * 4,
    ),
    "FusedMatMul, all of the first swapped": (
        node("ms.FusedMatMul", "x z", transBatchA=1, transA=1, transBatchB=1),
        {"x": f32(4, 2, 3), "z": f32(4, 2, 5)},
        {},
        2 * 3 * 5 * 4,
    ),
    "TransposeMatMul": (
        node("ms.TransposeMatMul", "x z", transB=1),
        {"x": f32(2, 3, 4), "z": f32(2, 5, 4)},
        {},
        2 * 3 * 5 * 4,
    ),
    "FusedGemm": (
        node("ms.FusedGemm", "x w b", transB=1, activation="Relu"),
        {"x": f32(3, 4)},
        {"w": f32(5, 4), "b": f32(5)},
        60,
    ),
    "MatMulIntegerToFloat": (
        node("ms.MatMulIntegerToFloat", "x w xs ws xz wz"),
        {"x": u8(2, 3, 4)},
        {"w": i8(4, 5), **scales("xs", "ws"), "xz": one(np.uint8), "wz": one(np.int8)},
        120,
    ),
    "DynamicQuantizeMatMul": (
        node("ms.DynamicQuantizeMatMul", "x w ws wz"),
        {"x": f32(2, 3, 4)},
        {"w": i8(4, 5), "ws": one(), "wz": one(np.int8)},
        120,
    ),
    "QGemm": (
        node("ms.QGemm", "x xs xz w ws wz - ys yz", transB=1),
        {"x": u8(3, 4)},
        {**scales("xs", "ws", "ys"), **scales("xz", "yz", dtype=np.uint8), "w": i8(5, 4), "wz": one(np.int8)},
        60,
    ),
    "QGemm to float": (
        node("ms.QGemm", "x xs xz w ws wz"),
        {"x": u8(3, 4)},
        {**scales("xs", "ws"), "xz": one(np.uint8), "w": i8(4, 5), "wz": one(np.int8)},
        60,
    ),
    # 40 summed, in blocks of 32 and of a rest; 4 bits: 16 bytes a block
    "MatMulNBits": (
        node("ms.MatMulNBits", "x w ws", N=6, K=40, bits=4, block_size=32),
        {"x": f32(2, 3, 40)},
        {"w": u8(6, 2, 16), "ws": f32(6 * 2)},
        2 * 3 * 6 * 40,
    ),
    "MatMulBnb4": (
        node("ms.MatMulBnb4", "x w m", N=6, K=32, block_size=32, quant_type=1),
        {"x": f32(2, 3, 32)},
        {"w": u8(6 * 32 // 2), "m": f32(6)},
        2 * 3 * 6 * 32,
    ),
    # (5 + 2 - 3) / 2 + 1 = 3 places
    "FusedConv": (
        node("ms.FusedConv", "x w b", pads=[1, 1, 1, 1], strides=[2, 2], activation="Relu"),
        {"x": f32(1, 2, 5, 5)},
        {"w": f32(3, 2, 3, 3), "b": f32(3)},
        3 * 9 * 18,
    ),
    # ceil(5 / 2) = 3 places
    "FusedConv, padded to the same size": (
        node("ms.FusedConv", "x w b", auto_pad="SAME_LOWER", strides=[2, 2], activation="Relu"),
        {"x": f32(1, 2, 5, 5)},
        {"w": f32(3, 2, 3, 3), "b": f32(3)},
        3 * 9 * 18,
    ),
    "QLinearConv": (
        node("ms.QLinearConv", "x xs xz w ws wz ys yz", channels_last=1),
        {"x": u8(1, 5, 5, 2)},
        {**scales("xs", "ws", "ys"), **scales("xz", "wz", "yz", dtype=np.uint8), "w": u8(3, 2, 3, 3)},
        3 * 9 * 18,
    ),
    # 2 x 5 tokens of 12 are projected to q, k and v of 12; 3 heads of 4 look at 5 tokens
    "Attention": (
        node("ms.Attention", "x w b", num_heads=3),
        {"x": f32(2, 5, 12)},
        {"w": f32(12, 36), "b": f32(36)},
        2 * 5 * 12 * 36 + 2 * 3 * 5 * 5 * 8,
    ),
    "Attention with a cache": (
        node("ms.Attention", "x w b - p", "y n", num_heads=3, unidirectional=1),
        {"x": f32(2, 1, 12), "p": f32(2, 2, 3, 9, 4)},
        {"w": f32(12, 36), "b": f32(36)},
        2 * 1 * 12 * 36 + 2 * 3 * 1 * 10 * 8,
    ),
    "Attention with narrow values": (
        node("ms.Attention", "x w b", num_heads=3, qkv_hidden_sizes=[12, 12, 6]),
        {"x": f32(2, 5, 12)},
        {"w": f32(12, 30), "b": f32(30)},
        2 * 5 * 12 * 30 + 2 * 3 * 5 * 5 * (4 + 2),
    ),
    "QAttention": (
        node("ms.QAttention", "x w b xs ws - xz wz p", "y n", num_heads=3, unidirectional=1),
        {"x": u8(2, 1, 12), "p": f32(2, 2, 3, 9, 4)},
        {"w": i8(12, 36), "b": f32(36), **scales("xs", "ws"), "xz": one(np.uint8), "wz": one(np.int8)},
        2 * 1 * 12 * 36 + 2 * 3 * 1 * 10 * 8,
    ),
    "MultiHeadAttention": (
        node("ms.MultiHeadAttention", "q k v", num_heads=3),
        {"q": f32(2, 5, 12), "k": f32(2, 7, 12), "v": f32(2, 7, 6)},
        {},
        2 * 3 * 5 * 7 * (4 + 2),
    ),
    "MultiHeadAttention, keys by head": (
        node("ms.MultiHeadAttention", "q k v", num_heads=3),
        {"q": f32(2, 5, 12), "k": f32(2, 3, 7, 4), "v": f32(2, 3, 7, 4)},
        {},
        2 * 3 * 5 * 7 * 8,
    ),
    "MultiHeadAttention with a cache": (
        node("ms.MultiHeadAttention", "q k v - - - pk pv", "y nk nv", num_heads=3),
        {
            "q": f32(2, 1, 12),
            "k": f32(2, 1, 12),
            "v": f32(2, 1, 12),
            "pk": f32(2, 3, 9, 4),
            "pv": f32(2, 3, 9, 4),
        },
        {},
        2 * 3 * 1 * 10 * 8,
    ),
    "GroupQueryAttention": (
        node("ms.GroupQueryAttention", "q k v - - n t", "y nk nv", num_heads=4, kv_num_heads=2),
        {"q": f32(1, 5, 4 * 8), "k": f32(1, 5, 2 * 8), "v": f32(1, 5, 2 * 8)},
        {"n": np.asarray([4], i32), "t": np.asarray(5, i32)},
        4 * 5 * 5 * 16,
    ),
    "GroupQueryAttention, packed, with a cache": (
        node("ms.GroupQueryAttention", "q - - pk pv n t", "y nk nv", num_heads=4, kv_num_heads=2),
        {"q": f32(1, 1, (4 + 2 + 2) * 8), "pk": f32(1, 2, 9, 8), "pv": f32(1, 2, 9, 8)},
        {"n": np.asarray([9], i32), "t": np.asarray(10, i32)},
        4 * 1 * 10 * 16,
    ),
}

NOT_ON_CPU: dict[str, Case] = {
    # onnxruntime documents these layouts; its CPU provider refuses them
    "queries, keys and values packed": (
        node("ms.MultiHeadAttention", "q", num_heads=3),
        {"q": f32(2, 5, 3, 3, 4)},
        {},
        2 * 3 * 5 * 5 * 8,
    ),
    "keys and values packed": (
        node("ms.MultiHeadAttention", "q k", num_heads=3),
        {"q": f32(2, 5, 12), "k": f32(2, 7, 3, 2, 4)},
        {},
        2 * 3 * 5 * 7 * 8,
    ),
    "GemmFastGelu": (node("ms.GemmFastGelu", "x w"), {"x": f32(2, 3, 4)}, {"w": f32(4, 5)}, 120),
    "NhwcConv": (
        node("ms.NhwcConv", "x w", strides=[2, 2]),
        {"x": f32(1, 5, 5, 2)},
        {"w": f32(3, 3, 3, 2)},
        3 * 4 * 18,
    ),
}

ALL = {
    f"{group}: {name}": case
    for group, table in (
        ("product", PRODUCTS),
        ("convolution", CONVOLUTIONS),
        ("recurrent", RECURRENT),
        ("attention", ATTENTION),
        ("contrib", CONTRIB),
    )
    for name, case in table.items()
}


@pytest.mark.parametrize("case", ALL.values(), ids=ALL)
def test_macs(case: Case) -> None:
    built, feeds, weights, macs = case
    model = graph(built, feeds, weights)
    require_real_shapes(model, feeds)
    counted = count(model, feeds)
    assert not counted.uncounted
    assert counted.macs == macs


@pytest.mark.parametrize("case", NOT_ON_CPU.values(), ids=NOT_ON_CPU)
def test_macs_of_what_does_not_run_here(case: Case) -> None:
    built, feeds, weights, macs = case
    counted = count(graph(built, feeds, weights), feeds)
    assert not counted.uncounted
    assert counted.macs == macs


def test_what_multiplies_no_matrices_is_zero_and_counted() -> None:
    feeds = {"x": f32(2, 3, 4)}
    names = ("Gelu", "Softmax", "Acos", "Swish", "ThresholdedRelu", "ReduceMean", "Erf", "ms.QuickGelu")
    counted = count(graph([node(name, "x", name) for name in names], feeds, opset=24), feeds)
    assert not counted.uncounted
    assert counted.macs == 0


def branch(operator: str) -> Any:
    return onnx.helper.make_graph([node(operator, "x", "b")], "g", [], [onnx.ValueInfoProto(name="b")])


def test_control_flow_is_named() -> None:
    feeds = {"x": f32(2, 3), "c": np.asarray(True)}
    model = graph(node("If", "c", then_branch=branch("Relu"), else_branch=branch("Neg")), feeds)
    assert uncounted(model, feeds) == {"If": (1, "which branch the node 'y' runs depends on data")}


def test_operators_nobody_knows_are_named_and_counted() -> None:
    feeds = {"x": f32(2, 3)}
    nodes = [onnx.helper.make_node("Foo", ["x"], [f"y{index}"], domain="com.acme") for index in range(3)]
    model = graph(nodes, feeds)
    model.opset_import.append(onnx.helper.make_opsetid("com.acme", 1))
    assert uncounted(model, feeds) == {"com.acme::Foo": (3, "edgeprof has no rule for it")}


def test_what_follows_an_unknown_operator_is_named_too() -> None:
    feeds = {"x": f32(2, 3)}
    nodes = [
        onnx.helper.make_node("Foo", ["x"], ["f"], domain="com.acme"),
        node("Relu", "f", "r"),
        node("MatMul", "r w"),
    ]
    model = graph(nodes, feeds, {"w": f32(3, 5)})
    model.opset_import.append(onnx.helper.make_opsetid("com.acme", 1))
    assert uncounted(model, feeds) == {
        "com.acme::Foo": (1, "edgeprof has no rule for it"),
        "MatMul": (1, "its shapes depend on data, or are not in the file"),
    }


def test_a_matmul_whose_shape_depends_on_data_is_named() -> None:
    """NonZero finds as many places as there are: nothing says how many rows follow."""
    feeds = {"x": f32(4)}
    nodes = [
        node("NonZero", "x", "at"),
        node("Transpose", "at", "rows"),
        node("Cast", "rows", "real", to=1),
        node("MatMul", "real w"),
    ]
    counted = count(graph(nodes, feeds, {"w": f32(1, 5)}), feeds)
    (missed,) = counted.uncounted
    assert (missed.operator, missed.count) == ("MatMul", 1)
    assert "depend on data" in missed.reason
    assert counted.unsized == 4  # at, rows, real, y: none of them has a size


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("...ij,...jk->...ik", [(2, 3, 4), (2, 4, 5)], 2 * 3 * 4 * 5),
        ("bsd, d...->bs...", [(1, 6, 4), (4, 2, 3)], 6 * 4 * 2 * 3),
        ("...ij,jk->...ik", [(7, 2, 3, 4), (4, 5)], 7 * 2 * 3 * 4 * 5),
        ("bsd,dr,rk->bsk", [(2, 3, 8), (8, 4), (4, 5)], 2 * 3 * 8 * 4 + 2 * 3 * 4 * 5),
        ("ab,bc,bd", [(2, 3), (3, 4), (3, 5)], 2 * 3 * 4 + 2 * 3 * 4 * 5),
    ],
)
def test_einsum_with_dots_or_several_operands(equation: str, shapes: list[tuple[int, ...]], macs: int) -> None:
    """Operands are taken one after the other: x W V costs x W, then (x W) V."""
    feeds = {f"x{index}": f32(*shape) for index, shape in enumerate(shapes)}
    counted = count(graph(node("Einsum", " ".join(feeds), equation=equation), feeds), feeds)
    assert (counted.macs, counted.uncounted) == (macs, ())
