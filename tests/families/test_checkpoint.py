"""Checkpoint folders are read without torch, without running their code, and refused with the reason."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import small

from edgeprof.errors import CheckpointError
from edgeprof.families import checkpoint


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed: copy it."""
    return small.checkpoint(tmp_path_factory.mktemp("checkpoints") / "bert", "bert", "base")


@pytest.fixture
def folder(bert: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bert, tmp_path / "bert"))


def configure(folder: Path, **changes: Any) -> None:
    """Change config.json; None removes a key."""
    file = folder / "config.json"
    config = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


@pytest.mark.parametrize(("family", "task"), small.EVERY_TASK)
def test_family_and_task_are_told_from_config_and_weights(family: str, task: str, tmp_path: Path) -> None:
    variant, where = checkpoint.read(small.checkpoint(tmp_path / "made", family, task), "mine")
    assert (variant.name, variant.family, variant.task) == ("mine", family, task)
    assert where == tmp_path / "made"
    assert variant.max_tokens == {"gpt2": 32, "bert": 80, "vit": None}[family]


def test_a_config_without_architectures_is_bare(folder: Path) -> None:
    configure(folder, architectures=None)
    assert checkpoint.read(folder, "mine")[0].task == "base"


def test_settings_that_a_config_leaves_out_have_their_defaults(folder: Path) -> None:
    configure(folder, max_position_embeddings=None)
    assert checkpoint.read(folder, "mine")[0].max_tokens == 512


def test_sharded_weights_are_all_found(tmp_path: Path) -> None:
    folder = small.checkpoint(tmp_path / "made", "bert", "base", shard="20KB")
    files = checkpoint.weight_files(folder)
    assert len(files) > 2
    assert "pooler.dense.weight" in checkpoint.tensor_names(folder)
    files[1].unlink()
    with pytest.raises(CheckpointError, match=rf"lacks {files[1].name}, which its index names"):
        checkpoint.read(folder, "mine")


def test_an_index_that_names_nothing_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.safetensors.index.json")
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"index\.json names no weight files"):
        checkpoint.read(folder, "mine")


@pytest.mark.parametrize("path", ["", "0_Transformer"])
def test_a_sentence_transformers_folder_says_where_its_encoder_lies(path: str, folder: Path) -> None:
    outer = folder if not path else folder.parent / "outer"
    if path:
        outer.mkdir()
        folder.rename(outer / path)
    modules = [{"idx": 0, "name": "0", "path": path, "type": "sentence_transformers.models.Transformer"}]
    (outer / "modules.json").write_text(json.dumps(modules))
    variant, where = checkpoint.read(outer, "mine")
    assert (variant.family, where) == ("bert", outer / path)


# --- refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "llama"}, r"is of model type 'llama'\. edgeprof exports: gpt2, bert, vit"),
        ({"model_type": None}, r"is of model type 'unknown'"),
        ({"architectures": ["BertForNextSentencePrediction"]}, r"BertForNextSentencePrediction.*Known: BertModel, "),
    ],
)
def test_what_edgeprof_does_not_export_is_named(changes: dict[str, Any], message: str, folder: Path) -> None:
    configure(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.read(folder, "mine")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, r"holds no config\.json"),
        ("config.json", b"{", r"config\.json is not valid JSON"),
        ("config.json", b"[]", r"config\.json is not a JSON object"),
        ("config.json", b"\xff\xfe", r"config\.json is not valid JSON"),
        ("modules.json", b"[]", r"modules\.json does not say where"),
        ("modules.json", b'{"path": 1}', r"modules\.json does not say where"),
        ("model.safetensors", None, r"holds no weights"),
        ("model.safetensors", b"", r"is not a safetensors file"),
        ("model.safetensors", b"\xff" * 100, r"is not a safetensors file"),
    ],
)
def test_files_that_are_missing_or_damaged_are_named(
    file: str, content: bytes | None, message: str, folder: Path
) -> None:
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.read(folder, "mine")


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_a_pickle_is_refused_in_favour_of_safetensors(pickle: str, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / pickle).write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=rf"only as {pickle}, a pickle.*Save the model as safetensors"):
        checkpoint.read(folder, "mine")
