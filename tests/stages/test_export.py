"""PyTorch -> ONNX: every task of every family comes out computing what PyTorch computes, at any shape."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tiny_models
from counted_graphs import require_counts
from onnx_files import cache_of, decoder_feeds, empty_cache, run

from edgeprof import counting, recipe_table
from edgeprof.errors import EdgeprofError
from edgeprof.families import checkpoint
from edgeprof.process import silent
from edgeprof.schema import Artifact, Case, Variant
from edgeprof.stages import verify
from edgeprof.stages.export import stage as export
from edgeprof.stages.weights import Weights


def exported(variant: Variant, weights: Weights, folder: Path, **options: Any) -> export.Exported:
    requested = {"logits": "all", "opset": export.OPSET, **options}
    return export.run(export.ExportRequest(variant=variant, weights=weights, folder=str(folder), **requested), silent)


def verified(built: export.Exported, folder: Path) -> verify.Verified:
    request = verify.VerifyRequest(
        model=str(folder / "model.onnx"),
        reference=str(folder / "reference.npz"),
        inputs=built.graphs[0].inputs,
        tolerance=recipe_table.recipe("fp32").torch_tolerance,
    )
    return verify.run(request, silent)


@pytest.mark.parametrize(("family", "task"), tiny_models.TRACED_TASKS)
def test_a_checkpoint_of_every_task_exports_and_agrees_with_pytorch(family: str, task: str, tmp_path: Path) -> None:
    """And with the closed forms, its head included: parameters, and MACs at two shapes."""
    variant, folder = checkpoint.read(tiny_models.checkpoint(tmp_path / "checkpoint", family, task), "small")
    built = exported(variant, Weights(folder=str(folder)), tmp_path)
    assert verified(built, tmp_path).checks
    assert built.params == tiny_models.torch_params(variant)
    cases = [Case(batch=2, tokens=1 + 3 * 3), Case(batch=1, tokens=1 + 2 * 2)]  # images of 3 x 3 and 2 x 2 patches
    require_counts(counting.read(tmp_path / "model.onnx"), variant, cases)


@pytest.mark.parametrize("padding", [3, None])
def test_a_decoder_classifies_by_the_last_token_that_is_no_padding(padding: int | None, tmp_path: Path) -> None:
    folder = tiny_models.checkpoint(tmp_path / "checkpoint", "gpt2", "sequence-classification", pad_token_id=padding)
    variant, _ = checkpoint.read(folder, "small")
    built = exported(variant, Weights(folder=str(folder)), tmp_path)
    assert verified(built, tmp_path).checks


@pytest.mark.parametrize("opset", [18, 20, 23])
@pytest.mark.parametrize("family", ["gpt2", "bert", "vit"])
def test_older_operator_sets_agree_too(family: str, opset: int, tmp_path: Path) -> None:
    variant = tiny_models.variant(family, "base")
    built = exported(variant, Weights(), tmp_path, opset=opset)
    assert verified(built, tmp_path).checks
    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    assert {imported.domain: imported.version for imported in model.opset_import}[""] == opset


def test_an_operator_set_that_torch_cannot_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgeprofError, match=r"could not export the model in operator set 1000, only in \d+\. Choose"):
        exported(tiny_models.variant("bert", "base"), Weights(), tmp_path, opset=1000)


# --- the files ---------------------------------------------------------------------------------------------


def dims(artifact: Artifact, name: str) -> tuple[int | str, ...]:
    return next(spec.dims for spec in (*artifact.graph().inputs, *artifact.graph().outputs) if spec.name == name)


def test_a_decoder_has_the_ecosystems_names_for_its_cache(artifacts: dict[tuple[str, str], Artifact]) -> None:
    decoder = artifacts["gpt2", "fp32"]
    parts = [f"{layer}.{part}" for layer in (0, 1) for part in ("key", "value")]
    assert [spec.name for spec in decoder.graph().inputs] == [
        *("input_ids", "attention_mask", "position_ids"),
        *(f"past_key_values.{part}" for part in parts),
    ]
    assert [spec.name for spec in decoder.graph().outputs] == ["logits", *(f"present.{part}" for part in parts)]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_dynamic_dimensions_keep_the_ecosystems_names(
    precision: str, artifacts: dict[tuple[str, str], Artifact]
) -> None:
    gpt2, bert, vit = (artifacts[family, precision] for family in ("gpt2", "bert", "vit"))
    total = "past_sequence_length + sequence_length"
    assert dims(gpt2, "input_ids") == ("batch_size", "sequence_length")
    assert dims(gpt2, "attention_mask") == ("batch_size", total)
    assert dims(gpt2, "past_key_values.1.value") == ("batch_size", 4, "past_sequence_length", 32)
    assert dims(gpt2, "present.1.value") == ("batch_size", 4, total, 32)
    assert dims(gpt2, "logits") == ("batch_size", "sequence_length", 4000)
    assert dims(bert, "last_hidden_state") == ("batch_size", "sequence_length", 128)
    assert dims(bert, "pooler_output") == ("batch_size", 128)
    assert dims(vit, "pixel_values") == ("batch_size", 3, "height", "width")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("family", ["gpt2", "bert", "vit"])
def test_the_record_says_what_is_in_the_file(
    family: str, precision: str, artifacts: dict[tuple[str, str], Artifact]
) -> None:
    artifact = artifacts[family, precision]
    model = onnx.load(artifact.location, load_external_data=False)

    def dims_of(values: Any) -> list[tuple[str, tuple[int | str, ...]]]:
        return [(v.name, tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim)) for v in values]

    assert dims_of(model.graph.input) == [(spec.name, spec.dims) for spec in artifact.graph().inputs]
    assert dims_of(model.graph.output) == [(spec.name, spec.dims) for spec in artifact.graph().outputs]
    assert artifact.graph().count.node_total == len(model.graph.node)
    attention = "GroupQueryAttention" if family == "gpt2" else "Attention"
    assert sum(1 for node in model.graph.node if node.op_type == attention) == artifact.graph().count.nodes[attention]


def test_nothing_of_this_machine_is_in_the_file(artifacts: dict[tuple[str, str], Artifact]) -> None:
    for artifact in artifacts.values():
        assert b"site-packages" not in Path(artifact.location).read_bytes()


def test_weights_lie_beside_the_graph(artifacts: dict[tuple[str, str], Artifact]) -> None:
    for artifact in artifacts.values():
        assert Path(artifact.location).stat().st_size < 400_000
        assert artifact.data_bytes == Path(artifact.location + ".data").stat().st_size > 900_000


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_every_family_agrees_with_pytorch_at_every_shape(
    precision: str, artifacts: dict[tuple[str, str], Artifact]
) -> None:
    for family in ("gpt2", "bert", "vit"):
        checks = artifacts[family, precision].checks
        assert {check.case.batch for check in checks} == {1, 3}
        assert min(check.cosine for check in checks) > 0.99
        if precision == "fp32":
            assert max(check.max_abs_error for check in checks) < 1e-4
    cases = [check.case for check in artifacts["gpt2", precision].checks]
    assert {case.past_tokens > 0 for case in cases} == {True, False}
    assert 1 in {case.tokens for case in cases}
    assert any(case.tokens > 1 and case.tokens % 2 for case in cases)


# --- run -----------------------------------------------------------------------------------------------------


def test_prefill_and_one_decode_step_equal_one_longer_prefill(artifacts: dict[tuple[str, str], Artifact]) -> None:
    decoder = artifacts["gpt2", "fp32"]
    ids = np.random.default_rng(0).integers(0, 4000, (2, 12))
    whole = run(decoder.location, decoder_feeds(ids, empty_cache(decoder, batch=2), 0))
    first = run(decoder.location, decoder_feeds(ids[:, :11], empty_cache(decoder, batch=2), 0))
    step = run(decoder.location, decoder_feeds(ids[:, 11:], cache_of(first), 11))
    np.testing.assert_allclose(step["logits"][:, -1], whole["logits"][:, -1], atol=1e-5)
    for name in cache_of(step):
        np.testing.assert_allclose(cache_of(step)[name], cache_of(whole)[name], atol=1e-5)


def test_a_token_does_not_see_those_after_it(artifacts: dict[tuple[str, str], Artifact]) -> None:
    decoder = artifacts["gpt2", "fp32"]
    ids = np.arange(8)[None]
    changed = np.where(ids < 5, ids, ids + 100)
    one, other = (run(decoder.location, decoder_feeds(x, empty_cache(decoder), 0))["logits"] for x in (ids, changed))
    np.testing.assert_allclose(one[:, :5], other[:, :5], atol=1e-5)
    assert np.abs(one[:, 5:] - other[:, 5:]).max() > 0.01


def test_a_row_padded_on_the_left_equals_the_row_alone(artifacts: dict[tuple[str, str], Artifact]) -> None:
    """Fused attention takes padding on the right alone."""
    decoder = artifacts["gpt2-portable", "fp32"]
    alone = run(decoder.location, decoder_feeds(np.array([[5, 6, 7]]), empty_cache(decoder), 0))
    padded = {
        "input_ids": np.array([[0, 0, 5, 6, 7]]),
        "attention_mask": np.array([[0, 0, 1, 1, 1]]),
        "position_ids": np.array([[0, 0, 0, 1, 2]]),
        **empty_cache(decoder),
    }
    result = run(decoder.location, padded)["logits"]
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result[:, 2:], alone["logits"], atol=1e-5)


def test_with_last_logits_the_head_runs_on_the_last_position_only(tmp_path: Path) -> None:
    folder = tiny_models.checkpoint(tmp_path / "checkpoint", "gpt2", "causal-lm")
    variant, _ = checkpoint.read(folder, "small")
    results = {}
    for logits in ("all", "last"):
        (tmp_path / logits).mkdir()
        built = exported(variant, Weights(folder=str(folder)), tmp_path / logits, logits=logits)
        assert verified(built, tmp_path / logits).checks
        cache = {f"past_key_values.{n}.{part}": np.zeros((2, 2, 0, 16), np.float32) for n in (0, 1) for part in PARTS}
        ids = np.random.default_rng(0).integers(0, 60, (2, 9))
        results[logits] = run(tmp_path / logits / "model.onnx", decoder_feeds(ids, cache, 0))["logits"]
    assert results["all"].shape == (2, 9, 60)
    assert results["last"].shape == (2, 1, 60)
    np.testing.assert_allclose(results["last"][:, 0], results["all"][:, -1], atol=1e-6)


PARTS = ("key", "value")


@pytest.mark.parametrize(("height", "width"), [(16, 16), (48, 80), (224, 224), (304, 32)])
def test_vit_takes_images_of_any_whole_number_of_patches(
    height: int, width: int, artifacts: dict[tuple[str, str], Artifact]
) -> None:
    import torch

    vit = artifacts["vit", "fp32"]
    assert vit.variant is not None
    model = export.build(vit.variant, Weights())
    image = np.random.default_rng(0).standard_normal((2, 3, height, width), dtype=np.float32)
    with torch.no_grad():
        expected = model(pixel_values=torch.from_numpy(image), interpolate_pos_encoding=True).logits.numpy()
    np.testing.assert_allclose(run(vit.location, {"pixel_values": image})["logits"], expected, atol=1e-4)
