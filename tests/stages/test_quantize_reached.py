"""Weights that do not stand beside their product are reached, or named; how many there are is counted by hand."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from foreign import agreement, normal, quantized, samples, write
from onnx import TensorProto

from edgeprof.errors import QuantizationError
from edgeprof.schema import Record

RECIPES = ("fp16", "bf16", "int8", "int8-static", "a8w8", "int4")
W, V = normal(64, 64), normal(64, 32, seed=1)
TO_Y = "(float[n,64] x) => (float[n,c] y)"
TOKENS = "(float[b,s,64] x) => (float[b,s,c] y)"
HEADS = "(float[b,s,64] x) => (float[b,h,s,k] y)"


class Case(Record, frozen=True, kw_only=True):
    text: str
    weights: dict[str, Any]
    matmuls: int = 1
    shape: tuple[int, ...] = (9, 64)


def axes(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


CHAINS = {
    "Reshape": Case(
        text=f"{TO_Y} {{ r = Reshape(w, s)  y = MatMul(x, r) }}", weights={"w": W.reshape(8, 8, 64), "s": axes(64, -1)}
    ),
    "a Reshape to sizes that are computed": Case(
        text=f"{TO_Y} {{ a = Shape(w)  s = Slice(a, i, j)  r = Reshape(u, s)  y = MatMul(x, r) }}",
        weights={"w": W, "u": W.ravel(), "i": axes(0), "j": axes(2)},
    ),
    "Identity and Transpose": Case(
        text=f"{TO_Y} {{ i = Identity(w)  t = Transpose<perm=[1,0]>(i)  y = MatMul(x, t) }}", weights={"w": V.T}
    ),
    "Transpose of three axes": Case(
        text=f"{TO_Y} {{ t = Transpose<perm=[2,0,1]>(w)  r = Reshape(t, s)  y = MatMul(x, r) }}",
        weights={"w": normal(4, 8, 64), "s": axes(64, 32)},
    ),
    "Cast of fp64": Case(text=f"{TO_Y} {{ c = Cast<to=1>(w)  y = MatMul(x, c) }}", weights={"w": W.astype(np.float64)}),
    "Cast of fp16": Case(text=f"{TO_Y} {{ c = Cast<to=1>(w)  y = MatMul(x, c) }}", weights={"w": W.astype(np.float16)}),
    "Cast of bf16": Case(
        text=f"{TO_Y} {{ c = Cast<to=1>(w)  y = MatMul(x, c) }}", weights={"w": W.astype(ml_dtypes.bfloat16)}
    ),
    "Unsqueeze and Squeeze": Case(
        text=f"{TO_Y} {{ u = Unsqueeze(w, a)  s = Squeeze(u, a)  y = MatMul(x, s) }}", weights={"w": W, "a": axes(0)}
    ),
    "a part of a matrix": Case(
        text=f"{TO_Y} {{ s = Slice(w, i, j, a)  y = MatMul(x, s) }}",
        weights={"w": W, "i": axes(8), "j": axes(40), "a": axes(1)},
    ),
    "three parts of one": Case(
        text=f"{TO_Y} {{ q, k, v = Split<axis=1>(w, s)  a = MatMul(x, q)  b = MatMul(x, k)  c = MatMul(x, v) "
        "y = Sum(a, b, c) }",
        weights={"w": normal(64, 96), "s": axes(32, 32, 32)},
        matmuls=3,
    ),
    "two side by side": Case(text=f"{TO_Y} {{ c = Concat<axis=1>(w, v)  y = MatMul(x, c) }}", weights={"w": W, "v": V}),
    "a direction and lengths": Case(
        text=f"{TO_Y} {{ n = ReduceL2<keepdims=1>(w, a)  d = Div(w, n)  m = Mul(d, g)  y = MatMul(x, m) }}",
        weights={"w": W, "a": axes(0), "g": normal(64)},
    ),
    "a Gemm of a Reshape": Case(
        text=f"{TO_Y} {{ r = Reshape(w, s)  y = Gemm<transB=1>(x, r, b) }}",
        weights={"w": V.reshape(4, -1), "s": axes(32, 64), "b": normal(32)},
    ),
}

EINSUMS = {
    "into heads": Case(
        text=f'{HEADS} {{ y = Einsum<equation="bsd,dhk->bhsk">(x, w) }}',
        weights={"w": normal(64, 4, 16)},
        shape=(2, 5, 64),
    ),
    "out of heads": Case(
        text='(float[b,4,s,16] x) => (float[b,s,c] y) { y = Einsum<equation="bhsk,hkd->bsd">(x, w) }',
        weights={"w": normal(4, 16, 64)},
        shape=(2, 4, 5, 16),
    ),
    "the weight first": Case(
        text=f'{TOKENS} {{ y = Einsum<equation="dk, bsd -> bsk">(w, x) }}', weights={"w": V}, shape=(2, 5, 64)
    ),
    "the weight turned": Case(
        text=f'{TOKENS} {{ y = Einsum<equation="bsd,kd->bsk">(x, w) }}', weights={"w": V.T}, shape=(2, 5, 64)
    ),
    "any axes before": Case(
        text=f'{TOKENS} {{ y = Einsum<equation="...d,dk->...k">(x, w) }}', weights={"w": V}, shape=(2, 5, 64)
    ),
    "no result named": Case(text=f'{TO_Y} {{ y = Einsum<equation="ij,jk">(x, w) }}', weights={"w": V}),
    "axes in another order": Case(
        text=f'{TOKENS} {{ y = Einsum<equation="bsd,dk->kbs">(x, w) }}'.replace("float[b,s,c]", "float[c,b,s]"),
        weights={"w": V},
        shape=(2, 5, 64),
    ),
    "all of both": Case(
        text='(float[b,8,8] x) => (float[b] y) { y = Einsum<equation="bij,ij->b">(x, w) }',
        weights={"w": normal(8, 8)},
        shape=(3, 8, 8),
    ),
    "behind a Reshape": Case(
        text=f'{HEADS} {{ r = Reshape(w, s)  y = Einsum<equation="bsd,dhk->bhsk">(x, r) }}',
        weights={"w": W, "s": axes(64, 4, 16)},
        shape=(2, 5, 64),
    ),
}


@pytest.mark.parametrize("case", [*CHAINS.values(), *EINSUMS.values()], ids=[*CHAINS, *EINSUMS])
def test_it_is_reached_and_computes_what_it_did(case: Case, tmp_path: Path) -> None:
    source = write(tmp_path, case.text, case.weights)
    feeds = {"x": normal(*case.shape, seed=9)}
    data = samples(tmp_path, feeds)
    for name in RECIPES:
        built = quantized(source, name, tmp_path / name, data)
        assert built.receipt.matmuls == built.receipt.matmuls_quantized == case.matmuls, name
        assert not built.receipt.left
        near = 0.97 if name == "int4" else 0.99
        assert agreement(source, tmp_path / name / "model.onnx", feeds) > near, name


def test_a_table_that_is_reshaped_into_an_lm_head_too(tmp_path: Path) -> None:
    """The table is looked up as it is stored, and multiplied by in another shape."""
    text = """(int64[n] ids) => (float[n,50] y) {
        x = Gather(t, ids)  r = Reshape(t, s)  y = MatMul(x, r)
    }"""
    source = write(tmp_path, text, {"t": normal(50, 64), "s": axes(64, 50)})
    for name in RECIPES:
        feeds = {"ids": np.arange(9)}
        built = quantized(source, name, tmp_path / name, samples(tmp_path, feeds))
        assert (built.receipt.matmuls, built.receipt.matmuls_quantized) == (1, 1)
        assert agreement(source, tmp_path / name / "model.onnx", feeds) > 0.97


def test_functions_within_functions(tmp_path: Path) -> None:
    source = write(tmp_path, f"{TO_Y} {{ a = mine.twice(x, w)  y = mine.linear(a, v) }}", {"w": W / 8, "v": V})
    model = onnx.load(source)
    header = '<domain: "mine", opset_import: ["" : 18, "mine" : 1]>'
    for text in (
        f"{header} linear (a, w) => (c) {{ t = Identity(w)  c = MatMul(a, t) }}",
        f"{header} twice (a, w) => (c) {{ b = mine.linear(a, w)  c = mine.linear(b, w) }}",
    ):
        model.functions.append(onnx.parser.parse_function(text))
    onnx.save(model, source)
    feeds = {"x": normal(9, 64)}
    for name in RECIPES:
        built = quantized(source, name, tmp_path / name, samples(tmp_path, feeds))
        assert (built.receipt.matmuls, built.receipt.matmuls_quantized) == (2, 2)
        assert agreement(source, tmp_path / name / "model.onnx", feeds) > 0.97


def test_a_loop_multiplies_by_a_weight_of_the_graph(tmp_path: Path) -> None:
    text = """(float[n,64] x, int64 times, bool go) => (float[n,32] y) {
        h = Loop(times, go, x) <body = b (int64 i, bool c, float[n,64] z) => (bool d, float[n,64] o) {
            d = Identity(c)  m = MatMul(z, w)  o = Tanh(m)
        }>
        y = MatMul(h, v)
    }"""
    source = write(tmp_path, text, {"w": W / 8, "v": V})
    feeds = {"x": normal(9, 64), "times": np.array(3), "go": np.array(True)}
    for name, reached in (("int8", 2), ("int4", 2), ("int8-static", 1)):
        receipt = quantized(source, name, tmp_path / name, samples(tmp_path, feeds)).receipt
        assert (receipt.matmuls, receipt.matmuls_quantized, len(receipt.left)) == (2, reached, 2 - reached)
        assert agreement(source, tmp_path / name / "model.onnx", feeds) > 0.97


LEFT = {
    "a matrix that is filled at random": (
        f"{TO_Y} {{ r = RandomNormalLike(w)  z = Mul(r, o)  a = Add(z, w)  b = MatMul(x, a)  y = MatMul(b, v) }}",
        {"w": W, "o": np.float32(0), "v": V},
        1,  # `a` is another matrix in every run, so only `v` is a constant
        {},
    ),
    "a matrix that is repeated": (
        f"{TO_Y} {{ e = Expand(w, s)  a = MatMul(x, e)  y = MatMul(a, v) }}",
        {"w": normal(64, 1), "s": axes(64, 64), "v": V},
        2,
        {"w": "it is computed by Expand in every run"},
    ),
    "two vectors that make one": (
        f"{TO_Y} {{ m = Mul(c, r)  a = MatMul(x, m)  y = MatMul(a, v) }}",
        {"c": normal(64, 1), "r": normal(1, 32), "v": normal(32, 32)},
        2,
        {"c": "it is computed by Mul in every run"},
    ),
    "a recurrent layer": (
        """(float[s,n,64] x) => (float[s,d,n,32] y) {
            h, l, c = LSTM<hidden_size=16>(x, w, r)  q = Squeeze(h, a)  m = MatMul(q, v)  y = Unsqueeze(m, a)
        }""",
        {"w": normal(1, 64, 64), "r": normal(1, 64, 16), "a": axes(1), "v": normal(16, 32)},
        3,
        {"w": "no quantizer takes LSTM", "r": "no quantizer takes LSTM"},
    ),
    "an Einsum over a batch of matrices": (
        '(float[4,n,64] x) => (float[4,n,c] y) { m = Einsum<equation="bij,bjk->bik">(x, w)  y = MatMul(m, v) }',
        {"w": normal(4, 64, 64), "v": V},
        2,
        {"w": "Einsum bij,bjk->bik is more than a matrix product"},
    ),
    "the transpose of the input": (
        "(float[64,n] x) => (float[n,32] y) { m = Gemm<transA=1, beta=0.5>(x, w, b)  y = MatMul(m, v) }",
        {"w": W, "b": normal(64), "v": V},
        2,
        {"w": "Gemm with beta 0.5 is more than a matrix product"},
    ),
}


@pytest.mark.parametrize(("text", "weights", "count", "reasons"), LEFT.values(), ids=LEFT)
@pytest.mark.parametrize("name", ["int8", "int4"])
def test_what_cannot_be_reached_is_named(
    text: str, weights: dict[str, Any], count: int, reasons: dict[str, str], name: str, tmp_path: Path
) -> None:
    source = write(tmp_path, text, weights)
    shape = {"(float[s": (5, 2, 64), "(float[4": (4, 9, 64), "(float[6": (64, 9)}.get(text[:8], (9, 64))
    receipt = quantized(source, name, tmp_path / "output").receipt
    assert {left.weight: left.reason for left in receipt.left} == reasons
    assert (receipt.matmuls, receipt.matmuls_quantized) == (count, count - len(reasons))
    if "Random" not in text:
        assert agreement(source, tmp_path / "output" / "model.onnx", {"x": normal(*shape)}) > 0.97


# --- convolutions ----------------------------------------------------------------------------------------------

CONVOLUTIONS = {
    "strided, with a bias": ("y = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w, b)", (8, 4, 3, 3), (1, 4, 12, 12)),
    "grouped": ("y = Conv<group=2>(x, w, b)", (8, 2, 3, 3), (2, 4, 12, 12)),
    "one channel each": ("y = Conv<group=4, dilations=[2,2]>(x, w)", (4, 1, 3, 3), (1, 4, 12, 12)),
    "in one dimension": ("y = Conv<strides=[2]>(x, w, b)", (8, 4, 3), (1, 4, 24)),
    "transposed": ("y = ConvTranspose<strides=[2,2]>(x, w, b)", (4, 8, 3, 3), (1, 4, 6, 6)),
    "transposed, grouped": ("y = ConvTranspose<group=2>(x, w)", (4, 3, 3, 3), (1, 4, 6, 6)),
    "of a reshaped kernel": ("r = Reshape(w, s) y = Conv(x, r)", (8, 36), (1, 4, 6, 6)),
}


@pytest.mark.parametrize(("nodes", "kernel", "shape"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize(("name", "opset"), [("a8w8", 11), ("a16w8", 13), ("a16w8", 21)])
def test_convolutions_are_quantized(
    nodes: str, kernel: tuple[int, ...], shape: tuple[int, ...], name: str, opset: int, tmp_path: Path
) -> None:
    """Both convolutions, and what goes into them in integers of the width that was asked for."""
    given, result = ([f"{letter}{axis}" for axis in range(len(shape))] for letter in "ag")
    text = f"(float[{','.join(given)}] i) => (float[{','.join(result)}] y) {{ x = Relu(i)  {nodes} }}"
    weights = {"w": normal(*kernel), "b": normal(8), "s": axes(8, 4, 3, 3)}
    source = write(tmp_path, text, weights, opset=opset, ir_version=7)
    feeds = {"i": normal(*shape)}
    built = quantized(source, name, tmp_path / "output", samples(tmp_path, feeds))
    assert (built.receipt.convolutions, built.receipt.convolutions_quantized) == (1, 1)
    assert (built.receipt.matmuls, built.receipt.left) == (0, ())
    model = onnx.load(tmp_path / "output" / "model.onnx")
    kinds = {one.name: one.data_type for one in model.graph.initializer}
    zeros = {kinds[node.input[2]] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert zeros == {TensorProto.UINT8 if name == "a8w8" else TensorProto.UINT16}
    assert agreement(source, tmp_path / "output" / "model.onnx", feeds) > 0.995


def test_nothing_to_convolve_or_multiply_by(tmp_path: Path) -> None:
    source = write(tmp_path, "(float[1,4,8,8] x, float[8,4,3,3] k) => (float[1,8,6,6] y) { y = Conv(x, k) }")
    data = samples(tmp_path, {"x": normal(1, 4, 8, 8), "k": normal(8, 4, 3, 3)})
    with pytest.raises(QuantizationError, match=r"a8w8 has nothing to quantize.*This recipe does not apply"):
        quantized(source, "a8w8", tmp_path / "output", data)
    assert not any((tmp_path / "output").iterdir())


# --- refusals --------------------------------------------------------------------------------------------------

INTEGERS = {
    "DequantizeLinear": "d = DequantizeLinear(q, s)  y = MatMul(x, d)",
    "QLinearConv": "y = QLinearConv(x, s, z, q, s, z, s, z)",
    "ConvInteger": "y = ConvInteger(x, q)",
    "MatMulBnb4": "y = com.microsoft.MatMulBnb4<K=64, N=64, block_size=16, quant_type=1>(x, q, s)",
}


@pytest.mark.parametrize(("operator", "nodes"), INTEGERS.items())
def test_a_model_of_integers_is_refused_by_its_operator(operator: str, nodes: str, tmp_path: Path) -> None:
    weights = {"q": np.ones((64, 64), np.int8), "s": np.float32(0.1), "z": np.int8(0)}
    source = write(tmp_path, f"{TO_Y} {{ {nodes} }}", weights)
    with pytest.raises(QuantizationError, match=f"The model is quantized already: it has {operator} nodes"):
        quantized(source, "int8", tmp_path / "output")
    assert not any((tmp_path / "output").iterdir())


def test_integers_within_a_function_are_seen(tmp_path: Path) -> None:
    source = write(tmp_path, f"{TO_Y} {{ y = mine.linear(x, q, s) }}", {"q": np.ones((64, 64), np.int8), "s": normal()})
    body = "{ w = DequantizeLinear(q, s)  c = MatMul(a, w) }"
    text = f'<domain: "mine", opset_import: ["" : 18]> linear (a, q, s) => (c) {body}'
    model = onnx.load(source)
    model.functions.append(onnx.parser.parse_function(text))
    onnx.save(model, source)
    with pytest.raises(QuantizationError, match="it has DequantizeLinear nodes"):
        quantized(source, "int4", tmp_path / "output")
