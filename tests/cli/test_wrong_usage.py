"""Whatever a user gets wrong: one sentence with the next step, the right exit code, no traceback."""

from pathlib import Path

import numpy as np
import pytest
from conftest import Command

USAGE, FAILED = 2, 1


def one_sentence(done: object, code: int, *parts: str) -> None:
    assert (done.code, len(done.sentences)) == (code, 1), done  # type: ignore[attr-defined]
    for part in parts:
        assert part in done.sentences[0]  # type: ignore[attr-defined]
    assert "Traceback" not in done.err  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["export", "gtp2"], ["no variant called 'gtp2'", "Did you mean gpt2"]),
        (["export", "./nowhere"], ["no folder ./nowhere"]),
        (["export"], ["Missing argument", "edgeprof export --help"]),
        (["export", "gpt2", "--precision", "int9"], ["Did you mean int8?"]),
        (["export", "gpt2", "--weights", "trained"], ["Did you mean pretrained?"]),
        (["export", "bert-tiny", "--logits", "last"], ["has no LM head"]),
        (["profile", "--seq", "512"], ["Nothing is exported", "edgeprof export gpt2"]),
        (["profile", "gpt2", "--seq", "512"], ["gpt2 is not exported yet", "edgeprof export gpt2"]),
        (["profile", "gtp2", "--seq", "512"], ["Did you mean gpt2"]),
        (["profile", "--seq", ""], ["--seq takes whole numbers above zero"]),
        (["profile", "--seq", "-5"], ["--seq takes whole numbers above zero, not '-5'"]),
        (["profile", "--seq", "0"], ["--seq takes whole numbers above zero, not '0'"]),
        (["profile", "--seq", "many"], ["--seq takes whole numbers above zero, not 'many'"]),
        (["profile", "--seq", "512..16"], ["no rising range"]),
        (["profile", "--seq", "8", "--ep", "cpuu"], ["Did you mean cpu?"]),
        (["profile", "--seq", "8", "--batch", "0"], ["--batch takes whole numbers above zero"]),
        (["profile", "--seq", "8", "--rounds", "0"], ["--rounds has to be at least 1"]),
        (["profile", "--seq", "8", "--dim", "batch"], ["--dim takes name=value"]),
        (["profile"], ["No token length is given"]),
        (["report"], ["no runs", "edgeprof profile"]),
        (["report", "nothing"], ["no run called 'nothing'"]),
        (["verify"], ["Nothing is exported", "edgeprof export gpt2"]),
        (["modles"], ["No such command"]),
    ],
)
def test_a_wrong_request_is_one_sentence(words: list[str], parts: list[str], edgeprof: Command) -> None:
    one_sentence(edgeprof(*words), USAGE, *parts)


def test_debugging_shows_where(edgeprof: Command) -> None:
    assert "Traceback" in edgeprof("export", "gtp2", EDGEPROF_DEBUG="1").err


def test_what_is_no_model_is_said_to_be_none(edgeprof: Command, models: Path, tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("This is not a model.")
    one_sentence(edgeprof("profile", "text.onnx", "--seq", "8"), FAILED, "text.onnx is not a readable ONNX file")
    source = models / "bert-tiny" / "fp32" / "model.onnx"
    (tmp_path / "cut.onnx").write_bytes(source.read_bytes()[:20_000])
    one_sentence(edgeprof("profile", "cut.onnx", "--seq", "8"), FAILED, "cut.onnx is not a readable ONNX file")
    (tmp_path / "model.onnx").write_bytes(source.read_bytes())
    one_sentence(edgeprof("profile", "model.onnx", "--seq", "8"), FAILED, "model.onnx.data, which is not beside it")
    (tmp_path / "model.onnx.data").write_bytes(b"too short")
    one_sentence(edgeprof("profile", "model.onnx", "--seq", "8"), FAILED, "is shorter than model.onnx says")
    one_sentence(edgeprof("profile", "gone.onnx", "--seq", "8"), FAILED, "no file gone.onnx")


def test_a_length_beyond_the_maximum_is_refused_before_anything_runs(
    edgeprof: Command, models: Path, tmp_path: Path
) -> None:
    """The decoder of the fixture takes 64 tokens: 64 at once, but in decode 63 cached and one new."""
    small, bert = (f"{models}/{name}" for name in ("gpt2-small", "bert-tiny"))
    done = edgeprof("profile", small, "--seq", "64,65", "--phase", "prefill")
    one_sentence(done, USAGE, "gpt2-small takes at most 64 tokens, and 65 tokens are asked for")
    done = edgeprof("profile", small, "--seq", "64", "--phase", "decode")
    one_sentence(done, USAGE, "64 cached and 1 new tokens are asked for")
    done = edgeprof("profile", bert, "--seq", "8", "--phase", "decode")
    one_sentence(done, USAGE, "none can decode")
    done = edgeprof("profile", bert, "--seq", "8", "--precision", "int4")
    one_sentence(done, USAGE, "bert-tiny is not exported in int4", "edgeprof export bert-tiny --precision int4")
    done = edgeprof("profile", f"{models}/vit-tiny", "--seq", "1")
    one_sentence(done, USAGE, "vit-tiny cannot take 1 tokens")
    assert not (tmp_path / "reports").exists()


def test_a_place_that_cannot_be_written_is_named(edgeprof: Command, models: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = edgeprof("export", "bert-tiny", "--out", "file/models")
    one_sentence(done, FAILED, "Cannot write file/models/bert-tiny/fp32")
    done = edgeprof("profile", f"{models}/bert-tiny", "--seq", "8", "--out", "file/reports")
    one_sentence(done, FAILED, "Cannot write file/reports")


def test_an_input_file_that_does_not_fit_is_named(edgeprof: Command, models: Path, tmp_path: Path) -> None:
    model = models / "bert-tiny" / "fp32" / "model.onnx"
    np.save(tmp_path / "ids.npy", np.ones((1, 8), np.float32))
    done = edgeprof("profile", model, "--seq", "8", "--input", "input_ids=ids.npy")
    one_sentence(done, USAGE, "ids.npy", "int64")
    done = edgeprof("profile", model, "--seq", "8", "--input", "ids=ids.npy")
    one_sentence(done, USAGE, "Did you mean input_ids?")
    done = edgeprof("profile", model, "--seq", "8", "--dim", "sequence=8")
    one_sentence(done, USAGE, "Did you mean sequence_length")
