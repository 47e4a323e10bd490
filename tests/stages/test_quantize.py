"""int8: what was reached is counted, a tied embedding is stored once, and reaching nothing is an error."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgeprof.api.targets import foreign
from edgeprof.errors import QuantizationError, UnknownName
from edgeprof.process import silent
from edgeprof.schema import Artifact
from edgeprof.stages.quantize import quantize, recipe


def test_all_weight_matmuls_are_reached(artifacts: dict[tuple[str, str], Artifact]) -> None:
    """GPT-2, 2 layers of width 128, vocabulary 4000: per layer 12 x 128^2 weights in 4 matmuls, and the tied head."""
    reached = artifacts["gpt2", "int8"].quantization
    assert reached is not None
    assert (reached.matmuls, reached.matmuls_quantized, reached.left) == (2 * 4 + 1, 2 * 4 + 1, ())
    assert reached.weight_bytes == reached.weight_bytes_quantized == 4 * (2 * 12 * 128**2 + 128 * 4000)


@pytest.mark.parametrize(("family", "matmuls"), [("bert", 2 * 6 + 1), ("vit", 12 * 6 + 1)])
def test_the_last_dense_layer_counts_too(family: str, matmuls: int, artifacts: dict[tuple[str, str], Artifact]) -> None:
    reached = artifacts[family, "int8"].quantization
    assert reached is not None and reached.matmuls_quantized == matmuls


def test_a_tied_embedding_is_stored_once(artifacts: dict[tuple[str, str], Artifact]) -> None:
    """Stored twice, or left in fp32, it would be 2 bytes and more for each of its 512,000 of 918,000 parameters."""
    artifact = artifacts["gpt2", "int8"]
    assert artifact.params == 4000 * 128 + 64 * 128 + 2 * (12 * 128**2 + 13 * 128) + 2 * 128
    assert artifact.data_bytes / artifact.params < 1.1
    model = onnx.load(artifact.path, load_external_data=False)
    assert [
        list(weight.dims) for weight in model.graph.initializer if 4000 in weight.dims and len(weight.dims) == 2
    ] == [[128, 4000]]


def test_attention_is_left_alone(artifacts: dict[tuple[str, str], Artifact]) -> None:
    for family, layers in (("gpt2", 2), ("bert", 2), ("vit", 12)):
        assert artifacts[family, "int8"].count.nodes["Attention"] == layers
        assert "QAttention" not in artifacts[family, "int8"].count.nodes


def test_a_model_without_weights_to_multiply_gains_nothing_and_says_so(tmp_path: Path) -> None:
    shape = ["batch_size", 4]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    file = tmp_path / "sum.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), file)
    (tmp_path / "int8").mkdir()
    with pytest.raises(QuantizationError, match="None of the 0 weight matmuls was quantized"):
        quantize(foreign(file), "int8", tmp_path / "int8", silent)
    assert list((tmp_path / "int8").iterdir()) == []


def test_an_unknown_recipe_offers_the_known_ones() -> None:
    with pytest.raises(UnknownName, match=r"called 'int9'\. Did you mean int8\?"):
        recipe("int9")


def test_the_int8_embedding_is_the_fp32_one_rounded(artifacts: dict[tuple[str, str], Artifact]) -> None:
    """What Gather, Transpose, Cast and Mul give for a token is its row, within half a step of its scale."""
    import onnx_ir as ir

    int8, fp32 = (ir.load(artifacts["gpt2", precision].path) for precision in ("int8", "fp32"))
    embedding = next(
        v.const_value.numpy() for v in fp32.graph.initializers.values() if v.const_value.shape == (4000, 128)
    )
    stored = {name: value.const_value.numpy() for name, value in int8.graph.initializers.items()}
    head = next(value for value in stored.values() if value.shape == (128, 4000))
    scale = next(value for name, value in stored.items() if value.shape == (4000,) and name.endswith("_scale"))
    assert np.abs(head.T * scale[:, None] - embedding).max() <= scale.max() * 0.5001
