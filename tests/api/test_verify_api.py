"""`verify`: a file is held against what PyTorch gave, again, anywhere."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgeprof import verify
from edgeprof.errors import RunError, UnknownName, UsageError, VerificationError


def test_everything_exported_is_checked(models: Path) -> None:
    checked = verify(models=models)
    assert [(one.name, str(one.precision)) for one in checked] == [
        (name, precision) for name in ("bert-tiny", "gpt2-small", "vit-tiny") for precision in ("fp32", "int8")
    ]
    assert all(one.checks for one in checked)


def test_by_name_and_by_folder(models: Path) -> None:
    assert len(verify(["bert-tiny"], models=models)) == 2
    assert len(verify([str(models / "bert-tiny" / "int8")])) == 1
    assert len(verify(["bert-tiny/int8", "bert-tiny"], models=models)) == 2


def test_a_file_from_elsewhere_is_held_against_itself(models: Path, tmp_path: Path) -> None:
    """A copy without a record is one; the graph as it stands computes what the optimized one does."""
    for name in ("model.onnx", "model.onnx.data"):
        shutil.copy(models / "bert-tiny" / "fp32" / name, tmp_path / name)
    (checked,) = verify([str(tmp_path / "model.onnx")], seq=[7, 12], batch=[3])
    assert [(check.case.batch, check.case.tokens) for check in checked.checks] == [(3, 7), (3, 12)]
    assert {check.against for check in checked.checks} == {"itself without onnxruntime's optimizations"}
    assert max(check.max_abs_error for check in checked.checks) < 1e-4


def test_an_exported_model_is_verified_at_other_sizes_too(models: Path) -> None:
    (checked,) = verify(["gpt2-small/fp32"], seq=[9], models=models)
    assert [(check.case.tokens, check.against[:6]) for check in checked.checks] == [(9, "itself")]
    with pytest.raises(UsageError, match="is sized by --seq and --batch"):
        verify(["gpt2-small/fp32"], dim={"sequence_length": 9}, models=models)


@pytest.mark.parametrize("file", ["model.onnx", "model.onnx.data"])
def test_a_changed_byte_is_noticed(file: str, models: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(models / "bert-tiny" / "fp32", tmp_path / "fp32"))
    with (folder / file).open("r+b") as opened:
        opened.seek(-1, 2)
        last = opened.read(1)
        opened.seek(-1, 2)
        opened.write(bytes([last[0] ^ 1]))
    with pytest.raises(VerificationError, match=rf"{file} is not the file that was exported"):
        verify([str(folder)])


def test_damaged_records_are_one_sentence(models: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(models / "bert-tiny" / "fp32", tmp_path / "fp32"))
    (folder / "artifact.json").write_text("{}")
    with pytest.raises(RunError, match=r"does not hold a valid Artifact record"):
        verify([str(folder)])


def test_what_is_not_exported_is_named(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gpt2 is not exported yet"):
        verify(["gpt2"], models=models)
    with pytest.raises(UnknownName, match="Did you mean"):
        verify(["bert-tinny"], models=models)
    with pytest.raises(UsageError, match="Nothing is exported"):
        verify(models=tmp_path)


def test_padding_on_the_left_is_refused_where_it_would_agree_with_itself(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "gpt2-small" / "fp32", tmp_path / "model")
    (tmp_path / "model" / "artifact.json").unlink()  # a file from elsewhere
    np.save(tmp_path / "mask.npy", np.array([[0, 0, 1, 1]]))
    with pytest.raises(UsageError, match="'attention_mask' pads on the left"):
        verify([str(tmp_path / "model" / "model.onnx")], seq=[4], input={"attention_mask": tmp_path / "mask.npy"})
