"""What a recipe costs, on models so small that a person can compute it."""

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgeprof.api.targets import foreign
from edgeprof.errors import ModelFileError, UsageError, VerificationError
from edgeprof.schema import Accuracy, Artifact, Limits, WeightsSource
from edgeprof.stages import accuracy_metrics
from edgeprof.stages.accuracy import compare, exceeded_limits, why_not_evaluated
from edgeprof.stages.accuracy_metrics import Tally, compared, predictions, task_of
from edgeprof.stages.samples import Part, Samples, gather

LN3 = math.log(3)  # logits of (ln 3, 0) are probabilities of 3/4 and 1/4
ANYTHING = Limits(cosine=-1, top1=0, kl=math.inf, perplexity=math.inf)


# --- sums over predictions -------------------------------------------------------------------------------------


def rows(*vectors: list[float]) -> Any:
    return np.array(vectors, np.float32)


def test_directions_and_errors_of_vectors() -> None:
    """cos((3, 4), (4, 3)) = 24 / 25; cos((2, 0), (1, 1)) = 1 / sqrt(2); the largest error of 1 / 4 is beside 1 / 2."""
    tally = Tally(distributions=False)
    tally.add(rows([3, 4], [2, 0]), rows([4, 3], [1, 1]))
    assert tally.predictions == 2
    assert tally.cosine_mean == pytest.approx((0.96 + math.sqrt(0.5)) / 2)
    assert tally.cosine_min == pytest.approx(math.sqrt(0.5))
    assert tally.max_rel_error == 0.5
    assert (tally.kl, tally.top1, tally.perplexities) == (None, None, None)


def test_vectors_of_zeros_have_no_direction() -> None:
    tally = Tally(distributions=False)
    tally.add(rows([0, 0], [0, 0]), rows([0, 0], [0, 2]))
    assert (tally.cosine_mean, tally.cosine_min, tally.max_rel_error) == (0.5, 0, 2)


def test_distributions_of_two_classes() -> None:
    """KL((1/2, 1/2) || (3/4, 1/4)) = ln(4/3) / 2; KL((1/4, 3/4) || (3/4, 1/4)) = ln(3) / 2, with the other choice."""
    tally = Tally(distributions=True)
    tally.add(rows([7, 7], [0, LN3]), rows([LN3, 0], [LN3 + 9, 9]))
    assert tally.kl == pytest.approx((math.log(4 / 3) / 2 + LN3 / 2) / 2)
    assert tally.top1 == 0.5
    assert tally.perplexities is None


def test_perplexity_of_what_came_next() -> None:
    """Of two classes at 1/2 each it is 2; at 3/4 and 1/4 it is 1 / sqrt(3/16) = 4 / sqrt(3)."""
    tally = Tally(distributions=True)
    tally.add(rows([0, 0], [0, 0]), rows([LN3, 0], [LN3, 0]), np.array([0, 1]))
    assert tally.perplexities == pytest.approx((2, 4 / math.sqrt(3)))


def test_large_logits_do_not_overflow() -> None:
    tally = Tally(distributions=True)
    tally.add(rows([1e4, 0], [-1e4, -1e4]), rows([1e4, 0], [-1e4, -1e4]), np.array([0, 0]))
    assert (tally.kl, tally.top1) == (0, 1)
    assert tally.perplexities == pytest.approx((math.sqrt(2), math.sqrt(2)))


def test_a_single_score_is_no_choice() -> None:
    tally = Tally(distributions=True)
    tally.add(rows([2], [4]), rows([1], [4]))
    assert (tally.cosine_mean, tally.max_rel_error, tally.kl, tally.top1) == (1, 0.5, None, None)


def test_pieces_make_the_same_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    expected, result = random.standard_normal((2, 50, 7), np.float32)
    whole, pieces = Tally(distributions=True), Tally(distributions=True)
    whole.add(expected, result, np.arange(50) % 7)
    monkeypatch.setattr(accuracy_metrics, "CHUNK", 3 * 7)
    pieces.add(expected, result, np.arange(50) % 7)
    for name in ("cosine_mean", "cosine_min", "max_rel_error", "kl", "top1", "perplexities"):
        assert getattr(pieces, name) == pytest.approx(getattr(whole, name))


# --- what is compared ------------------------------------------------------------------------------------------


def test_hidden_states_are_averaged_over_tokens_that_are_no_padding() -> None:
    states = np.array([[[1.0, 2], [3, 4], [100, 100]], [[1, 1], [2, 2], [6, 0]]], np.float32)
    feeds = {"input_ids": np.zeros((2, 3), np.int64), "attention_mask": np.array([[1, 1, 0], [1, 1, 1]])}
    vectors, labels = predictions("embedding", "last_hidden_state", states, feeds)
    assert (vectors.tolist(), labels) == ([[2, 3], [3, 1]], None)
    vectors, _ = predictions("embedding", "last_hidden_state", states[1:], {"pixel_values": states})
    assert vectors.tolist() == [[3, 1]]


def test_other_outputs_have_a_vector_for_each_token_or_each_row() -> None:
    three = np.arange(12.0).reshape(1, 3, 4)
    assert predictions("embedding", "mixed", three, {})[0].tolist() == three[0].tolist()
    assert predictions("embedding", "pooler_output", three[0], {})[0].tolist() == three[0].tolist()
    assert predictions("embedding", "map", three.reshape(1, 3, 2, 2), {})[0].shape == (1, 12)
    assert predictions("embedding", "score", np.float32(3).reshape(()), {})[0].tolist() == [[3]]


def test_logits_of_padding_are_left_out() -> None:
    logits = np.arange(12.0).reshape(2, 3, 2)
    feeds = {"input_ids": np.array([[5, 6, 7], [8, 9, 0]]), "attention_mask": np.array([[1, 1, 1], [1, 1, 0]])}
    vectors, labels = predictions("classification", "logits", logits, feeds)
    assert (vectors.tolist(), labels) == ([[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]], None)
    vectors, labels = predictions("next token", "logits", logits, feeds)
    assert vectors.tolist() == [[0, 1], [2, 3], [6, 7]]
    assert labels is not None
    assert labels.tolist() == [6, 7, 9]


def test_logits_of_the_last_token_alone_have_no_label() -> None:
    feeds = {"input_ids": np.array([[5, 6, 7]]), "attention_mask": np.ones((1, 3), np.int64)}
    assert predictions("next token", "logits", np.ones((1, 1, 4)), feeds)[1] is None


def test_tasks_and_outputs_follow_from_the_model(artifacts: dict[tuple[str, str], Artifact]) -> None:
    kinds = {family: artifacts[family, "fp32"] for family in ("gpt2", "bert", "vit")}
    assert {family: task_of(artifact) for family, artifact in kinds.items()} == {
        "gpt2": "next token",
        "bert": "embedding",
        "vit": "classification",
    }
    assert [[spec.name for spec in compared(artifact)] for artifact in kinds.values()] == [
        ["logits"],
        ["last_hidden_state"],
        ["logits"],
    ]


# --- limits ----------------------------------------------------------------------------------------------------


def test_every_exceeded_limit_is_reported() -> None:
    accuracy = Accuracy(
        task="next token",
        data="a text",
        samples=2,
        predictions=100,
        cosine_mean=0.98765,
        cosine_min=0.9,
        max_rel_error=0.1,
        kl=0.125,
        top1=0.875,
        perplexity_fp32=20,
        perplexity=25,
    )
    assert exceeded_limits(accuracy, Limits(cosine=0.98765, top1=0.875, kl=0.125, perplexity=1.25)) == ()
    assert exceeded_limits(accuracy, Limits(cosine=0.99, top1=0.9, kl=0.1, perplexity=1.1)) == (
        "The mean cosine to fp32 is 0.98765, below 0.99.",
        "The first choice is that of fp32 in 87.5 % of cases, below 90 %.",
        "The KL divergence from fp32 is 0.125 nats per prediction, above 0.1.",
        "Perplexity is 25 against 20 in fp32, 1.25 times as much, above 1.1.",
    )
    plain = msgspec.structs.replace(accuracy, kl=None, top1=None, perplexity=None, perplexity_fp32=None)
    assert exceeded_limits(plain, Limits(cosine=0.98, top1=1, kl=0, perplexity=0)) == ()


# --- files -----------------------------------------------------------------------------------------------------


def table_file(path: Path, table: Any, output: str, cached: bool = False, kind: int = TensorProto.FLOAT) -> Artifact:
    """A file that answers every token id with its row of a table; `cached`: it takes a KV cache, and ignores it."""
    values = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])]
    if cached:
        values.append(helper.make_tensor_value_info("past_key_values.0.key", kind, ["batch", 1, "past", 2]))
    built = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", "tokens", len(table[0])])
    node = helper.make_node("Gather", ["table", "input_ids"], [output])
    weights = numpy_helper.from_array(np.array(table, np.float32), "table")
    graph = helper.make_graph([node], "table", values, [built], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return foreign(path)


def samples_of(artifact: Artifact, folder: Path, *ids: list[int], part: Part = "calibration") -> Samples:
    arrays = {f"{2 * number}/input_ids": np.array([row]) for number, row in enumerate(ids)}
    others = {f"{2 * number + 1}/input_ids": np.array([row]) for number, row in enumerate(ids)}
    np.savez(folder / "ids.npz", **arrays, **others)  # type: ignore[arg-type]
    return gather(artifact, str(folder / "ids.npz"), folder / "samples.npz", part=part)


def test_a_decoder_is_compared_by_what_it_predicts(tmp_path: Path) -> None:
    """fp32 gives both tokens 1/2. The other gives token 0 3/4: of what came next, 0 1 0 and 0, three are 0.

    Perplexities: 2, and the fourth root of 1 / ((3/4)^3 (1/4)). The KV cache is fed in fp16 where a file takes that.
    """
    fp32 = table_file(tmp_path / "fp32.onnx", [[5, 5], [5, 5]], "logits", cached=True)
    other = table_file(tmp_path / "other.onnx", [[LN3, 0], [LN3, 0]], "logits", cached=True, kind=TensorProto.FLOAT16)
    samples = samples_of(fp32, tmp_path, [1, 0, 1, 0], [1, 0])
    result = compare(fp32, Path(other.location), samples, Limits(cosine=0, top1=1, kl=0.1, perplexity=0.8))
    assert (result.task, result.data, result.samples, result.predictions) == ("next token", "ids.npz", 2, 4)
    assert result.kl == pytest.approx(math.log(4 / 3) / 2)
    assert result.top1 == 1
    assert result.perplexity_fp32 == pytest.approx(2)
    assert result.perplexity == pytest.approx((27 / 256) ** -0.25)
    assert result.cosine_mean == pytest.approx(math.sqrt(0.5))
    assert result.max_rel_error == pytest.approx(1)
    assert result.beyond == (
        "The KL divergence from fp32 is 0.1438 nats per prediction, above 0.1.",
        "Perplexity is 1.755 against 2 in fp32, 0.8774 times as much, above 0.8.",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fp32.onnx", "ids.npz", "other.onnx", "samples.npz"]


def test_logits_of_a_foreign_encoder_are_a_classification(tmp_path: Path) -> None:
    fp32 = table_file(tmp_path / "fp32.onnx", [[0, LN3], [9, 9]], "logits")
    other = table_file(tmp_path / "other.onnx", [[LN3, 0], [9, 9]], "logits")
    result = compare(fp32, Path(other.location), samples_of(fp32, tmp_path, [0, 1, 1, 1]), ANYTHING)
    assert (result.task, result.predictions, result.top1) == ("classification", 4, 0.75)
    assert result.kl == pytest.approx(LN3 / 2 / 4)
    assert (result.perplexity, result.perplexity_fp32) == (None, None)


def test_vectors_of_a_foreign_file_are_compared_one_by_one(tmp_path: Path) -> None:
    fp32 = table_file(tmp_path / "fp32.onnx", [[3, 4], [2, 0]], "vectors")
    other = table_file(tmp_path / "other.onnx", [[4, 3], [2, 0]], "vectors")
    result = compare(fp32, Path(other.location), samples_of(fp32, tmp_path, [0, 1], [1]), ANYTHING)
    assert (result.task, result.predictions, result.cosine_min) == ("embedding", 3, pytest.approx(0.96))
    assert (result.cosine_mean, result.max_rel_error) == (pytest.approx(2.96 / 3), 0.25)
    assert (result.kl, result.top1) == (None, None)


def test_a_file_that_gives_no_numbers_fails(tmp_path: Path) -> None:
    fp32 = table_file(tmp_path / "fp32.onnx", [[3, 4], [2, 0]], "vectors")
    other = table_file(tmp_path / "other.onnx", [[3, math.nan], [2, 0]], "vectors")
    samples = samples_of(fp32, tmp_path, [1], [0])
    with pytest.raises(VerificationError, match=r"other\.onnx gives NaN or infinity on sample 1 of ids\.npz"):
        compare(fp32, Path(other.location), samples, ANYTHING)
    with pytest.raises(UsageError, match="gives NaN or infinity on sample 1"):
        compare(other, Path(fp32.location), samples, ANYTHING)


def test_a_file_of_another_shape_fails(tmp_path: Path) -> None:
    fp32 = table_file(tmp_path / "fp32.onnx", [[3, 4], [2, 0]], "vectors")
    other = table_file(tmp_path / "other.onnx", [[3], [2]], "vectors")
    with pytest.raises(VerificationError, match="gives output vectors another shape than fp32"):
        compare(fp32, Path(other.location), samples_of(fp32, tmp_path, [1]), ANYTHING)


def test_samples_that_only_one_file_takes(tmp_path: Path) -> None:
    fp32 = table_file(tmp_path / "fp32.onnx", [[3, 4], [2, 0]], "vectors")
    shorter = table_file(tmp_path / "shorter.onnx", [[3, 4]], "vectors")
    samples = samples_of(fp32, tmp_path, [1])
    with pytest.raises(VerificationError, match=r"shorter\.onnx cannot be run on sample 0 \(.*out of"):
        compare(fp32, Path(shorter.location), samples, ANYTHING)
    with pytest.raises(UsageError, match=r"shorter\.onnx cannot be run on sample 0"):
        compare(shorter, Path(fp32.location), samples, ANYTHING)


def test_a_file_that_is_no_onnx_is_one_sentence(tmp_path: Path) -> None:
    fp32 = table_file(tmp_path / "fp32.onnx", [[3, 4], [2, 0]], "vectors")
    (tmp_path / "other.onnx").write_bytes(b"nonsense")
    with pytest.raises(ModelFileError, match="onnxruntime cannot load"):
        compare(fp32, tmp_path / "other.onnx", samples_of(fp32, tmp_path, [1]), ANYTHING)


# --- exported models -------------------------------------------------------------------------------------------


def test_a_file_agrees_with_itself(artifacts: dict[tuple[str, str], Artifact], tmp_path: Path) -> None:
    decoder = artifacts["gpt2", "fp32"]
    samples = gather(decoder, "random", tmp_path / "samples.npz", part="evaluation", count=2)
    result = compare(decoder, Path(decoder.location), samples, Limits(cosine=1 - 1e-9, top1=1, kl=0, perplexity=1))
    assert (result.cosine_mean, result.max_rel_error, result.kl, result.top1) == (pytest.approx(1), 0, 0, 1)
    assert result.perplexity == result.perplexity_fp32
    assert result.predictions == 15 + 63  # of 16 and of 64 tokens, the first has nothing before it
    assert result.beyond == ()


def test_int8_encoders_point_the_same_way(artifacts: dict[tuple[str, str], Artifact], tmp_path: Path) -> None:
    encoder = artifacts["bert", "fp32"]
    samples = gather(encoder, "random", tmp_path / "samples.npz", part="evaluation", count=6)
    result = compare(encoder, Path(artifacts["bert", "int8"].location), samples, ANYTHING)
    assert (result.task, result.samples, result.predictions) == ("embedding", 6, 6)
    assert 0.99 < result.cosine_min <= result.cosine_mean < 1
    assert 0 < result.max_rel_error < 0.1


def test_int8_classifiers_see_the_same_in_images(artifacts: dict[tuple[str, str], Artifact], tmp_path: Path) -> None:
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 256, (9, 9, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    classifier = artifacts["vit", "fp32"]
    samples = gather(classifier, str(tmp_path), tmp_path / "samples.npz", part="evaluation")
    result = compare(classifier, Path(artifacts["vit", "int8"].location), samples, ANYTHING)
    assert (result.task, result.samples, result.predictions) == ("classification", 3, 3)
    assert result.data == f"images in {tmp_path.name}, in 224 x 224"
    assert result.kl is not None
    assert 0 < result.kl < 0.01
    assert 0.99 < result.cosine_min < 1
    assert result.perplexity is None


# --- where nothing can be said ---------------------------------------------------------------------------------


def test_why_there_is_no_statement(artifacts: dict[tuple[str, str], Artifact], tmp_path: Path) -> None:
    encoder, vit = artifacts["bert", "fp32"], artifacts["vit", "fp32"]
    nothing = "structure verified; no accuracy statement: "
    assert why_not_evaluated(encoder) == nothing + "weights are random"
    trained = msgspec.structs.replace(encoder, weights=WeightsSource(kind="pretrained", origin="here"))
    assert why_not_evaluated(trained) == nothing + "there is no tokenizer.json beside the weights"
    (tmp_path / "tokenizer.json").write_text("{}")
    assert why_not_evaluated(trained, tmp_path) == ""
    seeing = msgspec.structs.replace(vit, weights=WeightsSource(kind="pretrained", origin="here"))
    assert why_not_evaluated(seeing) == nothing + "edgeprof ships no images"
    file = msgspec.structs.replace(encoder, weights=WeightsSource(kind="file"), variant=None)
    assert why_not_evaluated(file) == nothing + "edgeprof has no data for a file that it did not export"
