"""Mixers and the lookup table come out computing what PyTorch computes, at any length that they take, in int8 too."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import small
import torch
from onnx_files import run

from edgeprof.errors import QuantizationError
from edgeprof.families import family_of
from edgeprof.process import silent
from edgeprof.schema import Variant
from edgeprof.stages import export, verify
from edgeprof.stages.quantize import recipe
from edgeprof.stages.quantize import stage as quantize
from edgeprof.stages.weights import Weights

VARIANTS: dict[str, Variant] = {
    **{task: small.variant("mixer", task) for task in small.MIXERS},
    "many heads": small.variant("mixer", "attention", heads=3),
    "cross": small.variant("mixer", "attention", heads=3, cross=11),
    "one token": small.variant("mixer", "dense", tokens=1),
    "table": small.variant("embedding", "lookup"),
}


def exported(variant: Variant, folder: Path, opset: int = export.OPSET) -> export.Exported:
    request = export.ExportRequest(variant=variant, weights=Weights(), logits="all", opset=opset, folder=str(folder))
    return export.run(request, silent)


def verified(made: export.Exported, folder: Path, model: str = "model.onnx", tolerance: float | None = 1e-4) -> Any:
    reference = str(folder / "reference.npz")
    request = verify.VerifyRequest(
        model=str(folder / model), reference=reference, inputs=made.inputs, tolerance=tolerance
    )
    return verify.run(request, silent).checks


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_it_agrees_with_pytorch(variant: Variant, tmp_path: Path) -> None:
    made = exported(variant, tmp_path)
    checks = verified(made, tmp_path)
    assert {check.case.batch for check in checks} == {1, 3}
    assert made.params == family_of(variant).params(variant) == small.torch_params(variant)
    assert made.inputs == family_of(variant).inputs(variant)
    assert made.outputs == family_of(variant).outputs(variant)


@pytest.mark.parametrize("name", ["dense", "gram", "cross", "block"])
def test_an_older_operator_set_agrees_too(name: str, tmp_path: Path) -> None:
    assert verified(exported(VARIANTS[name], tmp_path, opset=18), tmp_path)


@pytest.mark.parametrize("name", ["attention", "many heads", "cross", "block"])
def test_attention_is_one_operator(name: str, tmp_path: Path) -> None:
    assert exported(VARIANTS[name], tmp_path).count.nodes["Attention"] == 1


def test_a_second_sequence_may_have_any_length(tmp_path: Path) -> None:
    """The one that it is sized for, one token, and more and fewer than there are queries."""
    variant = VARIANTS["cross"]
    exported(variant, tmp_path)
    model, generator = export.build(variant, Weights()), np.random.default_rng(0)
    for tokens, context in ((5, 11), (5, 1), (1, 40), (9, 9)):
        states, other = (generator.standard_normal((2, n, 24), dtype=np.float32) for n in (tokens, context))
        with torch.no_grad():
            expected = model(torch.from_numpy(states), torch.from_numpy(other)).numpy()
        mixed = run(tmp_path / "model.onnx", {"hidden_states": states, "context": other})["mixed"]
        np.testing.assert_allclose(mixed, expected, atol=1e-5)


def test_what_mixes_tokens_sees_the_others_and_what_does_not_does_not(tmp_path: Path) -> None:
    """The first token's output, when only the last token changes."""
    states = np.random.default_rng(0).standard_normal((1, 6, 24), dtype=np.float32)
    changed = states.copy()
    changed[:, -1] = states[:, -1, ::-1]
    for task in small.MIXERS:
        folder = tmp_path / task
        folder.mkdir()
        exported(VARIANTS[task], folder)
        one, other = (run(folder / "model.onnx", {"hidden_states": x})["mixed"][:, 0] for x in (states, changed))
        assert (np.abs(one - other).max() > 1e-3) == (task != "pointwise")


# --- int8 ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "matmuls"), [("dense", 1), ("pointwise", 1), ("cross", 3), ("block", 6)])
def test_int8_reaches_every_weight(name: str, matmuls: int, tmp_path: Path) -> None:
    made = exported(VARIANTS[name], tmp_path)
    (tmp_path / "int8").mkdir()
    request = quantize.QuantizeRequest(
        model=str(tmp_path / "model.onnx"),
        recipe="int8",
        settings=recipe("int8").settings,
        folder=str(tmp_path / "int8"),
    )
    receipt = quantize.run(request, silent).receipt
    assert (receipt.matmuls, receipt.matmuls_quantized) == (matmuls, matmuls)
    assert min(check.cosine for check in verified(made, tmp_path, "int8/model.onnx", None)) > 0.999


@pytest.mark.parametrize("name", ["gram", "table"])
def test_where_no_weight_is_multiplied_int8_is_refused(name: str, tmp_path: Path) -> None:
    exported(VARIANTS[name], tmp_path)
    (tmp_path / "int8").mkdir()
    request = quantize.QuantizeRequest(
        model=str(tmp_path / "model.onnx"),
        recipe="int8",
        settings=recipe("int8").settings,
        folder=str(tmp_path / "int8"),
    )
    with pytest.raises(QuantizationError, match=r"None of the 0 weight matmuls was quantized"):
        quantize.run(request, silent)


def test_a_dense_layer_has_its_length_in_the_file(tmp_path: Path) -> None:
    exported(VARIANTS["dense"], tmp_path)
    (value,) = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.input
    assert [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] == ["batch_size", 6, 24]
