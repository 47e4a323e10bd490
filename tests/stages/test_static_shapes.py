"""Graphs of one shape compute what the original computes, whatever the original is made of."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeprof.api.targets import foreign
from edgeprof.errors import UsageError
from edgeprof.schema import Target
from edgeprof.stages import static_shapes
from edgeprof.stages.provider_graph import prepare_for_provider

NPU = Target(provider="qnn", kind="NPU", static=True, lacks=("Attention",))
X = np.arange(12, dtype=np.float32).reshape(3, 4)
OPSET = '<ir_version: 10, opset_import: ["": 21]>'


def pinned(
    model: onnx.ModelProto, folder: Path, switches: dict[str, Any] | None = None, **shapes: tuple[int, ...]
) -> onnx.ModelProto:
    onnx.save(model, folder / "theirs.onnx")
    built = prepare_for_provider(foreign(folder / "theirs.onnx").graph(), NPU, shapes, folder / "graphs", switches)
    assert built.static
    return onnx.load(built.path)


def run(model: onnx.ModelProto, feeds: dict[str, Any]) -> dict[str, Any]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    accepted = {value.name for value in session.get_inputs()}
    given = {name: value for name, value in feeds.items() if name in accepted}
    return dict(zip(names, session.run(names, given), strict=True))


def require_same(model: onnx.ModelProto, folder: Path, x: Any = X) -> onnx.ModelProto:
    """Pin at the shape of `x`, and see that outputs are bit for bit what the original gives."""
    built = pinned(model, folder, x=x.shape)
    result, expected = run(built, {"x": x}), run(model, {"x": x})
    assert list(result) == list(expected)
    for name, values in expected.items():
        assert (result[name].dtype, result[name].shape) == (values.dtype, values.shape)
        np.testing.assert_array_equal(result[name], values)
    return built


GRAPHS = {
    "a scalar index drops its axis": """(float[n, 4] x) => (float[m] y) {
        first = Constant<value = int64 {0}>()
        y = Gather<axis = 1>(x, first)
    }""",
    "a scalar of shape arithmetic": """(float[n, 4] x) => (float[m] y) {
        one = Constant<value = int64 {1}>()
        shape = Shape(x)
        last = Gather(shape, one)
        before = Sub(last, one)
        y = Gather<axis = 1>(x, before)
    }""",
    "names that a constant would take": """(float[n, 4] x) => (float[a, b] y, float[a, b] z) {
        shape = Shape(x)
        twice = Add(shape, shape)
        "twice/folded" = Neg(x)
        "twice/folded+" = Abs(x)
        y = Resize<mode = "nearest">("twice/folded", , , twice)
        z = Resize<mode = "nearest">("twice/folded+", , , twice)
    }""",
    "outputs that are inputs and constants": """(float[n, 4] x)
        => (float[n, 4] x, int64[2] shape, float[n, 4] y, int64 c) {
        c = Constant<value = int64 {7}>()
        shape = Shape(x)
        y = Reshape(x, shape)
    }""",
    "inputs that are left out": """(float[n, 4] x) => (float[n, 4] y) {
        zero = Constant<value = int64 {0}>()
        shape = Shape(x)
        rows = Gather(shape, zero)
        most = Cast<to = 1>(rows)
        y = Clip(x, , most)
    }""",
    "branches that read what sizes tell": """(float[n, 4] x) => (float[a, b] y) {
        zero = Constant<value = int64 {0}>()
        shape = Shape(x)
        rows = Gather(shape, zero)
        sum = ReduceSum<keepdims = 0>(x)
        none = Constant<value = float {0.0}>()
        some = Greater(sum, none)
        y = If(some) <
            then_branch = more () => (float[a, b] more) { more = Expand(x, shape) },
            else_branch = fewer () => (float[a, b] fewer) { fewer = Neg(x) }
        >
    }""",
    "a loop that reads what sizes tell": """(float[n, 4] x) => (float[n, 4] y) {
        zero = Constant<value = int64 {0}>()
        yes = Constant<value = bool {1}>()
        shape = Shape(x)
        rows = Gather(shape, zero)
        step = Cast<to = 1>(rows)
        y = Loop(rows, yes, x) <
            body = again (int64 i, bool go, float[n, 4] before) => (bool go_on, float[n, 4] after) {
                go_on = Identity(go)
                after = Add(before, step)
            }
        >
    }""",
    "nothing in a tensor": """(float[n, 4] x) => (float[a, b] y) {
        keep = Constant<value = int64[2] {0, 1}>()
        shape = Shape(x)
        none = Mul(shape, keep)
        nothing = ConstantOfShape(none)
        y = Concat<axis = 0>(nothing, x)
    }""",
    "a sequence inside": """(float[n, 4] x) => (float[a, b] y) {
        parts = SplitToSequence<axis = 0>(x)
        y = ConcatFromSequence<axis = 0>(parts)
    }""",
    "all axes, by an empty list of them": """(float[n, 4] x) => (float[n, 4] y) {
        axes = Constant<value_ints: ints = []>()
        shape = Shape(x)
        sum = ReduceSum<keepdims = 0>(shape, axes)
        number = Cast<to = 1>(sum)
        y = Mul(x, number)
    }""",
}


@pytest.mark.parametrize("kind", GRAPHS)
def test_it_computes_the_same(kind: str, tmp_path: Path) -> None:
    require_same(onnx.parser.parse_model(f"{OPSET} g {GRAPHS[kind]}"), tmp_path)


def test_the_standard_domain_by_its_name(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["ai.onnx": 17]> g (float[n, 4] x) => (float[a] y) {
        shape = ai.onnx.Shape(x)
        all = ai.onnx.ReduceProd<keepdims = 1>(shape)
        y = ai.onnx.Reshape(x, all)
    }"""
    built = require_same(onnx.parser.parse_model(text), tmp_path)
    assert [node.op_type for node in built.graph.node] == ["Reshape"]


def test_weights_that_are_listed_as_inputs(tmp_path: Path) -> None:
    """IR version 3. One is folded away, the other one stays, and neither is asked for."""
    text = """<ir_version: 3, opset_import: ["": 8]> g (float[n, 4] x, float[4, 4] w, float[4, 4] v)
        => (float[n, 4] y) {
        t = Transpose(v)
        h = MatMul(x, w)
        y = MatMul(h, t)
    }"""
    model = onnx.parser.parse_model(text)
    for name, seed in (("w", 0), ("v", 1)):
        weight = np.random.default_rng(seed).integers(-3, 3, (4, 4)).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    built = require_same(model, tmp_path)
    assert [value.name for value in built.graph.input] == ["x"]


@pytest.mark.parametrize(
    "values",
    [
        np.array([[-np.inf, np.nan, 1, np.inf]], np.float32),
        np.array([[True, False, True, True]]),
        np.array([["a", "", "b", "é"]], object),
        np.array([[1, -7, 3, 4]], np.int8),
        np.array([[1.5, np.nan, 65504, -0.0]], np.float16),
    ],
    ids=["inf and nan", "bool", "string", "int8", "fp16"],
)
def test_constants_of_every_type(values: Any, tmp_path: Path) -> None:
    """Spread over the rows of x, whose number nobody knows before."""
    tensor = helper.make_tensor(
        "c",
        helper.np_dtype_to_tensor_dtype(values.dtype),
        values.shape,
        [text.encode() for text in values.ravel()] if values.dtype == object else values.ravel(),
    )
    nodes = [
        helper.make_node("Constant", [], ["c"], value=tensor),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Expand" if values.dtype != object else "Tile", ["c", "times"], ["spread"]),
        helper.make_node("Identity", ["spread"], ["y"]),
    ]
    times = [helper.make_node("Identity", ["shape"], ["times"])]
    if values.dtype == object:
        times = [
            helper.make_node("Constant", [], ["keep"], value_ints=[1, 0]),
            helper.make_node("Constant", [], ["one"], value_ints=[0, 1]),
            helper.make_node("Mul", ["shape", "keep"], ["rows"]),
            helper.make_node("Add", ["rows", "one"], ["times"]),
        ]
    graph = helper.make_graph(
        [*nodes[:2], *times, *nodes[2:]],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(values.dtype), ["a", "b"])],
    )
    require_same(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path)


def test_what_has_one_shape_stays_as_it_is(tmp_path: Path) -> None:
    """A graph that was pinned before, whose constants have the names that they would get."""
    text = f"{OPSET} g {GRAPHS['inputs that are left out']}"
    first = require_same(onnx.parser.parse_model(text), tmp_path)
    again = require_same(first, tmp_path)
    assert [node.op_type for node in again.graph.node] == [node.op_type for node in first.graph.node] == ["Clip"]


def test_equal_constants_are_stored_once_and_all_of_them_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two masks of 12 numbers, 48 bytes each; where 40 bytes are too many, the graph makes them itself."""
    text = f"""{OPSET} g (float[n, 4] x) => (float[n, 4] y) {{
        shape = Shape(x)
        a = ConstantOfShape<value = float[1] {{2}}>(shape)
        b = ConstantOfShape<value = float[1] {{2}}>(shape)
        h = Mul(x, a)
        y = Add(h, b)
    }}"""
    model = onnx.parser.parse_model(text)
    assert len(require_same(model, tmp_path).graph.initializer) == 1
    monkeypatch.setattr(static_shapes, "FOLDED_BYTES", 40)
    (tmp_path / "bounded").mkdir()
    built = require_same(model, tmp_path / "bounded")
    assert [node.op_type for node in built.graph.node] == ["ConstantOfShape", "ConstantOfShape", "Mul", "Add"]


def test_a_sequence_among_the_inputs_is_refused(tmp_path: Path) -> None:
    text = f"""{OPSET} g (seq(float[n]) parts) => (float[m] y) {{
        y = ConcatFromSequence<axis = 0>(parts)
    }}"""
    with pytest.raises(UsageError, match="Input 'parts' is no tensor of a fixed shape"):
        pinned(onnx.parser.parse_model(text), tmp_path)


MERGED = f"""{OPSET} g (float[n, 4] x, bool[1] use_cache_branch, float[4] bias) => (float[a, b] y, float[a, b] z) {{
    y, z = If(use_cache_branch) <
        then_branch = with_cache () => (float[a, b] first, float[a, b] second) {{
            inner = Constant<value = bool {{1}}>()
            first = If(inner) <
                then_branch = sum () => (float[a, b] added) {{ added = Add(x, bias) }},
                else_branch = difference () => (float[a, b] less) {{ less = Sub(x, bias) }}
            >
            second = Identity(x)
        }},
        else_branch = without () => (float[a, b] third, float[a, b] fourth) {{
            shape = Constant<value_ints: ints = [4, 3]>()
            third = Reshape(x, shape)
            fourth = Neg(third)
        }}
    >
}}"""


@pytest.mark.parametrize(("value", "operators"), [(True, {"Add", "Identity"}), (False, {"Reshape", "Neg"})])
def test_the_branch_that_an_input_chooses_runs(value: bool, operators: set[str], tmp_path: Path) -> None:
    """A merged decoder: the other branch would not even have a shape here. The switch is no input any more."""
    model = onnx.parser.parse_model(MERGED)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "bias"))
    chosen = np.array([value])
    built = pinned(model, tmp_path, {"use_cache_branch": chosen}, x=X.shape, use_cache_branch=(1,))
    assert {node.op_type for node in built.graph.node} <= operators | {"Identity"}
    assert [given.name for given in built.graph.input] == ["x"]
    feeds = {"x": X, "use_cache_branch": chosen}
    result, expected = run(built, feeds), run(model, feeds)
    for name, values in expected.items():
        np.testing.assert_array_equal(result[name], values)


def test_a_cache_whose_positions_nobody_tells_is_extended_as_before(tmp_path: Path) -> None:
    """Three cached tokens and a new one: all sizes are fixed, and what is present is one longer."""
    text = f"""{OPSET} g (float[b, 2, p, 4] past_k, float[b, 2, n, 4] x) => (float[b, 2, t, 4] present_k) {{
        shape = Shape(past_k)
        again = Reshape(past_k, shape)
        present_k = Concat<axis = 2>(again, x)
    }}"""
    model = onnx.parser.parse_model(text)
    built = pinned(model, tmp_path, past_k=(1, 2, 3, 4), x=(1, 2, 1, 4))
    past, x = (np.random.default_rng(0).standard_normal((1, 2, tokens, 4), np.float32) for tokens in (3, 1))
    feeds = {"past_k": past, "x": x}
    assert [dim.dim_value for dim in built.graph.output[0].type.tensor_type.shape.dim] == [1, 2, 4, 4]
    np.testing.assert_array_equal(run(built, feeds)["present_k"], run(model, feeds)["present_k"])


@pytest.mark.parametrize("dims", [("n", 4), ("b", "h", "t", 4, 2)])
def test_what_is_called_past_and_is_no_cache(dims: tuple[str | int, ...], tmp_path: Path) -> None:
    """A time series, say: its sizes are fixed, and it is joined as before."""
    sizes = {"n": 3, "b": 1, "h": 2, "t": 3}
    shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in dims)
    graph = helper.make_graph(
        [helper.make_node("Concat", ["past_values", "x"], ["y"], axis=-1)],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name in ("past_values", "x")],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    built = pinned(model, tmp_path, past_values=shape, x=shape)
    past, x = (np.random.default_rng(seed).standard_normal(shape, np.float32) for seed in (0, 1))
    feeds = {"past_values": past, "x": x}
    np.testing.assert_array_equal(run(built, feeds)["y"], run(model, feeds)["y"])


def test_a_map_among_the_outputs_keeps_its_type(tmp_path: Path) -> None:
    """onnx_ir knows no maps."""
    scores = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    graph = helper.make_graph(
        [helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_strings=["a", "b", "c", "d"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_value_info("y", helper.make_sequence_type_proto(scores))],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    built = pinned(model, tmp_path, x=X.shape)
    assert built.graph.output[0].type == graph.output[0].type
    assert run(built, {"x": X})["y"] == run(model, {"x": X})["y"]
