"""What is told of a whole graph: its parameters, precision, attended positions, and why it cannot run."""

from typing import Any

import numpy as np
import onnx
import pytest
from nodes import Arrays, count, f32, graph, i8, i64, node, one, u8
from onnx import TensorProto, helper, numpy_helper

from edgeprof import counting

X = {"x": f32(3, 4)}


def f16(*shape: int) -> Any:
    return np.ones(shape, np.float16)


# --- parameters ---


def test_parameters_are_what_the_nodes_of_a_count_have_in_all() -> None:
    """4 x 5 and 5; a scalar and two sizes are none. 3 x 4 are used by nobody, and lie in the file all the same."""
    nodes = [node("MatMul", "x w", "m"), node("Add", "m b", "a"), node("Mul", "a c", "s"), node("Reshape", "s to")]
    weights = {"w": f32(4, 5), "b": f32(5), "c": one(), "to": i64(-1, 5), "spare": f32(3, 4)}
    model = graph(nodes, X, weights)
    counted = count(model, X)
    assert counting.parameters(model) == counted.params == 25 + 12
    assert counting.weights_bytes(model) == counted.weights_bytes == 4 * (20 + 5 + 1 + 12) + 16
    assert {cost.role: cost.params for cost in counted.nodes if cost.params} == {
        "weight matmuls": 20,
        "elementwise and data movement": 5,
        "unused weights": 12,
    }


def test_of_a_sparse_initializer_the_stored_values_count() -> None:
    """Three values of a 4 x 5 matrix: 3 x 4 bytes, and a product of 3 x 5 sums over 4."""
    values = numpy_helper.from_array(np.ones(3, np.float32), "w")
    places = numpy_helper.from_array(i64(1, 7, 19), "at")
    model = graph(node("MatMul", "x w"), X)
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4, 5]))
    counted = count(model, X)
    assert counting.parameters(model) == counted.params == 3
    assert (counted.weights_bytes, counted.macs) == (12, 3 * 5 * 4)


def test_strings_are_no_parameters() -> None:
    words = helper.make_tensor("words", TensorProto.STRING, [2], [b"a", b"b"])
    assert counting.parameters(graph(node("Gather", "words at"), {"at": i64(1, 0)}, {"words": words})) == 0


def test_constants_and_branches_of_any_depth_count() -> None:
    """4 x 5 in a Constant, 4 x 2 and 4 x 3 in the branches, whichever runs; both hold their matrix under one name."""
    model = branching()
    model.graph.node.insert(0, node("Constant", "", "k", value=numpy_helper.from_array(f32(4, 5))))
    model.graph.node.append(node("MatMul", "x k", "z"))
    assert counting.parameters(model) == 20 + 8 + 12
    assert count(model, {**X, "c": np.asarray(True)}).params == 40


# --- precision ---


INT4 = helper.make_tensor("w", TensorProto.INT4, [4, 6], np.zeros(24, np.int8))
QDQ = [
    node("QuantizeLinear", "x s zx", "xq"),
    node("DequantizeLinear", "xq s zx", "xd"),
    node("DequantizeLinear", "w s", "v"),
    node("MatMul", "xd v"),
]
PRECISIONS: dict[str, tuple[Any, Arrays, Arrays, str]] = {
    "fp32": (node("MatMul", "x w"), X, {"w": f32(4, 6)}, "fp32"),
    "fp64": (node("MatMul", "x w"), {"x": np.ones((3, 4))}, {"w": np.ones((4, 6))}, "fp64"),
    "fp16 between fp32": (
        [node("Cast", "x", "h", to=10), node("MatMul", "h w", "m"), node("Cast", "m", to=1)],
        X,
        {"w": f16(4, 6)},
        "fp16",
    ),
    "made fp16 before the product": (
        [node("Cast", "x", "h", to=10), node("Cast", "w", "v", to=10), node("MatMul", "h v")],
        X,
        {"w": f32(4, 6)},
        "fp16",
    ),
    "stored in fp16": ([node("Cast", "w", "v", to=1), node("MatMul", "x v")], X, {"w": f16(4, 6)}, "fp16"),
    "QDQ of 8 bits": (QDQ, X, {"w": i8(4, 6), "s": one(), "zx": one(np.uint8)}, "int8"),
    "QDQ with activations of 16 bits": (QDQ, X, {"w": i8(4, 6), "s": one(), "zx": one(np.uint16)}, "a16w8"),
    "QDQ with weights of 4 bits": (QDQ, X, {"w": INT4, "s": one(), "zx": one(np.uint16)}, "a16w4"),
    "QDQ of a convolution": (
        [node("DequantizeLinear", "w s", "v"), node("Conv", "x v")],
        {"x": f32(1, 2, 5, 5)},
        {"w": i8(3, 2, 3, 3), "s": one()},
        "int8",
    ),
    "dynamic": (
        [node("DynamicQuantizeLinear", "x", "q qs qz"), node("MatMulInteger", "q w qz")],
        X,
        {"w": i8(4, 6)},
        "int8",
    ),
    "dynamic, fused": (node("ms.DynamicQuantizeMatMul", "x w s"), X, {"w": i8(4, 6), "s": f32(6)}, "int8"),
    "QOperator": (
        node("QLinearMatMul", "x s z w s z s z"),
        {"x": u8(3, 4)},
        {"w": u8(4, 6), "s": one(), "z": one(np.uint8)},
        "int8",
    ),
    "blocks of 4 bits": (
        node("ms.MatMulNBits", "x w s", N=6, K=32, bits=4, block_size=32),
        {"x": f32(3, 32)},
        {"w": u8(6, 1, 16), "s": f32(6)},
        "int4",
    ),
    "blocks of 8 bits": (
        node("ms.MatMulNBits", "x w s", N=6, K=32, bits=8, block_size=32),
        {"x": f32(3, 32)},
        {"w": u8(6, 1, 32), "s": f32(6)},
        "int8",
    ),
    "weights that hold the most numbers decide": (
        [node("MatMul", "x w", "m"), node("DequantizeLinear", "v s", "r"), node("MatMul", "m r")],
        X,
        {"w": f32(4, 6), "v": i8(6, 20), "s": one()},
        "int8",
    ),
    "a table is no product": (
        [node("ms.GatherBlockQuantized", "t ids ts", "x", bits=4, block_size=32), node("MatMul", "x w")],
        {"ids": i64(1, 2)},
        {"t": u8(700, 16), "ts": f32(700, 1), "w": f32(32, 6)},
        "fp32",
    ),
    "products of activations": (node("MatMul", "x z"), {"x": f16(3, 4), "z": f16(4, 3)}, {}, "fp16"),
    "no product: what is stored": (node("Add", "x b"), {"x": f16(3, 4)}, {"b": f16(4)}, "fp16"),
    "nothing at all": (node("Relu", "x"), X, {}, "fp32"),
}


@pytest.mark.parametrize("case", PRECISIONS.values(), ids=PRECISIONS)
def test_precision_is_what_products_multiply(case: Any) -> None:
    nodes, feeds, weights, word = case
    assert counting.precision(graph(nodes, feeds, weights)) == word


# --- attended positions ---


def scores(*between: onnx.NodeProto, last: str = "m", **softmax: int) -> onnx.ModelProto:
    """Queries [2, 5, 8] and keys [2, 8, 7]; `between` leads from the product "m" to `last`."""
    nodes = [node("MatMul", "q k", "m"), *between, node("Softmax", last, "p", **softmax), node("MatMul", "p v")]
    return graph(nodes, QUERIES, {"c": one(), "b": f32(5, 7)})


QUERIES = {"q": f32(2, 5, 8), "k": f32(2, 8, 7), "v": f32(2, 7, 8)}


def test_attention_written_out() -> None:
    assert count(scores(), QUERIES).attended == 5
    assert count(scores(axis=2), QUERIES).attended == 5
    between = [node("Div", "m c", "d"), node("Add", "b d", "e")]
    assert count(scores(*between, last="e"), QUERIES).attended == 5


def test_no_attention() -> None:
    """A Softmax along another axis, of a product with weights, of no product."""
    assert count(scores(axis=1), QUERIES).attended is None
    classes = [node("MatMul", "x w", "m"), node("Softmax", "m")]
    assert count(graph(classes, X, {"w": f32(4, 5)}), X).attended is None
    assert count(graph(node("Softmax", "x"), X), X).attended is None


def test_the_attention_with_most_macs() -> None:
    small = {"a": f32(1, 1, 9, 2)}
    large = {"q": f32(1, 2, 5, 8), "k": f32(1, 2, 30, 8)}
    nodes = [node("Attention", "q k k", "y"), node("Attention", "a a a", "z")]
    assert count(graph(nodes, {**small, **large}), {**small, **large}).attended == 5


# --- why it cannot run ---

PROBLEMS: dict[str, tuple[Any, Arrays, Arrays, str]] = {
    "a table that is too short": (
        [
            node("Shape", "ids", "s"),
            node("Gather", "s one", "n"),
            node("Range", "o n one", "at"),
            node("Gather", "w at"),
        ],
        {"ids": np.ones((1, 65), np.int64)},
        {"w": f32(64, 4), "one": np.asarray(1), "o": np.asarray(0)},
        "Gather: a table of 64 rows (w) is indexed at 64",
    ),
    "from its end": (node("Gather", "x at"), X, {"at": i64(-4)}, "Gather: a table of 3 rows (x) is indexed at -4"),
    "shapes that do not fit": (
        node("Add", "x z", "y"),
        {"x": f32(16, 4), "z": f32(32, 4)},
        {},
        "Add gets [16, 4] and [32, 4], which do not match",
    ),
    "a product that does not fit": (
        node("MatMul", "x w"),
        X,
        {"w": f32(5, 6)},
        "MatMul gets [3, 4] and [5, 6], which do not match",
    ),
    "reflection": (
        node("Pad", "x p", mode="reflect"),
        X,
        {"p": i64(0, 4, 0, 0)},
        "Pad reflects 4 values, and has 4: it needs 5 or more",
    ),
    "reflection along one axis": (
        node("Pad", "x p - a", mode="reflect"),
        X,
        {"p": i64(3, 1), "a": i64(0)},
        "Pad reflects 3 values, and has 3: it needs 4 or more",
    ),
}


@pytest.mark.parametrize("case", PROBLEMS.values(), ids=PROBLEMS)
def test_why_it_cannot_run(case: Any) -> None:
    nodes, feeds, weights, sentence = case
    assert count(graph(nodes, feeds, weights), feeds).problems == (sentence,)


def test_onnxruntime_refuses_them_too() -> None:
    from nodes import run

    for nodes, feeds, weights, _ in PROBLEMS.values():
        with pytest.raises(Exception, match=r"indices|broadcast|dimension|pad|Incompatible"):
            run(graph(nodes, feeds, weights), feeds)


def test_what_fits_has_no_problem() -> None:
    for nodes, feeds, weights in (
        (node("Gather", "x at"), X, {"at": i64(2, -3)}),
        (node("Pad", "x p", mode="reflect"), X, {"p": i64(2, 3, 0, 0)}),
        (node("Pad", "x p"), X, {"p": i64(9, 9, 0, 0)}),
    ):
        assert count(graph(nodes, feeds, weights), feeds).problems == ()


def test_values_of_inputs_can_be_given() -> None:
    feeds = {"at": i64(3, 128)}
    model = graph(node("Gather", "w at"), feeds, {"w": f32(128, 4)})
    assert count(model, feeds).problems == ()
    summary = counting.count(model, {"at": (2,)}, {"at": i64(3, 128)})
    assert summary.problems == ("Gather: a table of 128 rows (w) is indexed at 128",)


# --- control flow ---


def branching() -> onnx.ModelProto:
    """x [3, 4] times a matrix of 4 x 2 in one branch and 4 x 3 in the other, both called "own"."""
    built = [onnx.ValueInfoProto(name="b")]
    then, other = (
        helper.make_graph([node("MatMul", "x own", "b")], "g", [], built, [numpy_helper.from_array(f32(4, n), "own")])
        for n in (2, 3)
    )
    return graph(node("If", "c", then_branch=then, else_branch=other), {**X, "c": np.asarray(True)})


def count_with_values(model: onnx.ModelProto, feeds: Arrays, **values: Any) -> counting.GraphCosts:
    shapes = {name: array.shape for name, array in feeds.items()}
    return counting.count(model, shapes, {name: np.asarray(value) for name, value in values.items()})


@pytest.mark.parametrize(("chosen", "macs"), [(True, 3 * 2 * 4), (False, 3 * 3 * 4)])
def test_the_branch_that_a_value_chooses(chosen: bool, macs: int) -> None:
    counted = count_with_values(branching(), {**X, "c": np.asarray(True)}, c=[chosen])
    assert (counted.macs, counted.uncounted, counted.params) == (macs, (), 8 + 12)


def test_a_branch_that_a_size_chooses() -> None:
    """As torch writes squeeze: whether an axis is of one."""
    built = [onnx.ValueInfoProto(name="b")]
    then = helper.make_graph([node("Squeeze", "x first", "b")], "g", [], built)
    other = helper.make_graph([node("Identity", "x", "b")], "g", [], built)
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Equal", "n one", "c"),
        node("If", "c", "r", then_branch=then, else_branch=other),
        node("MatMul", "r w"),
    ]
    weights = {"first": i64(0), "zero": np.asarray(0), "one": np.asarray(1), "w": f32(4, 5)}
    for batch in (1, 2):
        feeds = {"x": f32(batch, 3, 4)}
        counted = count(graph(nodes, feeds, weights), feeds)
        assert (counted.macs, counted.uncounted) == (batch * 3 * 5 * 4, ())


def looped(rounds: int | None, goes_on: str = "go", **held: Any) -> onnx.ModelProto:
    """x [3, 4] is multiplied by a matrix of 4 x 4 in every round, and each round's result is kept."""
    body = helper.make_graph(
        [node("Identity", goes_on, "go_on"), node("MatMul", "state w", "next"), node("Identity", "next", "kept")],
        "body",
        [value("i", TensorProto.INT64), value("go", TensorProto.BOOL), value("state", TensorProto.FLOAT)],
        [onnx.ValueInfoProto(name=name) for name in ("go_on", "next", "kept")],
        [numpy_helper.from_array(np.asarray(True), "always")],
    )
    times = {} if rounds is None else {"n": np.asarray(rounds)}
    feeds = {**X, **({"n": np.asarray(2)} if rounds is None else {}), **held}
    built = node("Loop", f"n {'c' if held else '-'} x", "last all", body=body)
    return graph([built, node("MatMul", "all v")], feeds, {**times, "w": f32(4, 4), "v": f32(4, 2)})


def value(name: str, kind: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, None)


def test_a_loop_of_known_length() -> None:
    """Seven rounds of 3 x 4 x 4; then all of them, [7, 3, 4], times 4 x 2."""
    counted = count(looped(7), X)
    assert (counted.macs, counted.uncounted, counted.params) == (7 * 48 + 7 * 3 * 2 * 4, (), 16 + 8)


def test_a_loop_that_data_end_is_named() -> None:
    counted = count(looped(None), {**X, "n": np.asarray(2)})
    assert {one.operator for one in counted.uncounted} == {"Loop", "MatMul"}
    assert "how often the node 'last' runs depends on data" in counted.uncounted[0].reason
    assert counted.params == 16 + 8
    ended = count(looped(7, c=np.asarray(True)), {**X, "c": np.asarray(True)})
    assert "Loop" in {one.operator for one in ended.uncounted}


def test_a_scan_runs_once_for_each_slice() -> None:
    """Five layers of 4 x 4, stacked: x [3, 4] goes through all of them. They are weights, and each is used once."""
    body = helper.make_graph(
        [node("MatMul", "state w", "next"), node("Identity", "next", "kept")],
        "body",
        [value("state", TensorProto.FLOAT), value("w", TensorProto.FLOAT)],
        [onnx.ValueInfoProto(name="next"), onnx.ValueInfoProto(name="kept")],
    )
    built = node("Scan", "x layers", "last all", body=body, num_scan_inputs=1)
    counted = count(graph(built, X, {"layers": f32(5, 4, 4)}), X)
    assert (counted.macs, counted.params, counted.uncounted) == (5 * 48, 80, ())
    assert counted.unsized == 0
    assert {cost.role for cost in counted.nodes if cost.macs} == {"weight matmuls"}


def test_a_loop_in_a_loop() -> None:
    """Three rounds of four rounds."""
    inner = helper.make_graph(
        [node("Identity", "go2", "on2"), node("MatMul", "deep w", "deeper")],
        "inner",
        [value("j", TensorProto.INT64), value("go2", TensorProto.BOOL), value("deep", TensorProto.FLOAT)],
        [onnx.ValueInfoProto(name="on2"), onnx.ValueInfoProto(name="deeper")],
    )
    outer = helper.make_graph(
        [node("Identity", "go", "on"), node("Loop", "four - state", "next", body=inner)],
        "outer",
        [value("i", TensorProto.INT64), value("go", TensorProto.BOOL), value("state", TensorProto.FLOAT)],
        [onnx.ValueInfoProto(name="on"), onnx.ValueInfoProto(name="next")],
    )
    weights = {"three": np.asarray(3), "four": np.asarray(4), "w": f32(4, 4)}
    counted = count(graph(node("Loop", "three - x", body=outer), X, weights), X)
    assert (counted.macs, counted.uncounted) == (3 * 4 * 48, ())


def test_a_state_that_grows_is_named() -> None:
    """Each round puts x behind what is there: 3, 6, 9 rows. No round costs what another does."""
    body = helper.make_graph(
        [node("Identity", "go", "on"), node("Concat", "state x", "next", axis=0)],
        "body",
        [value("i", TensorProto.INT64), value("go", TensorProto.BOOL), value("state", TensorProto.FLOAT)],
        [onnx.ValueInfoProto(name="on"), onnx.ValueInfoProto(name="next")],
    )
    counted = count(graph(node("Loop", "n - x", body=body), X, {"n": np.asarray(3)}), X)
    (missed,) = counted.uncounted
    assert (missed.operator, missed.reason) == ("Loop", "a state of the node 'y' changes its shape in every iteration")


def test_a_range_of_vectors_of_one_number_runs() -> None:
    """onnx asks for scalars; onnxruntime takes these whose shapes are not in the file, and makes seven numbers."""
    from nodes import run

    feeds = {"a": i64(0), "b": i64(7), "c": i64(1)}
    model = graph(node("Range", "a b c"), feeds)
    for given in model.graph.input:
        given.type.tensor_type.ClearField("shape")
    assert run(model, feeds)["y"].shape == (7,)
    counted = counting.count(model, dict.fromkeys(feeds, (1,)), feeds)
    assert (counted.problems, counted.unsized, counted.nodes[0].activation_bytes) == ((), 0, 7 * 8)


def test_an_optional_has_the_shape_of_its_element() -> None:
    """3 rows of 4, times 4 x 5; without sizes it is not counted, and nothing fails."""
    model = graph([node("OptionalGetElement", "x", "e"), node("MatMul", "e w")], X, {"w": f32(4, 5)}, opset=18)
    element = helper.make_tensor_type_proto(TensorProto.FLOAT, ["rows", 4])
    model.graph.input[0].type.CopyFrom(helper.make_optional_type_proto(element))
    assert counting.count(model, {"x": (3, 4)}).macs == 60
    assert [missed.operator for missed in counting.count(model, {}).uncounted] == ["MatMul"]
