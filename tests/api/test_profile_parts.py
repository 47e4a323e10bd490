"""Profiles of artifacts of several graphs that no family describes."""

from pathlib import Path

import pytest
from builders import several_graphs
from builders.several_graphs import (
    CAPTIONER,
    CLASSIFIER,
    DUAL_TOWERS,
    ENCODER_DECODER,
    END,
    PARTS,
    STATE_SPACE,
    VOCABULARY,
    WIDTH,
)

from edgeprof.api.buckets import choose_buckets
from edgeprof.api.profile import profile
from edgeprof.errors import RunError, UsageError
from edgeprof.schema import Point

PROJECTED = WIDTH * WIDTH
HEAD = WIDTH * VOCABULARY
PATCHES = 4 * WIDTH * 3 * 4 * 4  # of an image of 8 x 8, in patches of 4 x 4
TOWERS = WIDTH  # of one image and one text


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    several_graphs.build(folder / "translator" / "fp32", "translator", ENCODER_DECODER)
    several_graphs.build(folder / "captioner" / "fp32", "captioner", CAPTIONER)
    several_graphs.build(folder / "recurrence" / "fp32", "recurrence", STATE_SPACE)
    several_graphs.build(folder / "towers" / "fp32", "towers", DUAL_TOWERS)
    several_graphs.build(folder / "images" / "fp32", "images", DUAL_TOWERS[1:2])
    return folder


def measured(models: Path, out: Path, *targets: str, **options: object) -> list[Point]:
    run = profile(targets, rounds=1, max_time_s=0, runs=1, min_time_s=0, models=models, out=out, **options)  # type: ignore[arg-type]
    assert [point.error for point in run.points] == [""] * len(run.points)
    return list(run.points)


def test_a_translator_is_measured_at_its_encoder_and_at_a_step_of_its_decoder(models: Path, tmp_path: Path) -> None:
    points = measured(models, tmp_path, "translator", seq=[6, 12])
    assert {point.subject.model for point in points} == {"translator"}
    loads = [(p.load.phase, p.load.tokens, p.load.past_tokens, p.load.source_tokens) for p in points]
    assert loads == [("prefill", 6, 0, None), ("prefill", 12, 0, None), ("decode", 1, 6, 6), ("decode", 1, 12, 12)]
    assert [p.facts.macs for p in points] == [6 * PROJECTED, 12 * PROJECTED, *[PROJECTED + HEAD] * 2]
    assert len({point.key.series for point in points}) == 2  # a line for each phase


def test_a_length_sizes_the_decoder_where_the_encoder_has_one_size(models: Path, tmp_path: Path) -> None:
    points = measured(models, tmp_path, "captioner", seq=[6, 12])
    assert [(p.load.phase, p.load.past_tokens, p.load.source_tokens) for p in points] == [
        ("prefill", 0, None),
        ("decode", 6, PARTS),
        ("decode", 12, PARTS),
    ]
    assert [p.facts.macs for p in points] == [PATCHES, *[PROJECTED + HEAD] * 2]


def test_a_classifier_of_an_encoder_decoder_finds_an_end_token(tmp_path: Path) -> None:
    config = {"is_encoder_decoder": True, "eos_token_id": END}
    folder = tmp_path / "classifier" / "fp32"
    several_graphs.build(folder, "classifier", CLASSIFIER, class_name="BartForSequenceClassification", **config)
    (point,) = measured(tmp_path, tmp_path / "runs", "classifier", seq=[6])
    assert point.facts.fills["input_ids"].endswith(f", then {END}")


def test_a_graph_named_by_its_role_is_measured_alone(models: Path, tmp_path: Path) -> None:
    (point,) = measured(models, tmp_path, "translator/decoder", seq=[6], phase="prefill")
    assert (point.subject.model, point.load.tokens, point.load.source_tokens) == ("translator/decoder", 6, 6)
    assert point.facts.macs == 6 * (PROJECTED + HEAD)
    assert point.facts.fills["decoder_input_ids"] == f"ids below {VOCABULARY}"
    with pytest.raises(RunError, match="translator has no graph 'vision'; its graphs are: encoder, decoder"):
        profile(["translator/vision"], models=models, out=tmp_path)


def test_a_recurrence_is_measured_after_any_number_of_tokens(models: Path, tmp_path: Path) -> None:
    prefill, short, long = measured(models, tmp_path, "recurrence", seq=[6, 12], precision=["fp32"])[1:]
    assert (prefill.load.phase, prefill.load.tokens, prefill.facts.macs) == ("prefill", 12, 12 * HEAD)
    assert [(p.load.phase, p.load.past_tokens, p.facts.macs) for p in (short, long)] == [
        ("decode", 6, HEAD),
        ("decode", 12, HEAD),
    ]


def test_towers_are_measured_together_and_apart(models: Path, tmp_path: Path) -> None:
    points = {point.subject.model: point for point in measured(models, tmp_path, "towers", seq=[6])}
    assert {name: point.facts.macs for name, point in points.items()} == {
        "towers/vision": PATCHES,
        "towers/text": 0,
        "towers/model": PATCHES + TOWERS,
    }
    assert {name: point.facts.params for name, point in points.items()} == {
        "towers/vision": 1536,
        "towers/text": 2560,
        "towers/model": 4096,
    }
    (vision,) = measured(models, tmp_path, str(models / "towers" / "fp32" / "vision.onnx"))
    assert vision.subject == points["towers/vision"].subject


def test_a_token_length_that_a_model_does_not_have_is_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"images takes images, which --seq does not size") as refused:
        profile(["images"], seq=[16], models=models, out=tmp_path)
    assert refused.value.next_step == "Leave --seq out; to choose their size: --dim height=224 --dim width=224"
    (point,) = measured(models, tmp_path, "images", dim={"height": 16, "width": 8})
    assert point.facts.macs == 2 * PATCHES
    with pytest.raises(UsageError, match="A token length is required for translator"):
        profile(["translator"], models=models, out=tmp_path)
    with pytest.raises(UsageError, match="translator takes at most 64 tokens, but 64 cached and 1 new token are"):
        profile(["translator"], seq=[64], models=models, out=tmp_path)


def test_lengths_of_one_graph_are_chosen_and_its_artifact_stays(models: Path, tmp_path: Path) -> None:
    record = (models / "translator" / "fp32" / "artifact.json").read_bytes()
    chosen = choose_buckets("translator/decoder", [4, 8, 8], count=1, models=models, out=tmp_path)
    assert [bucket.length for bucket in chosen.buckets] == [8]
    assert chosen.notes[-1].startswith("translator/decoder is one graph of several")
    assert (models / "translator" / "fp32" / "artifact.json").read_bytes() == record
