"""Explanations of models that no family describes: the graph of a phase, and every weight once."""

import json
from pathlib import Path

import pytest
from builders import several_graphs
from builders.several_graphs import CAPTIONER, DUAL_TOWERS, ENCODER_DECODER, PARTS, STATE_SPACE, VOCABULARY, WIDTH

import edgeprof
from edgeprof.errors import UsageError

TABLE, SQUARE = VOCABULARY * WIDTH, WIDTH * WIDTH


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explained")
    several_graphs.build(folder / "translator" / "fp32", "translator", ENCODER_DECODER)
    several_graphs.build(folder / "captioner" / "fp32", "captioner", CAPTIONER)
    several_graphs.build(folder / "recurrence" / "fp32", "recurrence", STATE_SPACE)
    several_graphs.build(folder / "towers" / "fp32", "towers", DUAL_TOWERS)
    return folder


def test_the_graph_of_a_phase_is_explained_and_shared_weights_count_once(models: Path) -> None:
    encoder = edgeprof.explain("translator", seq=[6], models=models)
    assert encoder.ledger.total("macs") == 6 * SQUARE
    assert {cost.name: cost.params for cost in encoder.ledger.costs}["in decoder alone"] == TABLE  # its head
    assert encoder.ledger.total("params") == 2 * TABLE + SQUARE
    assert encoder.ledger.total("weights_bytes") >= 4 * encoder.ledger.total("params")
    assert encoder.notes == (
        "Of 2 graphs this is the encoder; MACs of the others: edgeprof explain translator/decoder",
    )
    decoder = edgeprof.explain("translator", seq=[6], phase="decode", models=models)
    assert (decoder.ledger.load.past_tokens, decoder.ledger.load.source_tokens) == (6, 6)
    assert decoder.ledger.total("macs") == SQUARE + TABLE
    assert decoder.ledger.total("params") == encoder.ledger.total("params")
    assert decoder.ledger.total("cache_bytes") == 4 * WIDTH * (
        6 + 1 + 6
    )  # keys of the decoder's tokens, and the source


def test_an_encoder_of_one_size_is_explained_whatever_the_length(models: Path) -> None:
    encoder = edgeprof.explain("captioner", seq=[6], models=models)
    assert encoder.ledger.total("macs") == PARTS * 3 * 16 * WIDTH
    assert encoder.notes == (
        "Of 2 graphs this is the encoder, whose inputs have one size, whatever --seq says; "
        "MACs of the others: edgeprof explain captioner/decoder",
    )
    decoder = edgeprof.explain("captioner", seq=[6], phase="decode", models=models)
    assert (decoder.ledger.load.past_tokens, decoder.ledger.load.source_tokens) == (6, PARTS)


def test_one_graph_is_explained_by_its_role_or_its_file(models: Path) -> None:
    vision = edgeprof.explain("towers/vision", models=models)
    assert (vision.ledger.name, vision.ledger.total("params")) == ("towers/vision", 3 * 16 * WIDTH)
    assert vision.ledger.total("macs") == 4 * 3 * 16 * WIDTH  # four patches of the image size of its configuration
    again = edgeprof.explain(str(models / "towers" / "fp32" / "vision.onnx"))
    assert (again.ledger, again.notes) == (vision.ledger, ())


def test_the_state_of_a_recurrence_does_not_grow(models: Path) -> None:
    steps = edgeprof.explain("recurrence", seq=[64, 512], phase="decode", models=models)
    assert {ledger.total("macs") for ledger in steps.lengths} == {TABLE}
    assert {ledger.total("cache_bytes") for ledger in steps.lengths} == {4 * WIDTH * several_graphs.STATE}
    assert [ledger.load.past_tokens for ledger in steps.lengths] == [64, 512]


def test_the_default_length_is_one_that_the_model_takes(models: Path) -> None:
    assert edgeprof.explain("translator", models=models).ledger.load.tokens == 64
    assert edgeprof.explain("translator", phase="decode", models=models).ledger.load.past_tokens == 63


def test_a_checkpoint_without_closed_forms_is_exported_first(tmp_path: Path) -> None:
    folder = tmp_path / "rare"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "biogpt", "architectures": ["BioGptModel"]}))
    with pytest.raises(UsageError, match="of model type 'biogpt', of which edgeprof has no closed form") as refused:
        edgeprof.explain(str(folder))
    assert refused.value.next_step == (
        f"Export it, then explain its graph: edgeprof export {folder}; edgeprof explain rare"
    )


def test_the_commands_can_be_pasted_into_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "My (rare) model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "biogpt", "architectures": ["BioGptModel"]}))
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError) as refused:
        edgeprof.explain(".", models=tmp_path / "all models")
    assert refused.value.next_step == (
        "Export it, then explain its graph: "
        f"edgeprof export . --name My-rare-model --out '{tmp_path}/all models'; "
        f"edgeprof explain My-rare-model --models '{tmp_path}/all models'"
    )
