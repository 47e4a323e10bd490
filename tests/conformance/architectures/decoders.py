"""Decoders: with a cache of keys and values, of states, or of both."""

from typing import Any

from .tiny_model import TinyModel

TOKENS = {"vocab_size": 128, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
LLAMA: dict[str, Any] = {
    **TOKENS,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
LARGE_HEADS = {**LLAMA, "num_attention_heads": 2, "num_key_value_heads": 2}
"""Of 32 values, of which a part is rotated."""

GPT = {**TOKENS, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128}
MIXED = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
GEMMA = {**LLAMA, "num_hidden_layers": 4, "head_dim": 16, "sliding_window": 8, "layer_types": MIXED}
EXPERTS = {**LLAMA, "num_experts_per_tok": 2}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0 + 0.1 * i for i in range(12)],
    "long_factor": [1.0 + 0.5 * i for i in range(12)],
    "original_max_position_embeddings": 64,
    "partial_rotary_factor": 0.75,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def _decoder(name: str, class_name: str, config: dict[str, Any], **own: Any) -> TinyModel:
    return TinyModel(name, class_name, "decoder", {**config, **own})


def _partly_rotated(share: float) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": share}


DECODERS = (
    _decoder("gpt2", "GPT2LMHeadModel", GPT),
    _decoder("llama", "LlamaForCausalLM", LLAMA, num_hidden_layers=4),
    _decoder("llama-3", "LlamaForCausalLM", LLAMA, rope_parameters=LLAMA3, tie_word_embeddings=True),
    _decoder("llama reward", "LlamaForSequenceClassification", LLAMA, num_labels=1),
    _decoder("qwen2", "Qwen2ForCausalLM", LLAMA),
    _decoder("qwen3", "Qwen3ForCausalLM", LLAMA, head_dim=16, tie_word_embeddings=True),
    _decoder("qwen3_moe", "Qwen3MoeForCausalLM", EXPERTS, head_dim=16, num_experts=4, moe_intermediate_size=32),
    _decoder("mistral", "MistralForCausalLM", LLAMA, sliding_window=8),
    _decoder("mixtral", "MixtralForCausalLM", EXPERTS, num_local_experts=4),
    _decoder("gemma", "GemmaForCausalLM", LLAMA, head_dim=16, num_key_value_heads=1),
    _decoder("gemma2", "Gemma2ForCausalLM", GEMMA, query_pre_attn_scalar=16),
    _decoder("gemma3", "Gemma3ForCausalLM", GEMMA, query_pre_attn_scalar=16),
    _decoder("phi", "PhiForCausalLM", LARGE_HEADS, rope_parameters=_partly_rotated(0.5)),
    _decoder("phi3", "Phi3ForCausalLM", LLAMA),
    _decoder("phi-4-mini", "Phi3ForCausalLM", LARGE_HEADS, rope_parameters=LONGROPE, tie_word_embeddings=True),
    _decoder("smollm3", "SmolLM3ForCausalLM", LLAMA, num_hidden_layers=4),
    _decoder(
        "granite",
        "GraniteForCausalLM",
        LLAMA,
        embedding_multiplier=6.0,
        attention_multiplier=0.2,
        residual_multiplier=0.5,
        logits_scaling=4.0,
    ),
    _decoder("olmo", "OlmoForCausalLM", LLAMA, clip_qkv=0.5),
    _decoder("olmo2", "Olmo2ForCausalLM", LLAMA),
    _decoder(
        "gpt_neox",
        "GPTNeoXForCausalLM",
        {name: value for name, value in LARGE_HEADS.items() if name != "num_key_value_heads"},
        rope_parameters=_partly_rotated(0.5),
    ),
    _decoder("gpt_oss", "GptOssForCausalLM", EXPERTS, head_dim=16, num_local_experts=4, sliding_window=8),
    _decoder("lfm2", "Lfm2ForCausalLM", LLAMA, num_hidden_layers=3, layer_types=["conv", "full_attention", "conv"]),
    _decoder("cohere", "CohereForCausalLM", LLAMA, use_qk_norm=True),
    _decoder("cohere2", "Cohere2ForCausalLM", GEMMA),
    _decoder("stablelm", "StableLmForCausalLM", LARGE_HEADS, rope_parameters=_partly_rotated(0.5)),
    _decoder("starcoder2", "Starcoder2ForCausalLM", LLAMA, sliding_window=8),
    _decoder(
        "opt",
        "OPTForCausalLM",
        {**TOKENS, "hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 2, "num_attention_heads": 4},
        max_position_embeddings=128,
        word_embed_proj_dim=64,
    ),
    _decoder("bloom", "BloomForCausalLM", {**TOKENS, "hidden_size": 64, "n_layer": 2, "n_head": 4}),
    _decoder(
        "falcon",
        "FalconForCausalLM",
        {**TOKENS, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
        multi_query=True,
        max_position_embeddings=128,
    ),
    _decoder("gptj", "GPTJForCausalLM", GPT, n_head=2, rotary_dim=16),
    _decoder(
        "gpt_neo",
        "GPTNeoForCausalLM",
        {**TOKENS, "hidden_size": 64, "num_layers": 2, "num_heads": 4, "max_position_embeddings": 128},
        attention_types=[[["global", "local"], 1]],
        window_size=8,
    ),
    TinyModel(
        "mamba",
        "MambaForCausalLM",
        "state space",
        {**TOKENS, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    ),
)
