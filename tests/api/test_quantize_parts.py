"""Artifacts of several graphs, quantized: every graph has its receipt, and equal weights are stored once."""

from pathlib import Path

import numpy as np
import pytest
from builders import several_graphs
from builders.several_graphs import DUAL_TOWERS, ENCODER_DECODER, VOCABULARY, WIDTH

from edgeprof.api.quantize import quantize
from edgeprof.api.static_export import Shapes, fix
from edgeprof.api.verify import verify
from edgeprof.errors import UsageError
from edgeprof.process import silent
from edgeprof.schema import Artifact, Case
from edgeprof.stages.accuracy import evaluable
from edgeprof.store import load_artifact


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantized")
    several_graphs.build(folder / "translator" / "fp32", "translator", ENCODER_DECODER)
    several_graphs.build(folder / "towers" / "fp32", "towers", DUAL_TOWERS)
    return folder


def quantized(models: Path, target: str, recipe: str, **options: object) -> Artifact:
    (made,) = quantize([target], recipe=[recipe], models=models, **options)  # type: ignore[arg-type]
    assert made.artifact
    return made.artifact


def test_every_graph_of_a_translator_is_quantized(models: Path) -> None:
    made = quantized(models, "translator", "int8")
    receipts = {graph.role: graph.quantization for graph in made.graphs}
    assert {role: (one.matmuls_quantized, one.matmuls) for role, one in receipts.items() if one} == {
        "encoder": (1, 1),
        "decoder": (2, 2),
    }
    assert [path.name for path in made.files] == ["encoder.onnx", "decoder.onnx", "model.onnx.data"]
    stored = 2 * VOCABULARY * WIDTH  # a byte each: embedding and head; smaller tensors are within the graphs
    assert stored <= made.data_bytes < 1.1 * stored
    (verified,) = verify([str(made.folder)])
    assert [len(graph.checks) for graph in verified.graphs] == [1, 1]
    assert min(check.cosine for check in verified.checks) > 0.99
    assert made.accuracy_note.endswith("weights are random")


def test_random_values_calibrate_every_graph(models: Path) -> None:
    made = quantized(models, "translator", "int8-static", calibration="random", samples=2)
    receipts = [graph.quantization for graph in made.graphs]
    assert [one.calibration.random for one in receipts if one and one.calibration] == [True, True]
    with pytest.raises(UsageError, match=r"Text needs the tokenizer.json of translator/encoder"):
        quantize(["translator"], recipe=["int8-static"], calibration="text", models=models)
    with pytest.raises(UsageError, match=r"towers/model does not read text alone: it also takes 'pixel_values'"):
        quantize(["towers"], recipe=["int8-static"], calibration="text", models=models)


def test_one_file_of_samples_calibrates_every_tower(models: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    ids, pixels = random.integers(0, VOCABULARY, (4, 5)), random.standard_normal((4, 3, 8, 8), np.float32)
    np.savez(tmp_path / "both.npz", input_ids=ids, pixel_values=pixels)
    made = quantized(models, "towers", "a16w8", calibration=str(tmp_path / "both.npz"))
    receipts = {graph.role: graph.quantization for graph in made.graphs}
    assert {role: one.convolutions_quantized if one else None for role, one in receipts.items()} == {
        "model": 1,
        "vision": 1,
        "text": None,
    }


def test_a_graph_without_weights_for_a_recipe_stays_as_it_is(models: Path) -> None:
    made = quantized(models, "towers", "int8")
    tables = {graph.role: graph.quantization.tables for graph in made.graphs if graph.quantization}
    assert tables == {"text": 1, "model": 1, "vision": 0}
    with pytest.raises(UsageError, match="towers/text is one graph of towers") as refused:
        quantize(["towers/text"], recipe=["int8"], models=models)
    assert refused.value.next_step == "Quantize all of them: edgeprof quantize towers"


def test_both_phases_of_a_translator_have_static_graphs(models: Path) -> None:
    artifact = load_artifact(models / "translator" / "fp32")
    cases = Shapes(seq=(6,)).cases(artifact)
    assert cases == (Case(batch=1, tokens=6), Case(batch=1, tokens=1, past_tokens=6, source_tokens=6))
    static = fix(artifact, cases, False, silent).static
    assert [(one.file, one.max_abs_error < 1e-5) for one in static] == [
        ("prefill-1x6.onnx", True),
        ("decode-1x6.onnx", True),
    ]


def test_accuracy_is_that_of_a_graph_which_takes_a_text_or_an_image_alone(models: Path) -> None:
    translator, towers = (load_artifact(models / name / "fp32") for name in ("translator", "towers"))
    chosen = [
        evaluable(translator),
        evaluable(towers),
        evaluable(towers, images=True),
        evaluable(translator, images=True),
    ]
    assert [one.name if one else None for one in chosen] == ["translator/encoder", "towers/text", "towers/vision", None]
