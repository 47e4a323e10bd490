"""Sentence-transformers folders: pooling, dense layers and normalization become part of the module."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeprof.errors import CheckpointError
from edgeprof.families import checkpoint, sentence_modules
from edgeprof.stages.export.loading import load
from edgeprof.stages.export.sentence_embedding import pooled
from edgeprof.stages.weights import Weights, in_folder

WIDTH = 32
BERT: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": WIDTH,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
}
POOLING = ("Pooling", "1_Pooling", {"word_embedding_dimension": WIDTH, "pooling_mode_mean_tokens": True})
TANH, IDENTITY = "torch.nn.modules.activation.Tanh", "torch.nn.modules.linear.Identity"
DENSE = {"in_features": WIDTH, "out_features": 24, "bias": True, "activation_function": TANH}

Module = tuple[str, str, dict[str, Any]]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed: copy it."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    model = transformers.BertModel(transformers.BertConfig(**BERT))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    model.save_pretrained(folder)
    return folder


def sentence_folder(
    folder: Path, encoder: Path, *modules: Module, package: str = "sentence_transformers.models."
) -> Path:
    """A folder as sentence-transformers writes it; a dense layer's matrix rises from -1 to 1, as does its bias."""
    import shutil

    import torch
    from safetensors.torch import save_file

    shutil.copytree(encoder, folder, dirs_exist_ok=True)
    listed = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for index, (kind, path, config) in enumerate(modules, start=1):
        listed.append({"idx": index, "name": str(index), "path": path, "type": package + kind})
        (folder / path).mkdir()
        (folder / path / "config.json").write_text(json.dumps(config))
        if kind == "Dense":
            rows, columns = config["out_features"], config["in_features"]
            tensors = {"linear.weight": torch.linspace(-1, 1, rows * columns).reshape(rows, columns)}
            if config.get("bias", True):
                tensors["linear.bias"] = torch.linspace(-1, 1, rows)
            save_file(tensors, folder / path / "model.safetensors")
    (folder / "modules.json").write_text(json.dumps(listed))
    return folder


def embedded(folder: Path, ids: Any, mask: Any) -> dict[str, Any]:
    import torch

    model = load(checkpoint.architecture(folder), in_folder(folder, "made"))
    with torch.no_grad():
        result = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))
    return {name: tensor.numpy() for name, tensor in result.items()}


def hidden_states(encoder: Path, ids: list[int]) -> Any:
    """Of one text without padding."""
    import torch
    import transformers

    model = transformers.BertModel.from_pretrained(encoder).eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).last_hidden_state[0].numpy()


def test_padding_has_no_part_in_an_embedding(encoder: Path, tmp_path: Path) -> None:
    """Each text alone in the plain model of transformers; mean, tanh of a dense layer and length by numpy."""
    folder = sentence_folder(
        tmp_path / "st", encoder, POOLING, ("Dense", "2_Dense", DENSE), ("Normalize", "3_Normalize", {})
    )
    texts = [[7, 8, 9, 10, 11], [12, 13]]
    result = embedded(folder, [texts[0], [*texts[1], 0, 0, 0]], [[1] * 5, [1, 1, 0, 0, 0]])
    matrix, bias = np.linspace(-1, 1, 24 * WIDTH).reshape(24, WIDTH), np.linspace(-1, 1, 24)
    for row, text in zip(result["sentence_embedding"], texts, strict=True):
        vector = np.tanh(matrix @ hidden_states(encoder, text).mean(axis=0) + bias)
        np.testing.assert_allclose(row, vector / np.linalg.norm(vector), atol=1e-6)
    assert result["last_hidden_state"].shape == (2, 5, WIDTH)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("cls", [1.0, 2.0]),
        ("max", [3.0, 6.0]),
        ("mean", [2.0, 0.0]),
        ("mean_sqrt_len", [4 / 2**0.5, 0.0]),
        ("weightedmean", [(1 + 2 * 3) / 3, (2 - 2 * 2) / 3]),
        ("lasttoken", [3.0, -2.0]),
    ],
)
def test_a_pooling_mode_is_what_a_person_computes(mode: Any, expected: list[float]) -> None:
    """Two rows of two numbers a token: (1, 2), (3, -2), then padding; and the same with -9 and 6 as a third token."""
    import torch

    tokens = torch.tensor([[[1.0, 2.0], [3.0, -2.0], [50.0, 50.0]], [[1.0, 2.0], [3.0, -2.0], [-9.0, 6.0]]])
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    first, second = pooled(mode, tokens, mask).tolist()
    if mode == "max":
        assert (first, second) == ([3.0, 2.0], [3.0, 6.0])
        return
    assert first == pytest.approx(expected)
    other = {
        "cls": [1.0, 2.0],
        "mean": [-5 / 3, 2.0],
        "mean_sqrt_len": [-5 / 3**0.5, 6 / 3**0.5],
        "weightedmean": [(1 + 6 - 27) / 6, (2 - 4 + 18) / 6],
        "lasttoken": [-9.0, 6.0],
    }
    assert second == pytest.approx(other[mode])


@pytest.mark.parametrize(
    ("config", "modes"),
    [
        ({}, ("mean",)),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, ("cls",)),
        ({"pooling_mode_lasttoken": True, "include_prompt": False}, ("lasttoken",)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True}, ("max", "mean")),
        ({"pooling_mode": "weightedmean"}, ("weightedmean",)),
        ({"pooling_mode": ["mean", "mean_sqrt_len_tokens"]}, ("mean", "mean_sqrt_len")),
    ],
)
def test_flags_and_names_of_pooling_modes_are_read(
    config: dict[str, Any], modes: tuple[str, ...], encoder: Path, tmp_path: Path
) -> None:
    folder = sentence_folder(tmp_path / "st", encoder, ("Pooling", "1_Pooling", config))
    assert checkpoint.architecture(folder).modules[0].modes == modes


def test_modules_of_later_versions_have_longer_names(encoder: Path, tmp_path: Path) -> None:
    package = "sentence_transformers.sentence_transformer.modules."
    folder = sentence_folder(tmp_path / "st", encoder, POOLING, package=package)
    assert [one.kind for one in checkpoint.architecture(folder).modules] == ["pooling"]


def test_the_key_of_weights_includes_those_of_dense_layers(encoder: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    folder = sentence_folder(tmp_path / "st", encoder, POOLING, ("Dense", "2_Dense", DENSE))
    before = in_folder(folder, "made").key()
    assert in_folder(folder, "other name").key() == before
    tensors = {"linear.weight": torch.zeros(24, WIDTH), "linear.bias": torch.zeros(24)}
    save_file(tensors, folder / "2_Dense" / "model.safetensors")
    assert in_folder(folder, "made").key() != before


def test_an_encoder_of_t5_is_used_without_its_decoder() -> None:
    assert sentence_modules.encoder_class("t5") == "T5EncoderModel"
    assert sentence_modules.encoder_class("bert") == "AutoModel"


def test_random_weights_need_no_dense_layer_on_disk(encoder: Path, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "st", encoder, POOLING, ("Dense", "2_Dense", DENSE))
    model: Any = load(checkpoint.architecture(folder), Weights())
    assert model.dense[0].weight.shape == (24, WIDTH)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (("CNN", "1_CNN", {}), r'modules\.json names a module "CNN", which edgeprof does not export\. Supported are'),
        (("Dense", "2_Dense", DENSE), r"has no Pooling after the Transformer"),
        (("Pooling", "1_Pooling", {"pooling_mode": "evil"}), r'sets pooling_mode to "evil"\. Allowed is one'),
    ],
)
def test_a_module_that_is_not_supported_is_named(module: Module, message: str, encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        checkpoint.architecture(sentence_folder(tmp_path / "st", encoder, module))


def test_a_module_of_another_package_is_named(encoder: Path, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "st", encoder, POOLING, package="custom_st.")
    with pytest.raises(CheckpointError, match=r'names a module "custom_st\.Pooling", which'):
        checkpoint.architecture(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"activation_function": "os.system"},
            r'sets activation_function to "os\.system"\. Supported are torch\.nn\'s',
        ),
        ({"out_features": 0}, r"sets out_features to 0"),
        ({"use_residual": True}, r"sets use_residual to true"),
        ({"module_input_name": "token_embeddings"}, r"sets module_input_name"),
    ],
)
def test_a_dense_layer_of_another_kind_is_refused(
    changes: dict[str, Any], message: str, encoder: Path, tmp_path: Path
) -> None:
    folder = sentence_folder(tmp_path / "st", encoder, POOLING, ("Dense", "2_Dense", DENSE))
    (folder / "2_Dense" / "config.json").write_text(json.dumps({**DENSE, **changes}))
    with pytest.raises(CheckpointError, match=message):
        checkpoint.architecture(folder)


def test_a_dense_layer_that_disagrees_with_its_weights_is_named(encoder: Path, tmp_path: Path) -> None:
    folder = sentence_folder(tmp_path / "st", encoder, POOLING, ("Dense", "2_Dense", DENSE))
    (folder / "2_Dense" / "config.json").write_text(json.dumps({**DENSE, "out_features": 25}))
    with pytest.raises(CheckpointError, match=r"Tensor linear\.weight has shape \(24, 32\) in .* \(25, 32\)"):
        load(checkpoint.architecture(folder), in_folder(folder, "made"))
