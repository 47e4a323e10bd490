"""int8: what it reached is counted, what it must leave alone is left, and nothing reached is an error."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from foreign import agreement, normal, quantized, write
from onnx import TensorProto
from onnx_files import cache_of, decoder_feeds, empty_cache, run

from edgeprof.errors import QuantizationError, UnknownName
from edgeprof.recipe_table import recipe
from edgeprof.schema import Artifact

Artifacts = dict[tuple[str, str], Artifact]


def operators(artifact: Artifact) -> dict[str, int]:
    return artifact.graph().count.nodes


@pytest.mark.parametrize(
    ("family", "matmuls", "weight_bytes"),
    [
        # qkv, projection, MLP up and down: 12 d^2 a layer, and the head 4,000 d; d = 128, 2 layers
        ("gpt2", 2 * 4 + 1, 4 * (2 * 12 * 128**2 + 4000 * 128)),
        # q, k, v, projection, MLP up and down; the pooler
        ("bert", 2 * 6 + 1, 4 * (2 * 12 * 128**2 + 128**2)),
        # 12 layers of width 192; the head of 1,000 classes (the patch embedding is a convolution)
        ("vit", 12 * 6 + 1, 4 * (12 * 12 * 192**2 + 1000 * 192)),
    ],
)
def test_every_weight_matmul_is_quantized_and_counted(
    family: str, matmuls: int, weight_bytes: int, artifacts: Artifacts
) -> None:
    receipt = artifacts[family, "int8"].graph().quantization
    assert receipt is not None
    assert (receipt.matmuls, receipt.matmuls_quantized) == (matmuls, matmuls)
    assert (receipt.weight_bytes, receipt.weight_bytes_quantized) == (weight_bytes, weight_bytes)
    assert receipt.left == ()


@pytest.mark.parametrize("family", ["gpt2", "bert", "vit"])
def test_the_file_holds_what_the_receipt_says(family: str, artifacts: Artifacts) -> None:
    artifact = artifacts[family, "int8"]
    model = onnx.load(artifact.location, load_external_data=False)
    integers = [weights for weights in model.graph.initializer if weights.data_type == TensorProto.INT8]
    assert artifact.graph().quantization is not None
    looked_up = {name for node in model.graph.node if node.op_type == "Gather" for name in node.input}
    multiplied = {name for node in model.graph.node if node.op_type == "MatMulInteger" for name in node.input}
    held = sum(int(np.prod(weights.dims)) for weights in integers if weights.name in multiplied)
    assert 4 * held == artifact.graph().quantization.weight_bytes
    tables = [weights for weights in integers if weights.name in looked_up - multiplied]
    assert len(tables) == artifact.graph().quantization.tables == {"gpt2": 1, "bert": 3, "vit": 0}[family]
    kernels = [weights for weights in integers if len(weights.dims) == 4]
    assert len(kernels) == artifact.graph().quantization.kernels == {"gpt2": 0, "bert": 0, "vit": 1}[family]


@pytest.mark.parametrize("family", ["gpt2", "bert", "vit"])
def test_attention_is_left_alone_and_no_gemm_remains(family: str, artifacts: Artifacts) -> None:
    plain, quantized = operators(artifacts[family, "fp32"]), operators(artifacts[family, "int8"])
    attention = "GroupQueryAttention" if family == "gpt2" else "Attention"
    assert quantized[attention] == plain[attention] > 0
    assert not {"QAttention", "Gemm"} & set(quantized)


def test_a_tied_embedding_and_its_head_share_one_int8_matrix(artifacts: Artifacts) -> None:
    artifact = artifacts["gpt2", "int8"]
    assert artifact.graph().count.weights_bytes / artifact.params < 1.1
    assert artifact.data_bytes / artifact.params < 1.1


def test_the_difference_to_fp32_is_recorded_at_the_same_shapes(artifacts: Artifacts) -> None:
    for family in ("gpt2", "bert", "vit"):
        plain, quantized = artifacts[family, "fp32"], artifacts[family, "int8"]
        assert [check.case for check in plain.checks] == [check.case for check in quantized.checks]
        for exact, rough in zip(plain.checks, quantized.checks, strict=True):
            assert exact.max_abs_error < rough.max_abs_error
            assert 0.99 < rough.cosine < exact.cosine


def test_an_int8_decoder_decodes_as_it_prefills(artifacts: Artifacts) -> None:
    """Activations are scaled anew in every run, so the two are close and not equal."""
    decoder = artifacts["gpt2", "int8"]
    ids = np.random.default_rng(0).integers(0, 4000, (1, 12))
    whole = run(decoder.location, decoder_feeds(ids, empty_cache(decoder), 0))["logits"][0, -1]
    first = run(decoder.location, decoder_feeds(ids[:, :11], empty_cache(decoder), 0))
    step = run(decoder.location, decoder_feeds(ids[:, 11:], cache_of(first), 11))["logits"][0, -1]
    assert whole @ step / np.linalg.norm(whole) / np.linalg.norm(step) > 0.99


def test_the_record_is_that_of_the_source_but_for_what_changed(artifacts: Artifacts) -> None:
    plain, quantized = artifacts["gpt2", "fp32"], artifacts["gpt2", "int8"]
    same = ("name", "variant", "params", "weights", "logits", "versions")
    assert all(getattr(plain, field) == getattr(quantized, field) for field in same)
    of_graph = ("opset", "inputs", "outputs")
    assert all(getattr(plain.graph(), field) == getattr(quantized.graph(), field) for field in of_graph)
    assert str(quantized.precision) == "int8"
    assert [stage.stage for stage in quantized.graph().stages] == ["simplify", "quantize int8"]


def test_a_model_without_weight_matmuls_is_refused(tmp_path: Path) -> None:
    source = write(tmp_path, "(float[8,8] x) => (float[8,8] y) { y = MatMul(x, x) }")
    with pytest.raises(
        QuantizationError, match="int8 has nothing to quantize: the model multiplies by no constant matrix"
    ):
        quantized(source, "int8", tmp_path / "output")


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [", b", ""])
def test_a_gemm_becomes_a_matmul_that_computes_the_same(bias: str, transposed: int, tmp_path: Path) -> None:
    shape = (4, 8) if transposed else (8, 4)
    text = f"(float[n,8] x) => (float[n,4] y) {{ y = Gemm<transB={transposed}>(x, w{bias}) }}"
    source = write(tmp_path, text, {"w": normal(*shape), "b": normal(4)})
    built = quantized(source, "int8", tmp_path / "output")
    assert built.receipt.matmuls_quantized == 1
    assert agreement(source, tmp_path / "output" / "model.onnx", {"x": normal(3, 8, seed=1)}) > 0.999


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ("alpha=0.5", "Gemm with alpha 0.5 is more than a matrix product"),
        ("beta=2.0", "Gemm with beta 2 is more than a matrix product"),
        ("transA=1", "Gemm multiplies by the transpose of its input"),
    ],
)
def test_a_gemm_that_is_more_than_a_matmul_is_not_touched(attributes: str, reason: str, tmp_path: Path) -> None:
    text = f"(float[8,8] x) => (float[8,4] y) {{ y = Gemm<{attributes}>(x, w, b) }}"
    source = write(tmp_path, text, {"w": normal(8, 4), "b": normal(4)})
    with pytest.raises(QuantizationError, match=f"None of the 1 weight matmuls was quantized by int8: {reason}"):
        quantized(source, "int8", tmp_path / "output")


def test_an_unknown_recipe_is_offered_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"no precision called 'in8'\. Did you mean int8, int4\?"):
        recipe("in8")
