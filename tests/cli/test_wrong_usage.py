"""Whatever is wrong: one sentence with the next step on standard error, nothing on standard output, no traceback."""

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import Command

NINES = "9" * 5000

USAGE = [
    ("export bert-tinny", "Did you mean bert-tiny"),
    ("export", "edgeprof export --help"),
    ("export bert-tiny --precision int9", "Did you mean int8"),
    ("export bert-tiny --precision fp32,", "--precision is empty, or has an empty part"),
    ("export bert-tiny --weights trained", "--weights cannot be 'trained'. Choose one of auto, pretrained, random."),
    ("export bert-tiny --logits last", "--logits last is for decoders"),
    ("export bert-tiny --logits some", "Choose one of all, last."),
    ("export bert-tiny --opset 17", "operator sets 18 to 25, not to 17. Example: --opset 24"),
    ("export bert-tiny --opset 99", "operator sets 18 to 25, not to 99. Example: --opset 24"),
    ("export bert-tiny --name a/b", "'a/b' cannot name an artifact. Give --name"),
    ("export bert-tiny --name ''", "'' cannot name an artifact. Give --name"),
    ("export bert-tiny --name ..", "'..' cannot name an artifact. Give --name"),
    (f"export bert-tiny --name {'x' * 300}", "it has 300 characters. Give --name 100 characters at most."),
    ("export bert-tiny vit-tiny --name x", "--name is for a single target"),
    ("export bert-tiny --calibration none.txt", "There is no file or folder none.txt. Check the path"),
    ("export bert-tiny --calibration MODELS", "holds no images. edgeprof reads .bmp"),
    ("export bert-tiny --samples 0", "Invalid value for '--samples'"),
    ("export bert-tiny --static", "Static graphs need token lengths. Add --seq 128,256."),
    ("export bert-tiny --seq 16", "add --static"),
    ("export bert-tiny --static --seq 16 --batch 1..", "not '1..'. Example: --batch 1,4"),
    ("export mixer-dense --width 0", "Invalid value for '--width'"),
    ("export ./nowhere", "There is no folder ./nowhere"),
    (
        "quantize MODELS/bert-tiny --recipe ,",
        "--recipe is empty, or has an empty part: ','. Example: --recipe int8,int4",
    ),
    ("quantize MODELS/bert-tiny --calibration MODELS", "holds no images"),
    ("quantize MODELS/bert-tiny --recipe int4 --block-size 17", "Block size 17"),
    ("profile MODELS/bert-tiny --seq=", "--seq takes whole numbers above zero up to 1,000,000,000, not ''"),
    ("profile MODELS/bert-tiny --seq -5", "not '-5'"),
    ("profile MODELS/bert-tiny --seq 0", "not '0'"),
    ("profile MODELS/bert-tiny --seq many", "not 'many'"),
    ("profile MODELS/bert-tiny --seq 16,,64", "Example: --seq 16,64,256"),
    ("profile MODELS/bert-tiny --seq 1.5", "not '1.5'"),
    (
        "profile MODELS/bert-tiny --seq 1..",
        "--seq takes ranges such as 16..512 or 16..512x2, not '1..'. Example: --seq 16",
    ),
    ("profile MODELS/bert-tiny --seq ..16", "not '..16'"),
    ("profile MODELS/bert-tiny --seq 1..8x", "not '1..8x'"),
    ("profile MODELS/bert-tiny --seq 64..16", "is not an increasing range"),
    ("profile MODELS/bert-tiny --seq 16..64x1", "is not an increasing range"),
    ("profile MODELS/bert-tiny --seq 2000000000", "not '2000000000'"),
    (f"profile MODELS/bert-tiny --seq {NINES}", "not '99999999999999999999... (5,000 characters)'"),
    (f"profile MODELS/bert-tiny --seq 1..{NINES}", "not '99999999999999999999... (5,000 characters)'"),
    ("profile MODELS/bert-tiny", "A token length is required. Add --seq 512"),
    ("profile MODELS/bert-tiny --seq 513", "at most 512 tokens"),
    ("profile MODELS/vit-tiny --seq 1", "Use a larger --seq"),
    ("profile MODELS/bert-tiny --seq 16 --precision int4", "Run: edgeprof export bert-tiny --precision int4"),
    ("profile MODELS/bert-tiny --seq 16 --ep cuba", "no execution provider called 'cuba'"),
    ("profile MODELS/bert-tiny --seq 16 --ep ''", "--ep is empty, or has an empty part: ''. Example: --ep cpu,webgpu"),
    ("profile MODELS/bert-tiny --seq 16 --on ''", "--on is empty, or has an empty part: ''. Example: --on pi5,local"),
    ("probe --on pi5,", "--on is empty, or has an empty part: 'pi5,'. Example: --on pi5"),
    ("profile MODELS/bert-tiny --seq 16 --ep-option x", "--ep-option takes name=value, not 'x'. Example: --ep-option"),
    (
        "profile MODELS/bert-tiny --seq 16 --ep-library x",
        "--ep-library takes name=value, not 'x'. Example: --ep-library",
    ),
    ("profile MODELS/bert-tiny --seq 16 --phase train", "Choose one of prefill, decode, both."),
    ("profile MODELS/bert-tiny --seq 16 --batch 0", "--batch takes whole numbers above zero"),
    ("profile MODELS/bert-tiny --seq 16 --batch -1", "not '-1'. Example: --batch 1,4"),
    (f"profile MODELS/bert-tiny --seq 16 --batch {NINES}", "(5,000 characters)'. Example: --batch 1,4"),
    ("profile MODELS/bert-tiny --seq 16 --rounds 0", "--rounds must be 1 to 1,000,000,000. Example: --rounds 3"),
    (f"profile MODELS/bert-tiny --seq 16 --rounds {'9' * 400}", "--rounds must be 1 to 1,000,000,000."),
    (f"profile MODELS/bert-tiny --seq 16 --rounds {NINES}", "Invalid value for '--rounds'"),
    ("profile MODELS/bert-tiny --seq 16 --runs -1", "--runs must be 1 to 1,000,000,000. Example: --runs 3"),
    ("profile MODELS/bert-tiny --seq 16 --threads 0", "Invalid value for '--threads'"),
    ("profile MODELS/bert-tiny --seq 16 --threads 100000", "Invalid value for '--threads'"),
    ("profile MODELS/bert-tiny --seq 16 --timeout x", "Invalid value for '--timeout'"),
    ("profile MODELS/bert-tiny --seq 16 --timeout inf", "1 to 1,000,000 seconds, not inf. Example: --timeout 60"),
    ("profile MODELS/bert-tiny --seq 16 --timeout nan", "--timeout must be 1 to 1,000,000 seconds, not nan."),
    ("profile MODELS/bert-tiny --seq 16 --timeout -3", "not -3."),
    ("profile MODELS/bert-tiny --seq 16 --timeout 1e300", "not 1e+300."),
    ("profile MODELS/bert-tiny --seq 16 --min-time nan", "--min-time must be 0 to 1,000,000 seconds, not nan."),
    ("profile MODELS/bert-tiny --seq 16 --min-time inf", "not inf. Example: --min-time 60"),
    ("profile MODELS/bert-tiny --seq 16 --min-time -1", "not -1."),
    ("profile MODELS/bert-tiny --seq 16 --require-placement 101%", "a share of 0 to 100 %, not '101%'"),
    ("profile MODELS/bert-tiny --seq 16 --require-placement nan", "not 'nan'. Example: --require-placement 100%"),
    ("profile MODELS/bert-tiny --seq 16 --dim a", "--dim takes name=value"),
    ("profile MODELS/bert-tiny --seq 16 --dim a=-1", "not '-1'. Example: --dim sequence_length=512"),
    (f"profile MODELS/bert-tiny --seq 16 --dim a={NINES}", "(5,000 characters)'. Example: --dim sequence_length=512"),
    ("profile MODELS/bert-tiny --seq 16 --dim a=1 --dim a=2", "--dim has two values for a"),
    ("profile MODELS/bert-tiny --seq 16 --dim a=1", "bert-tiny is sized by --seq and --batch"),
    (
        "profile MODELS/bert-tiny --seq 16 --input x",
        "--input takes name=value, not 'x'. Example: --input input_ids=ids.npy",
    ),
    ("profile MODELS/bert-tiny --seq 16 --name a/b", "cannot name a run"),
    ("profile MODELS/bert-tiny --seq 16 --name ''", "'' cannot name a run. Give --name letters"),
    ("profile MODELS/bert-tiny --seq 16 --name ..", "'..' cannot name a run."),
    (f"profile MODELS/bert-tiny --seq 16 --name {'x' * 300}", "it has 300 characters. Give --name 100 characters"),
    ("profile --seq 16", "Nothing is exported in models yet. Run: edgeprof export gpt2"),
    ("profile gpt2 --seq 16", "gpt2 is not exported yet. Run: edgeprof export gpt2"),
    ("profile --sec 16", "No such option: --sec"),
    ("explain bert-tiny --seq 0", "Example: --seq 16,64,256"),
    ("explain bert-tiny --batch 0", "--batch"),
    ("explain bert-tiny --dim a=3", "bert-tiny is sized by --seq and --batch"),
    ("explain bert-tiny --precision int9", "Did you mean int8"),
    ("why MODELS/bert-tiny/fp32 MODELS/bert-tiny/fp32", "A and B are the same"),
    ("why MODELS/bert-tiny/fp32 MODELS/bert-tiny/int8 --name ''", "'' cannot name a run."),
    ("why MODELS/bert-tiny/fp32 MODELS/bert-tiny/int8 --timeout inf", "Example: --timeout 60"),
    ("buckets MODELS/bert-tiny/fp32 --lengths none", "There is no file none. Pass a file"),
    ("buckets MODELS/bert-tiny/fp32 --lengths 0", "'0' is not a token length (place 1 of --lengths)."),
    (f"buckets MODELS/bert-tiny/fp32 --lengths {NINES}", "(5,000 characters)' is not a token length"),
    ("buckets MODELS/bert-tiny/fp32 --lengths /", "/ cannot be read: it is a folder"),
    ("verify", "Nothing is exported in models yet. Run: edgeprof export gpt2"),
    ("verify gtp2", "Did you mean gpt2"),
    ("report", "There are no runs in reports yet. Run: edgeprof profile --seq 512"),
    ("report nowhere", "There is no run called 'nowhere'"),
    ("claims nowhere", "There is no run called 'nowhere'"),
    ("models --jsn", "No such option"),
    ("modles", "No such command 'modles'"),
    ("profile MODELS/bert-tiny --seq 4 --max-time 0 --ci 1%", "--rounds visits, whatever the interval. Omit --ci"),
    ("compare MODELS/bert-tiny:fp32 MODELS/bert-tiny:int8 --max-time 0 --ci 1%", "Omit --ci, or --max-time"),
]


@pytest.mark.parametrize(("words", "sentence"), USAGE, ids=[words[:70] for words, _ in USAGE])
def test_a_wrong_request_exits_with_2(words: str, sentence: str, models: Path, here: Command) -> None:
    ran = here(*shlex.split(words.replace("MODELS", str(models))))
    assert ran.code == 2, ran
    assert ran.out == ""
    (message,) = ran.sentences
    assert message.startswith("edgeprof: ")
    assert sentence in message
    assert len(message) < 600
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    "words", ["explain {}", "profile {}", "report {}", "verify {}", "export {}", "quantize {}.onnx"]
)
def test_a_name_that_is_too_long_for_a_file_is_one_sentence(words: str, here: Command) -> None:
    ran = here(*words.format("x" * 3000).split())
    assert (ran.code in (1, 2), ran.out) == (True, "")
    (message,) = ran.sentences
    assert "does not know" not in message
    assert len(message) < 600
    assert list(Path().iterdir()) == []


def cut(file: Path, size: int) -> None:
    file.write_bytes(file.read_bytes()[:size])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no such file": (lambda file: file.unlink(), "There is no file"),
    "a pipe": (lambda file: (file.unlink(), os.mkfifo(file)), "it is a pipe or a device, not a file"),
    "a folder": (lambda file: (file.unlink(), file.mkdir()), "a directory"),
    "not an ONNX file": (
        lambda file: file.write_bytes(b"GIF89a"),
        "is not a readable ONNX file. Name an exported model",
    ),
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
    (message,) = ran.sentences
    assert sentence in message
    assert not (tmp_path / "reports").exists()


def test_inputs_that_do_not_fit_exit_with_2(models: Path, edgeprof: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.zeros((1, 9), np.float32))
    os.mkfifo(tmp_path / "pipe.npy")
    for value, sentence in (
        ("nothing=ids.npy", "no model input called 'nothing'"),
        ("input_ids=nowhere.npy", "nowhere.npy cannot be read: there is no such file"),
        ("input_ids=pipe.npy", "pipe.npy cannot be read: it is a pipe or a device, not a file"),
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
    (message,) = ran.sentences
    assert f"Cannot write {tmp_path / 'file'}" in message
    assert "a part of the path is a file" in message
    assert "--out" in message


def test_the_traceback_is_there_for_those_who_ask(edgeprof: Command) -> None:
    ran = edgeprof("report", EDGEPROF_DEBUG="1")
    assert ran.code == 1
    assert "Traceback" in ran.err
    assert "UsageError: There are no runs" in ran.err
