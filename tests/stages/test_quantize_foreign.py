"""Files as others write them: whatever can be quantized is, and computes what it did; the rest is told."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from foreign import agreement, normal, quantized, samples, write
from onnx import TensorProto, helper
from onnx_files import run

from edgeprof.errors import QuantizationError
from edgeprof.schema import Record

RECIPES = ("fp16", "bf16", "int8", "int8-static", "a8w8", "int8-weights", "int4", "int4-gptq")
W, V = normal(64, 64), normal(64, 32, seed=1)
B = normal(32, seed=2)
TO_Y = "(float[n,64] x) => (float[n,c] y)"


class Foreign(Record, frozen=True, kw_only=True):
    text: str
    weights: dict[str, Any]
    matmuls: int
    feeds: dict[str, Any] = msgspec.field(default_factory=lambda: {"x": normal(9, 64, seed=9)})
    opset: int = 18
    ir_version: int = 9
    change: Callable[[onnx.ModelProto], None] = lambda _model: None


def weights_as_inputs(model: onnx.ModelProto) -> None:
    graph = model.graph
    graph.input.extend(helper.make_tensor_value_info(one.name, one.data_type, one.dims) for one in graph.initializer)


def weights_as_constants(model: onnx.ModelProto) -> None:
    nodes = [helper.make_node("Constant", [], [one.name], value=one) for one in model.graph.initializer]
    nodes.extend(model.graph.node)
    for field in ("initializer", "node"):
        model.graph.ClearField(field)
    model.graph.node.extend(nodes)


def a_function(model: onnx.ModelProto) -> None:
    text = '<domain: "mine", opset_import: ["" : 18]> linear (a, w) => (c) { c = MatMul(a, w) }'
    model.functions.append(onnx.parser.parse_function(text))


FILES: dict[str, Foreign] = {
    "weights are constants": Foreign(
        text=f"{TO_Y} {{ a = MatMul(x, w)  r = Transpose<perm=[1,0]>(u)  y = MatMul(a, r) }}",
        weights={"w": W, "u": V.T},
        matmuls=2,
        change=weights_as_constants,
    ),
    "a small constant": Foreign(
        text="(float[n,4] x) => (float[n,3] y) { y = MatMul(x, w) }",
        weights={"w": normal(4, 3)},
        matmuls=1,
        feeds={"x": normal(9, 4, seed=9)},
        change=weights_as_constants,
    ),
    "initializers are inputs": Foreign(
        text=f"{TO_Y} {{ a = MatMul(x, w)  y = Gemm(a, v, b) }}",
        weights={"w": W, "v": V, "b": B},
        matmuls=2,
        change=weights_as_inputs,
    ),
    "functions": Foreign(
        text=f"{TO_Y} {{ a = mine.linear(x, w)  y = mine.linear(a, v) }}",
        weights={"w": W, "v": V},
        matmuls=2,
        change=a_function,
    ),
    "a weight of two matmuls": Foreign(
        text=f"{TO_Y} {{ a = MatMul(x, w)  r = Relu(a)  y = MatMul(r, w) }}", weights={"w": W}, matmuls=1
    ),
    "a weight behind Identity": Foreign(
        text=f"{TO_Y} {{ i = Identity(w)  a = MatMul(x, w)  y = MatMul(a, i) }}", weights={"w": W}, matmuls=1
    ),
    "a weight that something else reads": Foreign(
        text=f"{TO_Y} {{ a = MatMul(x, w)  s = ReduceMean(w)  y = Add(a, s) }}", weights={"w": W}, matmuls=1
    ),
    "a weight that is an output": Foreign(
        text="(float[n,64] x) => (float[n,64] y, float[64,64] w) { y = MatMul(x, w) }", weights={"w": W}, matmuls=1
    ),
    "a product that is an output and read": Foreign(
        text="(float[n,64] x) => (float[n,64] y, float[n,32] z) { y = MatMul(x, w)  z = MatMul(y, v) }",
        weights={"w": W, "v": V},
        matmuls=2,
    ),
    "a transpose that does nothing": Foreign(
        text=f"{TO_Y} {{ t = Transpose<perm=[0,1]>(w)  y = MatMul(x, t) }}", weights={"w": W}, matmuls=1
    ),
    "a Gemm of a transpose": Foreign(
        text=f"{TO_Y} {{ t = Transpose(u)  y = Gemm(x, t, b) }}", weights={"u": V.T, "b": B}, matmuls=1
    ),
    "a computed bias": Foreign(
        text=f"{TO_Y} {{ b = MatMul(x, u)  y = Gemm(x, v, b) }}", weights={"u": V[::-1].copy(), "v": V}, matmuls=2
    ),
    "a bias in two dimensions": Foreign(
        text=f"{TO_Y} {{ y = Gemm(x, v, b) }}", weights={"v": V, "b": B[np.newaxis]}, matmuls=1
    ),
    "a bias of two Gemms": Foreign(
        text=f"{TO_Y} {{ a = Gemm(x, w, b)  r = Relu(a)  y = Gemm(r, v, b) }}",
        weights={"w": W, "v": 30 * W[::-1], "b": 5 * normal(64)},
        matmuls=2,
    ),
    "names that quantizers give": Foreign(
        text=f"""{TO_Y} {{
            x1 = Relu(x)  x1_scale = Mul(x1, x1)
            a = MatMul(x1, v)  c = MatMul(x1_scale, v_quantized)
            d = Mul(a, v_scale)  e = Add(d, v_zero_point)  f = Mul(c, x_scale)  y = Add(e, f)
        }}""",
        weights={"v": V, "v_quantized": V[::-1], "v_scale": B, "v_zero_point": B, "x_scale": np.float32(2)},
        matmuls=2,
    ),
    "and those of blocks": Foreign(
        text=f"{TO_Y} {{ a = MatMul(x, v)  c = MatMul(x, v_Q4)  d = Mul(a, v_scales)  y = Add(d, c) }}",
        weights={"v": V, "v_Q4": V[::-1], "v_scales": B},
        matmuls=2,
    ),
    "operator set 13": Foreign(
        text=f"{TO_Y} {{ a = MatMul(x, w)  y = Gemm<transB=1>(a, u, b) }}",
        weights={"w": W, "u": V.T, "b": B},
        matmuls=2,
        opset=13,
        ir_version=7,
    ),
    "a vector": Foreign(
        text="(float[64] x) => (float[c] y) { y = MatMul(x, v) }", weights={"v": V}, matmuls=1, feeds={"x": normal(64)}
    ),
    "four dimensions": Foreign(
        text="(float[a,b,c,64] x) => (float[a,b,c,d] y) { y = MatMul(x, v) }",
        weights={"v": V},
        matmuls=1,
        feeds={"x": normal(2, 3, 4, 64)},
    ),
    "odd sizes": Foreign(
        text="(float[n,33] x) => (float[n,7] y) { y = MatMul(x, w) }",
        weights={"w": normal(33, 7)},
        matmuls=1,
        feeds={"x": normal(9, 33, seed=9)},
    ),
    "one column": Foreign(
        text="(float[n,64] x) => (float[n,1] y) { y = MatMul(x, w) }", weights={"w": normal(64, 1)}, matmuls=1
    ),
    "one row": Foreign(
        text="(float[n,1] x) => (float[n,8] y) { y = MatMul(x, w) }",
        weights={"w": normal(1, 8)},
        matmuls=1,
        feeds={"x": normal(9, 1, seed=9)},
    ),
    "zeros": Foreign(text=f"{TO_Y} {{ a = MatMul(x, v)  y = Add(a, b) }}", weights={"v": 0 * V, "b": B}, matmuls=1),
    "a constant on the left of a weight": Foreign(
        text=f"{TO_Y} {{ a = MatMul(c, w)  m = MatMul(x, w)  y = Add(a, m) }}",
        weights={"c": normal(1, 64), "w": W},
        matmuls=2,  # c is a constant matrix too
    ),
    "outputs of another type": Foreign(
        text=f"{TO_Y} {{ a = MatMul(x, w)  n, m, i = LayerNormalization(a, g)  y = MatMul(n, v) }}",
        weights={"w": W, "v": V, "g": W[0]},
        matmuls=2,
    ),
}


@pytest.fixture(params=FILES.values(), ids=FILES.keys())
def foreign(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Foreign, Path, Path]]:
    """One of FILES, where it lies, and calibration data for it."""
    one: Foreign = request.param
    source = write(tmp_path, one.text, one.weights, opset=one.opset, ir_version=one.ir_version)
    model = onnx.load(source)
    one.change(model)
    onnx.save(model, source)
    yield one, source, samples(tmp_path, one.feeds)


def test_it_computes_what_it_did(foreign: tuple[Foreign, Path, Path], tmp_path: Path) -> None:
    one, source, data = foreign
    for name in RECIPES:
        built = quantized(source, name, tmp_path / name, data)
        assert built.receipt.matmuls == built.receipt.matmuls_quantized == one.matmuls, name
        assert [value.name for value in built.inputs] == ["x"]
        onnx.checker.check_model(str(tmp_path / name / "model.onnx"))
        near = 0.97 if "int4" in name else 0.99
        assert agreement(source, tmp_path / name / "model.onnx", one.feeds) > near, name


def test_every_initializer_was_an_input_once(tmp_path: Path) -> None:
    source = write(tmp_path, f"{TO_Y} {{ y = Gemm(x, v, b) }}", {"v": V, "b": B}, opset=11, ir_version=3)
    model = onnx.load(source)
    weights_as_inputs(model)
    onnx.save(model, source)
    for name in ("fp16", "int8", "int4"):
        quantized(source, name, tmp_path / name)
        assert [value.name for value in onnx.load(tmp_path / name / "model.onnx").graph.input] == ["x"]
        assert agreement(source, tmp_path / name / "model.onnx", {"x": normal(5, 64)}) > 0.98


def test_a_weight_that_something_else_reads_stays(tmp_path: Path) -> None:
    source = write(tmp_path, FILES["a weight that something else reads"].text, {"w": W})
    built = quantized(source, "int8", tmp_path / "output")
    assert built.count.weights_bytes == 4 * 64 * 64 + 64 * 64 + 2 * 64


def test_a_weight_of_two_matmuls_is_stored_once(tmp_path: Path) -> None:
    source = write(tmp_path, FILES["a weight of two matmuls"].text, {"w": W})
    assert quantized(source, "int8", tmp_path / "int8").count.weights_bytes == 64 * 64 + 2 * 64
    assert quantized(source, "int4", tmp_path / "int4").count.weights_bytes == 64 * 64 // 2 + 4 * 128


@pytest.mark.parametrize("name", ["int8", "int8-static", "int4", "int4-gptq"])
def test_an_activation_of_three_matmuls_is_quantized_once(name: str, tmp_path: Path) -> None:
    text = f"{TO_Y} {{ r = Relu(x)  a = MatMul(r, q)  b = MatMul(r, k)  c = MatMul(r, v)  y = Sum(a, b, c) }}"
    source = write(tmp_path, text, {"q": V, "k": V + 1, "v": V - 1})
    nodes = quantized(source, name, tmp_path / "output", samples(tmp_path, {"x": normal(9, 64)})).count.nodes
    kind = {"int8": "DynamicQuantizeLinear", "int8-static": "QuantizeLinear"}.get(name)
    assert kind is None or nodes[kind] == 1


# --- what is left --------------------------------------------------------------------------------------------

LEFT: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "left": (
        "(float[64,n] x) => (float[n,32] y) { m = MatMul(w, x)  t = Transpose(m)  y = MatMul(t, v) }",
        {"w": W, "v": V},
        {"w": "it is multiplied from the left"},
    ),
    "both sides": (
        "(float[64,64] x) => (float[64,32] y) { m = MatMul(w, x)  o = MatMul(m, w)  y = MatMul(o, v) }",
        {"w": W, "v": V},
        {"w": "it is multiplied from the left"},
    ),
    "three dimensions": (
        "(float[2,n,64] x) => (float[2,n,c] y) { m = MatMul(x, w)  y = MatMul(m, v) }",
        {"w": normal(2, 64, 64), "v": V},
        {"w": "it has 3 dimensions"},
    ),
    "FusedMatMul": (
        f"{TO_Y} {{ m = com.microsoft.FusedMatMul<transB=1>(x, w)  y = MatMul(m, v) }}",
        {"w": W, "v": V},
        {"w": "no quantizer takes FusedMatMul"},
    ),
    "Einsum": (
        f'{TO_Y} {{ m = Einsum<equation="ij,jj->ij">(x, w)  y = MatMul(m, v) }}',
        {"w": W, "v": V},
        {"w": "Einsum ij,jj->ij is more than a matrix product"},
    ),
    "contrib Attention": (
        "(float[1,n,64] x) => (float[1,n,c] y) { m = com.microsoft.Attention<num_heads=4>(x, w, b)  y = MatMul(m, v) }",
        {"w": normal(64, 192), "b": normal(192), "v": V},
        {"w": "no quantizer takes Attention"},
    ),
    "alpha": (
        f"{TO_Y} {{ m = Gemm<alpha=0.5>(x, w)  y = MatMul(m, v) }}",
        {"w": W, "v": V},
        {"w": "Gemm with alpha 0.5 is more than a matrix product"},
    ),
    "fp64": (
        f"{TO_Y} {{ d = Cast<to=11>(x)  m = MatMul(d, w)  f = Cast<to=1>(m)  y = MatMul(f, u) }}",
        {"w": W.astype(np.float64), "u": W},
        {"w": "it is float64"},
    ),
    "nothing in it": (
        f"{TO_Y} {{ e = MatMul(x, w)  s = ReduceSum<keepdims=0>(e)  m = MatMul(x, v)  y = Add(m, s) }}",
        {"w": normal(64, 0), "v": V},
        {"w": "it is empty"},
    ),
}


@pytest.mark.parametrize("name", ["int8", "int8-static", "int4", "int4-gptq"])
@pytest.mark.parametrize(("text", "weights", "reasons"), LEFT.values(), ids=LEFT.keys())
def test_weights_left_are_reported_with_their_reason(
    text: str, weights: dict[str, Any], reasons: dict[str, str], name: str, tmp_path: Path
) -> None:
    source = write(tmp_path, text, weights)
    shape = {"(float[1": (1, 9, 64), "(float[2": (2, 9, 64), "(float[6": (64, 64)}.get(text[:8], (9, 64))
    feeds = {"x": normal(*shape, seed=9)} | ({"k": np.array(True)} if "bool k" in text else {})
    receipt = quantized(source, name, tmp_path / "output", samples(tmp_path, feeds)).receipt
    assert {left.weight: left.reason for left in receipt.left} == reasons
    left_bytes = sum(weights[weight].nbytes for weight in reasons)
    assert sum(left.bytes for left in receipt.left) == left_bytes
    assert receipt.weight_bytes - receipt.weight_bytes_quantized == left_bytes
    assert receipt.matmuls - receipt.matmuls_quantized == 1
    assert agreement(source, tmp_path / "output" / "model.onnx", feeds) > 0.98


THEN = (
    "<then_branch = t () => (float[n,2] p) { p = MatMul(m, u) }, else_branch = e () => (float[n,2] q) { q = Neg(o) }>"
)


@pytest.mark.parametrize(("name", "reached"), [("int8", 3), ("int4", 3), ("int8-static", 2), ("int4-gptq", 2)])
def test_a_weight_in_a_branch_is_reached_where_no_activations_are_observed(
    name: str, reached: int, tmp_path: Path
) -> None:
    text = f"(float[n,64] x, bool k) => (float[n,2] y) {{ m = MatMul(x, w)  o = MatMul(m, s)  y = If(k) {THEN} }}"
    source = write(tmp_path, text, {"w": W, "u": normal(64, 2), "s": normal(64, 2)})
    both = [{"x": normal(9, 64, seed=9), "k": np.array(flag)} for flag in (True, False)]
    receipt = quantized(source, name, tmp_path / "output", samples(tmp_path, *both)).receipt
    assert (receipt.matmuls, receipt.matmuls_quantized) == (3, reached)
    reason = "it is in a branch or a loop, whose activations cannot be observed"
    assert {left.weight: left.reason for left in receipt.left} == ({"u": reason} if reached == 2 else {})
    assert all(agreement(source, tmp_path / "output" / "model.onnx", feeds) > 0.97 for feeds in both)


@pytest.mark.parametrize("name", ["int8", "int8-static", "a8w8", "int4"])
def test_a_standard_attention_stays_valid(name: str, tmp_path: Path) -> None:
    text = """(float[1,n,64] x) => (float[1,n,c] y) {
        q = MatMul(x, w)  k = MatMul(x, u)
        a = Attention<q_num_heads=4, kv_num_heads=4>(q, k, k)
        y = MatMul(a, v)
    }"""
    source = write(tmp_path, text, {"w": W / 8, "u": W[::-1] / 8, "v": V}, opset=24, ir_version=11)
    feeds = {"x": normal(1, 9, 64)}
    built = quantized(source, name, tmp_path / "output", samples(tmp_path, feeds))
    assert built.receipt.matmuls_quantized == 3
    nodes = onnx.load(tmp_path / "output" / "model.onnx").graph.node
    domains = [node.domain for node in nodes if node.op_type == "Attention"]
    if name == "a8w8":  # its two products are quantized, as are those with weights
        assert not domains and sum(node.op_type == "MatMul" for node in nodes) == 5
    else:
        assert domains == [""]
    assert agreement(source, tmp_path / "output" / "model.onnx", feeds) > 0.97


# --- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["fp16", "int8", "int4"])
def test_a_model_of_16_bits(name: str, tmp_path: Path) -> None:
    source = write(tmp_path, "(float16[n,64] x) => (float16[n,c] y) { y = MatMul(x, w) }", {"w": W.astype(np.float16)})
    with pytest.raises(QuantizationError, match=r"The model has float16 weights \(w\)\. Start from the fp32 model\."):
        quantized(source, name, tmp_path / "output")
    assert not any((tmp_path / "output").iterdir())


@pytest.mark.parametrize("name", ["int8", "int8-static", "a8w8"])
def test_a_weight_that_is_no_number(name: str, tmp_path: Path) -> None:
    broken = V.copy()
    broken[0, 0] = np.nan
    source = write(tmp_path, f"{TO_Y} {{ y = MatMul(x, v) }}", {"v": broken})
    with pytest.raises(QuantizationError, match=r"^onnxruntime cannot quantize (v|this model): "):
        quantized(source, name, tmp_path / "output", samples(tmp_path, {"x": normal(9, 64)}))
    assert not any((tmp_path / "output").iterdir())


def test_nothing_that_a_recipe_can_reach(tmp_path: Path) -> None:
    text, weights, _ = LEFT["left"]
    source = write(tmp_path, text.replace("MatMul(t, v)", "Relu(t)"), {"w": weights["w"]})
    with pytest.raises(QuantizationError) as caught:
        quantized(source, "int4", tmp_path / "output")
    assert str(caught.value) == (
        "None of the 1 weight matmuls was quantized by int4: it is multiplied from the left. "
        "This recipe does not apply to this model."
    )
    assert not any((tmp_path / "output").iterdir())


@pytest.mark.parametrize("name", ["fp16", "bf16", "int8", "a8w8", "int4"])
def test_a_model_of_64_bits(name: str, tmp_path: Path) -> None:
    text = "(double[n,64] x) => (double[n,32] y) { y = MatMul(x, v) }"
    source = write(tmp_path, text, {"v": V.astype(np.float64)})
    data = samples(tmp_path, {"x": normal(9, 64).astype(np.float64)})
    with pytest.raises(QuantizationError, match=f"None of the 1 weight matmuls was quantized by {name}: it is float64"):
        quantized(source, name, tmp_path / "output", data)


@pytest.mark.parametrize(("infinite", "opset"), [(True, 18), (False, 9)])
def test_a_table_that_cannot_be_looked_up_in_blocks_stays(infinite: bool, opset: int, tmp_path: Path) -> None:
    """A mask with infinities; before operator set 10, rows that do not fill their blocks."""
    table = normal(10, 48)
    table[3, 5] = -np.inf if infinite else 0
    text = "(int64[n] ids, float[n,64] x) => (float[n,48] e, float[n,32] y) { e = Gather(t, ids)  y = MatMul(x, v) }"
    source = write(tmp_path, text, {"t": table, "v": V}, opset=opset, ir_version=4)
    built = quantized(source, "int4", tmp_path / "output")
    assert (built.receipt.tables, built.receipt.matmuls_quantized) == (0, 1)
    result = run(tmp_path / "output" / "model.onnx", {"ids": np.arange(9), "x": normal(9, 64)})
    np.testing.assert_array_equal(result["e"], table[:9])


def test_a_function_of_another_operator_set(tmp_path: Path) -> None:
    source = write(tmp_path, FILES["functions"].text, {"w": W, "v": V})
    model = onnx.load(source)
    text = '<domain: "mine", opset_import: ["" : 13]> linear (a, w) => (c) { c = MatMul(a, w) }'
    model.functions.append(onnx.parser.parse_function(text))
    onnx.save(model, source)
    assert quantized(source, "int8", tmp_path / "output").receipt.matmuls_quantized == 2
    assert agreement(source, tmp_path / "output" / "model.onnx", {"x": normal(9, 64)}) > 0.999


def test_a_file_with_its_weights_inside_is_split(tmp_path: Path) -> None:
    source = write(tmp_path, f"{TO_Y} {{ y = MatMul(x, v) }}", {"v": V})
    quantized(source, "int8-weights", tmp_path / "output")
    names = sorted(file.name for file in (tmp_path / "output").iterdir())
    assert names == ["model.onnx", "model.onnx.data"]
    (packed, *_) = onnx.load(tmp_path / "output" / "model.onnx", load_external_data=False).graph.initializer
    assert packed.data_location == TensorProto.EXTERNAL
