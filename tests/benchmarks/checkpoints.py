"""Checkpoints of published architectures, as `save_pretrained` writes them, with random weights and a tokenizer."""

import json
from pathlib import Path
from typing import Any

from tests.benchmarks.harness import HERE, python

SMOLLM2 = {
    "class": "LlamaForCausalLM",
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""https://huggingface.co/HuggingFaceTB/SmolLM2-135M: 134,515,008 parameters."""

QWEN3 = {
    "class": "Qwen3ForCausalLM",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "rms_norm_eps": 1e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
"""https://huggingface.co/Qwen/Qwen3-0.6B: 596,049,920 parameters."""

GPT2 = {"class": "GPT2LMHeadModel"}
GPT2_XL = {"class": "GPT2LMHeadModel", "n_embd": 1600, "n_layer": 48, "n_head": 25}
BERT = {"class": "BertModel"}
MODERNBERT = {"class": "ModernBertModel", "reference_compile": False}
VIT = {"class": "ViTForImageClassification", "num_labels": 1000}
"""As their configurations in `transformers` come: gpt2, bert-base-uncased, ModernBERT-base, vit-base-patch16-224."""


def write(folder: Path, config: dict[str, Any]) -> Path:
    """The folder, with a model of this configuration: the same weights each time."""
    folder.mkdir(parents=True)
    (folder / "wanted.json").write_text(json.dumps(config))
    python(HERE / "write_checkpoint.py", folder, cwd=folder)
    (folder / "wanted.json").unlink()
    (folder / "output.log").unlink()
    return folder
