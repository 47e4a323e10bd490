"""Checkpoint folders are read without torch, without running their code, and refused with the reason."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_models
from conformance.architectures import find
from hostile_files import CONFIG as HOSTILE

from edgeprof.errors import CheckpointError
from edgeprof.families import checkpoint, family_of, find_variant


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed: copy it."""
    return tiny_models.checkpoint(tmp_path_factory.mktemp("checkpoints") / "bert", "bert", "base")


@pytest.fixture
def folder(bert: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bert, tmp_path / "bert"))


def configure(folder: Path, **changes: Any) -> None:
    """Change config.json; None removes a key."""
    file = folder / "config.json"
    config = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


@pytest.mark.parametrize(("family", "task"), tiny_models.TRACED_TASKS)
def test_family_and_task_are_detected_from_config_and_weights(family: str, task: str, tmp_path: Path) -> None:
    variant, where = checkpoint.read(tiny_models.checkpoint(tmp_path / "made", family, task), "mine")
    assert (variant.name, variant.family, variant.task) == ("mine", family, task)
    assert where == tmp_path / "made"
    assert variant.max_tokens == {"gpt2": 32, "bert": 80, "vit": None}[family]


def test_a_config_without_architectures_is_bare(folder: Path) -> None:
    configure(folder, architectures=None)
    assert checkpoint.read(folder, "mine")[0].task == "base"


def test_settings_that_a_config_leaves_out_have_their_defaults(folder: Path) -> None:
    configure(folder, max_position_embeddings=None)
    assert checkpoint.read(folder, "mine")[0].max_tokens == 512


def test_lengths_end_where_the_rotary_embedding_changes(tmp_path: Path) -> None:
    """Phi-4-mini has 131,072 positions, and other rotary factors from 4,097 tokens on."""
    folder = find("phi-4-mini").checkpoint(tmp_path / "made")
    configure(folder, max_position_embeddings=131072, original_max_position_embeddings=4096)
    assert checkpoint.read(folder, "mine")[0].max_tokens == 4096
    assert checkpoint.architecture(folder).max_tokens == 4096
    assert find_variant("phi-4-mini").max_tokens == 4096


def test_all_shards_of_weights_are_read(tmp_path: Path) -> None:
    folder = tiny_models.checkpoint(tmp_path / "made", "bert", "base", shard="20KB")
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
        ({"model_type": "blt"}, r"is of model type 'blt', of which edgeprof has no closed form\. Export it, then"),
        ({"model_type": None}, r"is of model type 'unknown'"),
        (
            {"architectures": ["BertForNextSentencePrediction"]},
            r"is a BertForNextSentencePrediction, of which .* With a closed form: BertModel, ",
        ),
        ({"is_decoder": True}, r"sets is_decoder to true"),
    ],
)
def test_what_no_family_describes_is_named(changes: dict[str, Any], message: str, folder: Path) -> None:
    configure(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.read(folder, "mine")
    assert checkpoint.described(folder, "mine") is None


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, r"holds no config\.json"),
        ("config.json", b"{", r"config\.json is not valid JSON"),
        ("config.json", b"[" * 100_000, r"config\.json is not valid JSON"),
        ("config.json", b"[]", r"config\.json is not a JSON object"),
        ("config.json", b"\xff\xfe", r"config\.json is not valid JSON"),
        ("modules.json", b"[]", r"modules\.json does not name the folder"),
        ("modules.json", b'{"path": 1}', r"modules\.json does not name the folder"),
        ("model.safetensors", None, r"holds no weights"),
        ("model.safetensors", b"", r"is not a safetensors file"),
        ("model.safetensors", (1).to_bytes(8, "little") + b"5", r"is not a safetensors file"),
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


# --- what a config.json may say --------------------------------------------------------------------------------


NOT_SIZES = (0, -1, 12.0, 1e30, 10**30, "12", True, None, [12], {}, float("nan"), float("inf"))


@pytest.mark.parametrize("value", NOT_SIZES, ids=repr)
@pytest.mark.parametrize(
    ("family", "key"),
    [("bert", "num_hidden_layers"), ("bert", "vocab_size"), ("gpt2", "n_embd"), ("vit", "patch_size")],
)
def test_a_size_is_a_whole_number_in_range(family: str, key: str, value: Any, tmp_path: Path) -> None:
    folder = tiny_models.checkpoint(tmp_path / "made", family, "base")
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(CheckpointError) as refused:
        checkpoint.read(folder, "mine")
    assert str(refused.value).startswith(f"{file} sets {key} to ")
    assert "Allowed is a whole number from 1 to " in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 10_001}, r"to 10001\. Allowed is a whole number from 1 to 10,000"),
        (
            {"hidden_act": "kernels-community/gelu"},
            r"sets hidden_act to \"kernels-community/gelu\"\. Allowed is one of",
        ),
        ({"hidden_act": ["gelu"]}, r"sets hidden_act to \[\"gelu\"\]\. Allowed is one of gelu, "),
        ({"layer_norm_eps": 0}, r"sets layer_norm_eps to 0\. Allowed is a number above 0 and at most 1"),
        ({"layer_norm_eps": float("nan")}, r"sets layer_norm_eps to nan\. Allowed is a number above 0"),
        ({"tie_word_embeddings": "false"}, r"sets tie_word_embeddings to \"false\"\. Allowed is true or false"),
        ({"is_decoder": True}, r"sets is_decoder to true\. Allowed is false"),
        ({"add_cross_attention": "yes"}, r"sets add_cross_attention to \"yes\"\. Allowed is false"),
        ({"position_embedding_type": "relative_key"}, r"sets position_embedding_type .* Allowed is \"absolute\""),
        ({"per_layer_config": {"0": {"hidden_size": 8}}}, r"sets per_layer_config to .* Allowed is empty"),
        ({"num_attention_heads": 3}, r"divides a width of 32 among 3 heads \(num_attention_heads\)\. Allowed is"),
        ({"pad_token_id": 60}, r"sets pad_token_id to 60\. Allowed is a token below vocab_size, 60"),
        ({"num_labels": -3}, r"sets num_labels to -3\. Allowed is a whole number"),
        ({"architectures": "BertModel"}, r"sets architectures to \"BertModel\"\. Allowed is a list of names"),
        ({"architectures": {"0": "BertModel"}}, r"sets architectures to .* Allowed is a list of names"),
        ({"vocab_size": "9" * 500}, r"sets vocab_size to \"9{50,}…\. Allowed is"),
    ],
)
def test_a_setting_out_of_its_range_names_file_key_value_and_range(
    changes: dict[str, Any], message: str, folder: Path
) -> None:
    configure(folder, **changes)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.read(folder, "mine")


def test_patches_are_no_larger_than_the_image(tmp_path: Path) -> None:
    folder = tiny_models.checkpoint(tmp_path / "made", "vit", "base")
    configure(folder, patch_size=64)
    with pytest.raises(CheckpointError, match=r"sets patch_size to 64\. Allowed is at most image_size, 32"):
        checkpoint.read(folder, "mine")


def test_a_setting_may_have_the_other_name_that_transformers_knows(tmp_path: Path) -> None:
    """Two layers of 32: 12 x 32^2 + 13 x 32 each; tables of 60 and 32 rows; a norm. Vaswani's block, with biases."""
    folder = tiny_models.checkpoint(tmp_path / "made", "gpt2", "causal-lm")
    configure(folder, n_layer=None, n_embd=None, num_hidden_layers=2, hidden_size=32)
    variant, _ = checkpoint.read(folder, "mine")
    assert family_of(variant).params(variant) == 2 * (12 * 32**2 + 13 * 32) + (60 + 32) * 32 + 64
    configure(folder, n_layer=3)
    with pytest.raises(CheckpointError, match=r"num_hidden_layers to 2\. The same file sets it to 3|n_layer to 3"):
        checkpoint.read(folder, "mine")


def test_what_no_family_lists_is_left_out(folder: Path) -> None:
    before, _ = checkpoint.read(folder, "mine")
    configure(folder, **HOSTILE)
    assert checkpoint.read(folder, "mine")[0] == before


@pytest.mark.parametrize(
    "path", ["/etc", "../other", "0_Transformer/../../other", "linked", "a\\..\\b", "\x00", "x" * 300]
)
def test_an_encoder_lies_within_its_folder(path: str, folder: Path) -> None:
    (folder.parent / "other").mkdir()
    (folder / "linked").symlink_to(folder.parent / "other")
    (folder / "modules.json").write_text(json.dumps([{"path": path}]))
    with pytest.raises(CheckpointError, match=r"modules\.json names .*, which does not lie in its folder\. Get all"):
        checkpoint.read(folder, "mine")


@pytest.mark.parametrize("shard", ["/etc/passwd", "../model.safetensors", "linked.safetensors"])
def test_shards_lie_within_their_folder(shard: str, folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    (folder / "linked.safetensors").symlink_to(folder.parent / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CheckpointError, match=rf"index\.json names {shard}, which does not lie in its folder"):
        checkpoint.read(folder, "mine")


def test_links_of_a_hub_cache_lead_to_its_blobs(tmp_path: Path) -> None:
    built = tiny_models.checkpoint(tmp_path / "made", "bert", "base", shard="20KB")
    blobs, snapshot = (tmp_path / "models--acme--mini" / part for part in ("blobs", "snapshots/c0ffee"))
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(built.iterdir())):
        file.rename(blobs / f"{number:064}")
        (snapshot / file.name).symlink_to(f"../../blobs/{number:064}")
    assert checkpoint.read(snapshot, "mini")[0].family == "bert"
    assert len(checkpoint.weight_files(snapshot)) > 2
