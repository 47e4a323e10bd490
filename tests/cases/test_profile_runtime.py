"""`profile` of files that onnxruntime cannot run, and of those whose inputs and outputs are no plain tensors."""

from pathlib import Path

import numpy as np
import pytest

from edgeprof import profile
from edgeprof.errors import ModelFileError

QUICK = {"rounds": 1, "max_time_s": 0, "runs": 1, "min_time_s": 0.0}


def test_a_file_without_a_kernel_costs_its_own_point(cases: Path, tmp_path: Path) -> None:
    files = [str(cases / "nokernel2.onnx"), str(cases / "gn21.onnx")]
    points = {point.subject.model: point for point in profile(files, out=tmp_path, **QUICK).points}
    assert points["gn21"].status == "ok"
    assert points["nokernel2"].status == "failed"
    assert "the CPU provider cannot compute Conv of bfloat16" in points["nokernel2"].error


@pytest.mark.parametrize("given", [None, "words", "numbers"])
def test_an_operator_of_a_library_is_named_whatever_is_given(given: str | None, cases: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "words.npy", np.array(["a"]))
    np.save(tmp_path / "numbers.npy", np.array([1]))
    inputs = {"text": tmp_path / f"{given}.npy"} if given else {}
    with pytest.raises(ModelFileError, match=r"SentencepieceTokenizer of ai\.onnx\.contrib"):
        profile([str(cases / "customop.onnx")], input=inputs, out=tmp_path, **QUICK)


def test_strings_maps_and_small_types_are_measured(cases: Path, tmp_path: Path) -> None:
    names = ["string_input", "zipmap", "bf16_input", "fp8_input", "int4_input"]
    run = profile([str(cases / f"{name}.onnx") for name in names], out=tmp_path, **QUICK)
    assert {point.subject.model: (point.status, point.error) for point in run.points} == dict.fromkeys(
        names, ("ok", "")
    )


@pytest.mark.parametrize("name", ["string_in", "seq_out"])
def test_words_and_sequences_are_measured_at_a_length(name: str, cases: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "words.npy", np.array([["a"] * 16]))
    given = {"text": tmp_path / "words.npy"} if name == "string_in" else {}
    (point,) = profile([str(cases / f"{name}.onnx")], seq=[16], input=given, out=tmp_path, **QUICK).points
    assert (point.status, point.load.tokens) == ("ok", 16)
