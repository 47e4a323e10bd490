"""16 bits: what is halved and what is not, numbers that do not fit, and graphs whose attention is in parts."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_models
from foreign import agreement, normal, quantized, write
from onnx import TensorProto, helper, numpy_helper
from onnx_files import run

from edgeprof.errors import QuantizationError
from edgeprof.process import silent
from edgeprof.schema import Artifact
from edgeprof.stages import reference
from edgeprof.stages.export import stage as export
from edgeprof.stages.weights import Weights

Artifacts = dict[tuple[str, str], Artifact]
HALVES = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


@pytest.mark.parametrize("name", HALVES)
def test_a_decoder_is_fed_as_before_but_for_a_cache_in_fp16(name: str, artifacts: Artifacts, tmp_path: Path) -> None:
    source = artifacts["gpt2", "fp32"]
    built = quantized(source.location, name, tmp_path)
    for before, after in ((source.graph().inputs, built.inputs), (source.graph().outputs, built.outputs)):
        assert [(value.name, value.dims) for value in before] == [(value.name, value.dims) for value in after]
        for value in after:
            cached = value.name.startswith(("past_key_values", "present"))
            kind = "float16" if cached and name == "fp16" else "float32"
            assert value.dtype in (kind, "int64")
    graph = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph
    assert {one.data_type for one in graph.initializer if len(one.dims) > 1} == {HALVES[name]}
    assert built.receipt.weight_bytes_quantized == built.receipt.weight_bytes
    assert built.receipt.kept_fp32["Pow"] == 2  # of GELU, one a layer
    assert ("MatMul" in built.receipt.kept_fp32) == (name == "bf16")


@pytest.mark.parametrize(
    ("name", "largest", "kept"), [("fp16", 65504.0, 60000.0), ("bf16", 3.3895313892515355e38, 59904.0)]
)
def test_numbers_that_do_not_fit_become_the_largest(name: str, largest: float, kept: float, tmp_path: Path) -> None:
    values = np.array([[3.4e38, -3.4e38, 60000.0, -np.inf, np.inf, 1.0, 0.0, -0.5]], np.float32)
    text = "(float[n,8] x) => (float[n,8] y) { a = Concat<axis=0>(x, c)  y = Identity(a) }"
    source = write(tmp_path, text, {"c": values})
    quantized(source, name, tmp_path / "output")
    result = run(tmp_path / "output" / "model.onnx", {"x": np.zeros((0, 8), np.float32)})["y"]
    assert result[0].tolist() == [largest, -largest, kept, -np.inf, np.inf, 1.0, 0.0, -0.5]


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize(("family", "task"), [("gpt2", "causal-lm"), ("bert", "encoder")])
def test_attention_in_parts_agrees(family: str, task: str, name: str, at_18: dict[str, Path], tmp_path: Path) -> None:
    source = at_18[family]
    built = quantized(source / "model.onnx", name, tmp_path)
    assert built.count.nodes["Softmax"] == 2
    assert "Attention" not in built.count.nodes
    for _, feeds, _ in reference.read(source / "reference.npz"):
        assert agreement(source / "model.onnx", tmp_path / "model.onnx", feeds) > 0.9999
    onnx.checker.check_model(str(tmp_path / "model.onnx"))


@pytest.fixture(scope="module")
def at_18(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small models of operator set 18, which has no Attention."""
    folders = {}
    for family, task in (("gpt2", "causal-lm"), ("bert", "encoder")):
        folders[family] = folder = tmp_path_factory.mktemp(family)
        variant = tiny_models.variant(family, task)
        request = export.ExportRequest(variant=variant, weights=Weights(), logits="all", opset=18, folder=str(folder))
        export.run(request, silent)
    return folders


NORM = """(float[n,64] x) => (float[n,64] y) {
    m = ReduceMean<keepdims=1>(x, axes)  d = Sub(x, m)  s = Pow(d, two)  v = ReduceMean<keepdims=1>(s, axes)
    e = Add(v, eps)  r = Sqrt(e)  n = Div(d, r)  y = MatMul(n, w)
}"""


def test_a_norm_in_parts_sums_squares_in_fp32(tmp_path: Path) -> None:
    weights = {"axes": np.array([-1]), "two": np.float32(2), "eps": np.float32(1e-5), "w": normal(64, 64)}
    source = write(tmp_path, NORM, weights)
    built = quantized(source, "fp16", tmp_path / "output")
    assert built.receipt.kept_fp32 == {"ReduceMean": 2, "Pow": 1}
    assert agreement(source, tmp_path / "output" / "model.onnx", {"x": 100 * normal(9, 64, seed=1)}) > 0.9999


OTHERS: dict[str, tuple[str, dict[str, Any], int]] = {
    "outputs of another type": (
        "(float[n,64] x) => (float[n,64] y, float[n,1] m) { h, m, i = LayerNormalization(x, g)  y = MatMul(h, w) }",
        {"g": normal(64)},
        18,
    ),
    "a type of its own": (
        "(float[n,64] x) => (float[n,64] y) { a = MatMul(x, w)  e = EyeLike<dtype=1>(a)  y = Add(a, e) }",
        {},
        18,
    ),
    "a cast to fp32": (
        "(float[n,64] x) => (float[n,64] y) { c = Greater(x, z)  f = Cast<to=1>(c)  a = MatMul(f, w)  y = Add(a, x) }",
        {"z": np.float32(0)},
        18,
    ),
    "a graph output that is read": (
        "(float[n,64] x) => (float[n,64] a, float[n,64] y) { a = MatMul(x, w)  y = Relu(a) }",
        {},
        18,
    ),
    "an old operator set": ("(float[n,64] x) => (float[n,64] y) { a = MatMul(x, w)  y = Softmax(a) }", {}, 13),
    "a choice": (
        "(float[n,64] x) => (float[n,64] y) { a = MatMul(x, w)  c = Greater(a, z)  y = Where(c, a, low) }",
        {"z": np.float32(0), "low": np.float32(-1.5)},
        18,
    ),
}


@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize(("text", "weights", "opset"), OTHERS.values(), ids=OTHERS.keys())
def test_types_agree_with_each_other(text: str, weights: dict[str, Any], opset: int, name: str, tmp_path: Path) -> None:
    source = write(tmp_path, text, {"w": normal(64, 64), **weights}, opset=opset)
    quantized(source, name, tmp_path / "output")
    assert agreement(source, tmp_path / "output" / "model.onnx", {"x": normal(9, 64, seed=1)}) > 0.999


@pytest.mark.parametrize("name", HALVES)
def test_subgraphs_are_refused(name: str, tmp_path: Path) -> None:
    text = """(float[n,64] x, bool k) => (float[n,64] y) { m = MatMul(x, w)  y = If(k) <
        then_branch = t () => (float[n,64] p) { p = Relu(m) }, else_branch = e () => (float[n,64] q) { q = Neg(m) }
    > }"""
    source = write(tmp_path, text, {"w": normal(64, 64)})
    model = onnx.load(source)
    model.graph.value_info.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, None))
    onnx.save(model, source)
    with pytest.raises(QuantizationError) as caught:
        quantized(source, name, tmp_path / "output")
    assert str(caught.value) == (
        "The model has subgraphs (Relu is in one), which 16-bit recipes do not support. "
        "Try a recipe for weights: int8 or int4."
    )
    assert not any((tmp_path / "output").iterdir())


def test_an_operator_whose_types_are_not_known_is_refused(tmp_path: Path) -> None:
    text = "(float[n,64] x) => (float[n,64] y) { a = com.microsoft.Inverse(x)  y = MatMul(a, w) }"
    source = write(tmp_path, text, {"w": normal(64, 64)})
    with pytest.raises(QuantizationError, match=r"^The type of a, a result of Inverse, is not known\. "):
        quantized(source, "fp16", tmp_path / "output")


def test_small_weights_are_halved_too(tmp_path: Path) -> None:
    source = write(tmp_path, "(float[n,3] x) => (float[n,2] y) { y = MatMul(x, w) }", {"w": normal(3, 2)})
    for name, kind in HALVES.items():
        quantized(source, name, tmp_path / name)
        (weight,) = onnx.load(tmp_path / name / "model.onnx").graph.initializer
        assert (weight.data_type, weight.dims) == (kind, [3, 2])
        np.testing.assert_allclose(numpy_helper.to_array(weight).astype(np.float32), normal(3, 2), rtol=2**-8)


def test_types_are_known_behind_operators_of_onnxruntime(tmp_path: Path) -> None:
    """The norm stays in fp32, and both products have 16 bits."""
    text = """(float[b,s,64] x) => (float[b,s,32] y) {
        a = MatMul(x, w)  n = SimplifiedLayerNormalization<axis=-1>(a, g)  r = Add(n, x)  y = MatMul(r, v)
    }"""
    weights = {"w": normal(64, 64), "g": normal(64), "v": normal(64, 32)}
    source = write(tmp_path, text, weights, opset=17, ir_version=8)
    built = quantized(source, "fp16", tmp_path / "output")
    assert built.receipt.matmuls_quantized == 2
    assert built.receipt.kept_fp32 == {"SimplifiedLayerNormalization": 1}
    assert agreement(source, tmp_path / "output" / "model.onnx", {"x": normal(2, 5, 64)}) > 0.9999


def test_a_sequence_keeps_its_type(tmp_path: Path) -> None:
    text = """(float[2,64] x) => (float[1,32] y) {
        m = MatMul(x, w)  s = SplitToSequence<axis=0>(m)  y = SequenceAt(s, i)
    }"""
    source = write(tmp_path, text, {"w": normal(64, 32), "i": np.array(1)})
    assert quantized(source, "fp16", tmp_path / "output").receipt.kept_fp32 == {"SplitToSequence": 1, "SequenceAt": 1}
    assert agreement(source, tmp_path / "output" / "model.onnx", {"x": normal(2, 64)}) > 0.9999
