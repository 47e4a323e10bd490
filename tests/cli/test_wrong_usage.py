"""Whatever is wrong: one sentence with the next step on standard error, nothing on standard output, no traceback."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import Command

USAGE = [
    ("export bert-tinny", "Did you mean bert-tiny"),
    ("export", "edgeprof export --help"),
    ("export bert-tiny --precision int9", "Did you mean int8"),
    ("export bert-tiny --precision fp32,", "--precision is empty, or has an empty part"),
    ("export bert-tiny --weights trained", "--weights cannot be 'trained'. Choose one of auto, pretrained, random."),
    ("export bert-tiny --logits last", "--logits last is for decoders"),
    ("export bert-tiny --logits some", "Choose one of all, last."),
    ("export bert-tiny --opset 17", "greater than or equal to 18"),
    ("export bert-tiny --name a/b", "'a/b' cannot name an artifact. Give --name"),
    ("export bert-tiny vit-tiny --name x", "--name goes with one target"),
    ("export ./nowhere", "There is no folder ./nowhere"),
    ("profile MODELS/bert-tiny --seq=", "--seq takes whole numbers above zero, not ''"),
    ("profile MODELS/bert-tiny --seq -5", "not '-5'"),
    ("profile MODELS/bert-tiny --seq 0", "not '0'"),
    ("profile MODELS/bert-tiny --seq many", "not 'many'"),
    ("profile MODELS/bert-tiny --seq 16,,64", "Example: --seq 16,64,256"),
    ("profile MODELS/bert-tiny --seq 1.5", "not '1.5'"),
    ("profile MODELS/bert-tiny --seq 64..16", "no rising range"),
    ("profile MODELS/bert-tiny --seq 16..64x1", "no rising range"),
    ("profile MODELS/bert-tiny", "No token length is given. Add --seq 512"),
    ("profile MODELS/bert-tiny --seq 513", "at most 512 tokens"),
    ("profile MODELS/vit-tiny --seq 1", "Ask for a larger --seq"),
    ("profile MODELS/bert-tiny --seq 16 --precision int4", "Run: edgeprof export bert-tiny --precision int4"),
    ("profile MODELS/bert-tiny --seq 16 --ep cuba", "no execution provider called 'cuba'"),
    ("profile MODELS/bert-tiny --seq 16 --phase train", "Choose one of prefill, decode, both."),
    ("profile MODELS/bert-tiny --seq 16 --batch 0", "--batch takes whole numbers above zero"),
    ("profile MODELS/bert-tiny --seq 16 --rounds 0", "--rounds has to be at least 1"),
    ("profile MODELS/bert-tiny --seq 16 --threads 0", "Invalid value for '--threads'"),
    ("profile MODELS/bert-tiny --seq 16 --timeout x", "Invalid value for '--timeout'"),
    ("profile MODELS/bert-tiny --seq 16 --dim a", "--dim takes name=value"),
    ("profile MODELS/bert-tiny --seq 16 --name a/b", "cannot name a run"),
    ("profile --seq 16", "Nothing is exported in models yet. Run: edgeprof export gpt2"),
    ("profile gpt2 --seq 16", "gpt2 is not exported yet. Run: edgeprof export gpt2"),
    ("profile --sec 16", "No such option: --sec"),
    ("verify", "Nothing is exported in models yet. Run: edgeprof export gpt2"),
    ("verify gtp2", "Did you mean gpt2"),
    ("report", "There are no runs in reports yet. Run: edgeprof profile --seq 512"),
    ("report nowhere", "There is no run called 'nowhere'"),
    ("models --jsn", "No such option"),
    ("modles", "No such command 'modles'"),
]


@pytest.mark.parametrize(("words", "sentence"), USAGE, ids=[words for words, _ in USAGE])
def test_a_wrong_request_exits_with_2(
    words: str, sentence: str, models: Path, edgeprof: Command, tmp_path: Path
) -> None:
    ran = edgeprof(*words.replace("MODELS", str(models)).split())
    assert ran.code == 2
    assert ran.out == ""
    (said,) = ran.sentences
    assert said.startswith("edgeprof: ")
    assert sentence in said
    assert list(tmp_path.iterdir()) == []


def cut(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no such file": (lambda file: file.unlink(), "There is no file"),
    "not an ONNX file": (lambda file: file.write_bytes(b"GIF89a"), "is not a readable ONNX file"),
    "truncated": (lambda file: cut(file, 3000), "It may be truncated"),
    "no external data": (lambda file: file.with_name("model.onnx.data").unlink(), "not beside it. Copy both files"),
    "truncated external data": (lambda file: cut(file.with_name("model.onnx.data"), 99_000), "It was cut off"),
}


@pytest.mark.parametrize(("damage", "sentence"), DAMAGES.values(), ids=DAMAGES)
def test_a_file_that_cannot_be_used_exits_with_1(
    damage: Callable[[Path], object], sentence: str, models: Path, edgeprof: Command, tmp_path: Path
) -> None:
    file = Path(shutil.copytree(models / "bert-tiny" / "fp32", tmp_path / "foreign")) / "model.onnx"
    damage(file)
    ran = edgeprof("profile", file, "--seq", 16)
    assert (ran.code, ran.out) == (1, "")
    (said,) = ran.sentences
    assert sentence in said
    assert not (tmp_path / "reports").exists()


def test_inputs_that_do_not_fit_exit_with_2(models: Path, edgeprof: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.zeros((1, 9), np.float32))
    for value, sentence in (
        ("nothing=ids.npy", "no model input called 'nothing'"),
        ("input_ids=nowhere.npy", "Cannot read nowhere.npy"),
        ("input_ids=ids.npy", "takes int64"),
        ("input_ids", "--input takes name=value"),
    ):
        ran = edgeprof("profile", models / "bert-tiny/fp32/model.onnx", "--seq", 9, "--input", value)
        assert (ran.code, ran.out, len(ran.sentences)) == (2, "", 1), ran
        assert sentence in ran.err


@pytest.mark.parametrize("words", ["export bert-tiny", "profile MODELS/bert-tiny --seq 4"])
def test_a_folder_that_cannot_be_written_exits_with_1(
    words: str, models: Path, edgeprof: Command, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    ran = edgeprof(*words.replace("MODELS", str(models)).split(), "--out", tmp_path / "file" / "folder")
    assert (ran.code, ran.out) == (1, "")
    (said,) = ran.sentences
    assert f"Cannot write {tmp_path / 'file'}" in said
    assert "a part of the path is a file" in said
    assert "--out" in said


def test_the_traceback_is_there_for_those_who_ask(edgeprof: Command) -> None:
    ran = edgeprof("report", EDGEPROF_DEBUG="1")
    assert ran.code == 1
    assert "Traceback" in ran.err
    assert "UsageError: There are no runs" in ran.err
