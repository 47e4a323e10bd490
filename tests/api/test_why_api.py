"""`why`: two files measured in turn, or read from a run that has both."""

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edgeprof import load_run, profile, why
from edgeprof.errors import ModelFileError, RunError, UnknownName, UsageError
from edgeprof.measure import matmul_speed
from edgeprof.schema import Why

QUICK: dict[str, Any] = {"rounds": 2, "max_time_s": 0, "runs": 2, "min_time_s": 0.0, "threads": 1}


@pytest.fixture(scope="module", autouse=True)
def _small_products() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matmul_speed, "WIDTH", 64)
        patch.setattr(matmul_speed, "ROUNDS", 1)
        yield


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports")


@pytest.fixture(scope="module")
def compared(models: Path, out: Path) -> Why:
    (result,) = why("gpt2-small:fp32", "gpt2-small:int8", seq=[4, 20], models=models, out=out, **QUICK)
    return result


def test_both_phases_are_compared_at_each_length(compared: Why) -> None:
    assert [(place.phase, place.length) for place in compared.places] == [
        ("prefill", 4),
        ("prefill", 20),
        ("decode", 4),
        ("decode", 20),
    ]
    assert [verdict.partition(":")[0] for verdict in compared.verdicts] == ["Prefill", "Decode"]
    for place in compared.places:
        assert place.speed == pytest.approx(place.a_s / place.b_s)
        assert {"matmul", "attention", "data movement"} <= {one.name for one in place.classes}
    assert any(line.startswith("Measured: one product with 64 x 64 weights") for line in compared.machine)


def test_quantized_weights_are_reported_from_graph_and_receipt(compared: Why) -> None:
    """2 blocks of 4 matmuls, and the LM head."""
    assert "Decode of 20 cached tokens: none of the 9 weight matmuls of int8 multiplies in fp32." in compared.findings
    assert compared.findings[-1].startswith("The export of gpt2-small to int8 quantized 9 of 9 weight matmuls")


def test_a_and_b_take_turns(compared: Why, out: Path) -> None:
    """Shuffled within a round: neither is done before the other begins."""
    run = load_run("why-gpt2-small-fp32-int8", out=out)
    assert [record.round for record in run.measurements] == [0] * 8 + [1] * 8
    precisions = [record.subject.precision.recipe for record in run.measurements]
    assert sum(one != other for one, other in pairwise(precisions)) >= 4


def test_the_same_question_takes_the_run_up_and_measures_nothing(compared: Why, models: Path, out: Path) -> None:
    folder = out / "why-gpt2-small-fp32-int8"
    before = {file.name: file.read_bytes() for file in folder.glob("*.jsonl")}
    again = why("gpt2-small:fp32", "gpt2-small:int8", seq=[4, 20], models=models, out=out, **QUICK)
    assert again == [compared]
    assert {file.name: file.read_bytes() for file in folder.glob("*.jsonl")} == before
    assert sorted(before) == ["kernels.jsonl", "measurements.jsonl", "operators.jsonl"]


def test_a_run_that_has_both_is_enough(compared: Why, out: Path, tmp_path: Path) -> None:
    run = "why-gpt2-small-fp32-int8"
    nowhere = tmp_path / "no models"
    assert why("gpt2-small:fp32", "gpt2-small:int8", run=run, models=nowhere, out=out) == [compared]
    (turned,) = why("gpt2-small:int8", "gpt2-small:fp32", run=out / run)
    assert turned.places[0].speed == pytest.approx(1 / compared.places[0].speed)
    with pytest.raises(UnknownName, match=r"no model in this run called 'gpt2:fp32'\. Did you mean gpt2-small:fp32"):
        why("gpt2:fp32", "gpt2-small:int8", run=run, out=out)
    with pytest.raises(UsageError, match=r"has gpt2-small in several precisions\. Name one of them: gpt2-small:fp32"):
        why("gpt2-small", "gpt2-small:int8", run=run, out=out)


def test_two_files_of_one_name_are_two_sides(models: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(models / "bert-tiny/fp32", tmp_path / "other"))
    files = (models / "bert-tiny/fp32/model.onnx", other / "model.onnx")
    (result,) = why(*map(str, files), seq=[4], models=models, out=tmp_path, **{**QUICK, "rounds": 1})
    assert [(side.model, str(side.precision)) for side in (result.a, result.b)] == [
        ("bert-tiny", "fp32"),
        ("other", "fp32"),
    ]
    assert [(place.phase, place.length) for place in result.places] == [("prefill", 4)]


def test_lengths_are_those_that_both_take(models: Path, out: Path, tmp_path: Path) -> None:
    """gpt2-small takes 64 tokens: to decode after 64 cached ones would be a 65th."""
    same: dict[str, Any] = {"models": models, "out": tmp_path, **QUICK, "rounds": 1}
    (result,) = why(str(models / "gpt2-small/fp32"), str(models / "gpt2-small/int8"), **same)
    assert {place.length for place in result.places} == {16}
    (prefill,) = why("gpt2-small:fp32", "gpt2-small:int8", phase="prefill", **same)
    assert [(place.phase, place.length) for place in prefill.places][:2] == [("prefill", 16), ("prefill", 64)]


@pytest.mark.parametrize(
    ("a", "b", "kind", "message"),
    [
        ("bert-tiny", "bert-tiny:int8", UsageError, r"several times\. Name one: bert-tiny:fp32, bert-tiny:int8"),
        ("bert-tiny:fp32", "bert-tiny:fp32", UsageError, r"A and B are the same"),
        ("bert-tiny:fp32", "bert-tiny:int4", UsageError, r"not exported in int4"),
        ("bert-tiny:fp32", "bert-tiny:int3", UnknownName, r"no precision called 'int3'\. Did you mean int8, int4"),
        ("bert-tinny:fp32", "bert-tiny:int8", UnknownName, r"Did you mean bert-tiny"),
        ("bert-tiny:fp32", "nowhere.onnx", ModelFileError, r"There is no file nowhere\.onnx"),
    ],
)
def test_a_request_that_cannot_be_met(a: str, b: str, kind: Any, message: str, models: Path, tmp_path: Path) -> None:
    with pytest.raises(kind, match=message):
        why(a, b, seq=[4], models=models, out=tmp_path / "reports")
    assert not (tmp_path / "reports").exists()


def test_two_models_without_a_common_length(models: Path, tmp_path: Path) -> None:
    run = profile(["bert-tiny"], seq=[4], precision=["fp32"], name="mixed", models=models, out=tmp_path, **QUICK)
    profile(["bert-tiny"], seq=[8], precision=["int8"], name="mixed", models=models, out=tmp_path, **QUICK)
    with pytest.raises(
        RunError, match=r"both were measured\. Tokens: bert-tiny fp32 at 4 and bert-tiny int8 at 8\. Use"
    ):
        why("bert-tiny:fp32", "bert-tiny:int8", run=run.folder)


def test_a_cache_that_is_copied_is_measured_against_one_that_is_not(
    models: Path, portable_models: Path, tmp_path: Path
) -> None:
    """A step after 24 tokens copies keys and values of 2 layers, 128 numbers of 4 bytes each."""
    files = [str(models / "gpt2-small/fp32"), str(portable_models / "gpt2-small-portable/fp32")]
    run = profile(files, seq=[4, 8, 16, 24], phase="decode", out=tmp_path, name="pair", **{**QUICK, "rounds": 1})
    (result,) = why("gpt2-small", "gpt2-small-portable", run=run.folder)
    fused, portable = result.findings[-2:]
    assert fused.startswith("gpt2-small fp32, decode: each cached token adds ")
    assert "copies" not in fused
    assert "Its cache grows: a step at 24 tokens copies 49.2 kB" in portable  # 24 * 2 * 2 * 128 * 4
    assert "gpt2-small, " in portable.partition("copies")[2]  # with its cost, or that none is shown
