"""Mixers and the lookup table come out computing what PyTorch computes, at any length that they take, in int8 too."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_models
import torch
from onnx_files import run

from edgeprof.errors import QuantizationError
from edgeprof.families import family_of
from edgeprof.process import silent
from edgeprof.schema import Precision, Variant
from edgeprof.stages import verify
from edgeprof.stages.export import stage as export
from edgeprof.stages.quantize import stage as quantize
from edgeprof.stages.weights import Weights

VARIANTS: dict[str, Variant] = {
    **{task: tiny_models.variant("mixer", task) for task in tiny_models.MIXERS},
    "many heads": tiny_models.variant("mixer", "attention", heads=3),
    "cross": tiny_models.variant("mixer", "attention", heads=3, cross=11),
    "one token": tiny_models.variant("mixer", "dense", tokens=1),
    "table": tiny_models.variant("embedding", "lookup"),
}


def exported(variant: Variant, folder: Path, opset: int = export.OPSET) -> export.Exported:
    request = export.ExportRequest(variant=variant, weights=Weights(), logits="all", opset=opset, folder=str(folder))
    return export.run(request, silent)


@dataclass(frozen=True)
class ExportedMixer:
    """An export, and the folder that holds its files. Not to be changed."""

    folder: Path
    export: export.Exported

    @property
    def model(self) -> Path:
        return self.folder / "model.onnx"


Make = Callable[[str], ExportedMixer]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Exports a variant of the table, in the newest operator set; each one once."""

    @cache
    def export_once(name: str) -> ExportedMixer:
        folder = tmp_path_factory.mktemp("exported")
        return ExportedMixer(folder, exported(VARIANTS[name], folder))

    return export_once


def verified(built: ExportedMixer, model: Path | None = None, tolerance: float | None = 1e-4) -> Any:
    reference, inputs = str(built.folder / "reference.npz"), built.export.graphs[0].inputs
    request = verify.VerifyRequest(
        model=str(model or built.model), reference=reference, inputs=inputs, tolerance=tolerance
    )
    return verify.run(request, silent).checks


@pytest.mark.parametrize("name", VARIANTS)
def test_it_agrees_with_pytorch(name: str, make: Make) -> None:
    built, variant = make(name), VARIANTS[name]
    checks = verified(built)
    assert {check.case.batch for check in checks} == {1, 3}
    assert built.export.params == family_of(variant).params(variant) == tiny_models.torch_params(variant)
    assert built.export.graphs[0].inputs == family_of(variant).inputs(variant)
    assert built.export.graphs[0].outputs == family_of(variant).outputs(variant)


@pytest.mark.parametrize("name", ["dense", "gram", "cross", "block"])
def test_an_older_operator_set_agrees_too(name: str, tmp_path: Path) -> None:
    assert verified(ExportedMixer(tmp_path, exported(VARIANTS[name], tmp_path, opset=18)))


@pytest.mark.parametrize("name", ["attention", "many heads", "cross", "block"])
def test_attention_is_one_operator(name: str, make: Make) -> None:
    assert make(name).export.graphs[0].count.nodes["Attention"] == 1


def test_a_second_sequence_may_have_any_length(make: Make) -> None:
    """The one that it is sized for, one token, and more and fewer than there are queries."""
    built = make("cross")
    model, generator = export.build(VARIANTS["cross"], Weights()), np.random.default_rng(0)
    for tokens, context in ((5, 11), (5, 1), (1, 40), (9, 9)):
        states, other = (generator.standard_normal((2, n, 24), dtype=np.float32) for n in (tokens, context))
        with torch.no_grad():
            expected = model(torch.from_numpy(states), torch.from_numpy(other)).numpy()
        mixed = run(built.model, {"hidden_states": states, "context": other})["mixed"]
        np.testing.assert_allclose(mixed, expected, atol=1e-5)


def test_what_mixes_tokens_sees_the_others_and_what_does_not_does_not(make: Make) -> None:
    """The first token's output, when only the last token changes."""
    states = np.random.default_rng(0).standard_normal((1, 6, 24), dtype=np.float32)
    changed = states.copy()
    changed[:, -1] = states[:, -1, ::-1]
    for task in tiny_models.MIXERS:
        one, other = (run(make(task).model, {"hidden_states": x})["mixed"][:, 0] for x in (states, changed))
        assert (np.abs(one - other).max() > 1e-3) == (task != "pointwise")


# --- int8 ----------------------------------------------------------------------------------------------------


def in_int8(built: ExportedMixer, folder: Path) -> quantize.Quantized:
    request = quantize.QuantizeRequest(model=str(built.model), precision=Precision(recipe="int8"), folder=str(folder))
    return quantize.run(request, silent)


@pytest.mark.parametrize(("name", "matmuls"), [("dense", 1), ("pointwise", 1), ("cross", 3), ("block", 6)])
def test_int8_reaches_every_weight(name: str, matmuls: int, make: Make, tmp_path: Path) -> None:
    receipt = in_int8(make(name), tmp_path).receipt
    assert (receipt.matmuls, receipt.matmuls_quantized) == (matmuls, matmuls)
    assert min(check.cosine for check in verified(make(name), tmp_path / "model.onnx", None)) > 0.999


@pytest.mark.parametrize("name", ["gram", "table"])
def test_where_no_weight_is_multiplied_int8_is_refused(name: str, make: Make, tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match=r"int8 has nothing to quantize: .* no constant matrix"):
        in_int8(make(name), tmp_path)


def test_a_dense_layer_has_its_length_in_the_file(make: Make) -> None:
    (value,) = onnx.load(make("dense").model, load_external_data=False).graph.input
    assert [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim] == ["batch_size", 6, 24]
