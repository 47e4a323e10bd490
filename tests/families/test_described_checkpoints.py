"""Checkpoints of types with closed forms: the parameters are those of PyTorch, or no family describes them."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_models

from edgeprof.families import checkpoint, family_of
from edgeprof.families.transformers_family import TransformersFamily


def saved(folder: Path, family: str, task: str, **config: Any) -> int:
    """Save a tiny model, and count its parameters in PyTorch."""
    variant = tiny_models.variant(family, task, **config)
    described = family_of(variant)
    assert isinstance(described, TransformersFamily)
    model = described.build(variant)
    model.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("family", "task", "config", "most"),
    [
        ("llama", "causal-lm", {"tie_word_embeddings": True}, 80),
        ("qwen3_moe", "causal-lm", {"hidden_size": 34}, 80),  # which 4 heads of 12 need not divide
        ("gemma3_text", "base", {}, 80),
        ("phi3", "token-classification", {"num_labels": 5}, 80),
        ("gpt_neox", "causal-lm", {}, 80),
        ("phi", "causal-lm", {"tie_word_embeddings": True}, 80),
        ("distilbert", "masked-lm", {}, 80),
        ("roberta", "encoder", {"pad_token_id": 1}, 78),  # positions count from the one after that of padding
        ("modernbert", "sequence-classification", {"num_labels": 5}, 80),
        ("t5", "seq2seq-lm", {"num_decoder_layers": 3}, None),
        ("t5", "encoder", {}, None),
        ("whisper", "speech-seq2seq", {}, 24),
        ("dinov2", "image-classification", {"num_labels": 5}, None),
        ("clip", "dual-encoder", {}, 80),
    ],
)
def test_described(family: str, task: str, config: dict[str, Any], most: int | None, tmp_path: Path) -> None:
    params = saved(tmp_path, family, task, **config)
    variant = checkpoint.described(tmp_path, "mine")
    assert variant is not None
    assert (variant.family, variant.task, variant.max_tokens) == (family, task, most)
    assert family_of(variant).params(variant) == params


@pytest.mark.parametrize(
    ("family", "task", "changes"),
    [
        ("gemma3_text", "base", {"use_bidirectional_attention": True}),  # no cache
        ("qwen3_moe", "causal-lm", {"mlp_only_layers": [0]}),  # layers differ
        ("t5", "seq2seq-lm", {"tie_word_embeddings": False}),  # tied or not, as the weights are
        ("dinov2", "base", {"use_swiglu_ffn": True}),
        ("llama", "causal-lm", {"architectures": ["LlamaForMultipleChoice"]}),
        ("whisper", "speech-seq2seq", {"architectures": None}),
    ],
)
def test_not_described(family: str, task: str, changes: dict[str, Any], tmp_path: Path) -> None:
    saved(tmp_path, family, task)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    assert checkpoint.described(tmp_path, "mine") is None
