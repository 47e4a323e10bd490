"""Small models: configurations that build in a blink, and checkpoints of them as `save_pretrained` writes them."""

from pathlib import Path
from typing import Any

from edgeprof.families import TRANSFORMERS, family_of
from edgeprof.families.base import TracedFamily
from edgeprof.families.transformers_family import TransformersFamily
from edgeprof.schema import Variant
from edgeprof.stages.export.stage import build
from edgeprof.stages.weights import Weights

DECODER = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "intermediate_size": 48,
    "vocab_size": 60,
    "max_position_embeddings": 80,
    "pad_token_id": 0,
}
ENCODER = {
    "num_hidden_layers": 2,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "vocab_size": 60,
    "max_position_embeddings": 80,
}
DECODERS = (
    *("llama", "mistral", "mixtral", "qwen2", "qwen3", "qwen3_moe"),
    *("gemma", "gemma2", "gemma3_text", "phi3", "smollm3", "olmo2", "granite"),
)
SPARSE = {
    "mixtral": {"num_local_experts": 5, "num_experts_per_tok": 2},
    "qwen3_moe": {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 20},
}

SIZES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_layer": 2, "n_embd": 32, "n_head": 2, "n_positions": 32, "vocab_size": 60},
    "bert": ENCODER,
    "vit": {
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "image_size": 32,
        "patch_size": 8,
    },
    "distilbert": {
        "n_layers": 2,
        "dim": 32,
        "n_heads": 2,
        "hidden_dim": 48,
        "vocab_size": 60,
        "max_position_embeddings": 80,
    },
    "modernbert": {**ENCODER, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0, "cls_token_id": 0},
    "dinov2": {
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "num_attention_heads": 2,
        "mlp_ratio": 2,
        "image_size": 32,
        "patch_size": 8,
    },
    "clip": {
        "text_num_hidden_layers": 2,
        "text_hidden_size": 24,
        "text_num_attention_heads": 3,
        "text_intermediate_size": 40,
        "text_vocab_size": 60,
        "text_max_position_embeddings": 80,
        "text_eos_token_id": 59,
        "vision_num_hidden_layers": 3,
        "vision_hidden_size": 32,
        "vision_num_attention_heads": 2,
        "vision_intermediate_size": 48,
        "vision_image_size": 32,
        "vision_patch_size": 8,
        "projection_dim": 20,
    },
    "t5": {"num_layers": 2, "d_model": 32, "d_kv": 12, "d_ff": 48, "num_heads": 4, "vocab_size": 60},
    "whisper": {
        "encoder_layers": 2,
        "decoder_layers": 3,
        "d_model": 32,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 48,
        "decoder_ffn_dim": 56,
        "num_mel_bins": 10,
        "vocab_size": 60,
        "max_source_positions": 20,
        "max_target_positions": 24,
        "pad_token_id": 0,
    },
    "mixer": {"width": 24, "tokens": 6},
    "embedding": {"vocabulary": 60, "width": 24},
    "gpt_neox": {**DECODER, "num_key_value_heads": 4, "head_dim": 8},
    "phi": {**DECODER, "head_dim": 8},
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert"), ENCODER),
    **{name: {**DECODER, **SPARSE.get(name, {})} for name in DECODERS},
}
"""Sizes that differ from each other, so that a formula which confuses two of them is found out."""

EVERY_TASK = [(family.name, task.name) for family in TRANSFORMERS for task in family.tasks]
"""What a checkpoint can hold."""

TRACED_FAMILIES = [family for family in TRANSFORMERS if isinstance(family, TracedFamily)]
TRACED_TASKS = [(family.name, task.name) for family in TRACED_FAMILIES for task in family.tasks]

MIXERS = ("dense", "pointwise", "gram", "attention", "block")


def variant(family: str, task: str, **config: Any) -> Variant:
    settings = {**SIZES[family], **config}
    limit = settings.get("n_positions") or settings.get("max_position_embeddings")
    limit = settings["tokens"] if task == "dense" else limit
    return Variant(name=f"small-{family}", family=family, task=task, config=settings, max_tokens=limit)


def checkpoint(folder: Path, family: str, task: str, *, shard: str = "1GB", **config: Any) -> Path:
    """A folder with config.json and safetensors of random weights; biases and norms too, so that a lost one shows."""
    import torch

    model = build(variant(family, task, **config), Weights())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    model.save_pretrained(folder, max_shard_size=shard)
    return folder


def torch_params(chosen: Variant) -> int:
    """What PyTorch counts; no memory is taken for weights."""
    import torch

    family = family_of(chosen)
    assert isinstance(family, TransformersFamily | TracedFamily)
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in family.build(chosen).parameters())
