"""Llama and the decoders that share its shape: how each differs, and the published sizes.

Formulas: `edgeprof.families.decoder`.
"""

from __future__ import annotations

from typing import Any

from edgeprof.families.config_values import activation, flag, only, size
from edgeprof.families.decoder import SIZES, Decoder, SparseDecoder, sized_row, tasks
from edgeprof.families.expected_fusions import ATTENTION
from edgeprof.schema import Variant

LLAMA3: dict[str, Any] = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}

SMOLLM2: dict[str, Any] = {"tie_word_embeddings": True, "rope_theta": 100000.0, "rms_norm_eps": 1e-5}
LLAMA31: dict[str, Any] = {"rope_parameters": {**LLAMA3, "factor": 8.0}, "rms_norm_eps": 1e-5}
LLAMA32: dict[str, Any] = {
    "tie_word_embeddings": True,
    "rope_parameters": {**LLAMA3, "factor": 32.0},
    "rms_norm_eps": 1e-5,
}
QWEN_TIED: dict[str, Any] = {"tie_word_embeddings": True, "rope_theta": 1000000.0}
GEMMA3: dict[str, Any] = {"head_dim": 256, "sliding_window": 512}
OLMO2: dict[str, Any] = {"rope_theta": 500000.0, "rms_norm_eps": 1e-6}
# fmt: off
LONG_FACTOR = [
    1.0, 1.118320672, 1.250641126, 1.398617824, 1.564103225, 1.74916897, 1.956131817, 2.187582649, 2.446418898,
    2.735880826, 3.059592084, 3.421605075, 3.826451687, 4.279200023, 4.785517845, 5.351743533, 5.984965424,
    6.693110555, 7.485043894, 8.370679318, 9.36110372, 10.4687158, 11.70738129, 13.09260651, 14.64173252,
    16.37415215, 18.31155283, 20.47818807, 22.90118105, 25.61086418, 28.64115884, 32.03, 32.1, 32.13, 32.23, 32.6,
    32.61, 32.64, 32.66, 32.7, 32.71, 32.93, 32.97, 33.28, 33.49, 33.5, 44.16, 47.77,
]
# fmt: on
LONGROPE: dict[str, Any] = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "partial_rotary_factor": 0.75,
    "original_max_position_embeddings": 4096,
    "short_factor": [1.0] * 48,
    "long_factor": LONG_FACTOR,
}
"""Of Phi-4-mini: Ding et al. 2024, "LongRoPE"."""

# sizes of a row: layers, width, inner width of the MLP, heads, heads of keys and values, vocabulary, positions


class Llama(Decoder):
    """Touvron et al. 2023, "LLaMA"; Grattafiori et al. 2024, "The Llama 3 herd of models"."""

    name = model_type = "llama"
    tasks = tasks("Llama")
    defaults = {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
    }
    settings = {**SIZES, "attention_bias": flag(), "mlp_bias": flag()}
    variants = (
        sized_row("llama", "smollm2-135m", "HuggingFaceTB/SmolLM2-135M", (30, 576, 1536, 9, 3, 49152, 8192), **SMOLLM2),
        sized_row(
            "llama", "smollm2-360m", "HuggingFaceTB/SmolLM2-360M", (32, 960, 2560, 15, 5, 49152, 8192), **SMOLLM2
        ),
        sized_row(
            "llama",
            "smollm2-1.7b",
            "HuggingFaceTB/SmolLM2-1.7B",
            (24, 2048, 8192, 32, 32, 49152, 8192),
            tie_word_embeddings=True,
            rope_theta=130000.0,
            rms_norm_eps=1e-5,
        ),
        sized_row(
            "llama",
            "tinyllama-1.1b",
            "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
            (22, 2048, 5632, 32, 4, 32000, 2048),
            rms_norm_eps=1e-5,
        ),
        sized_row(
            "llama", "llama-2-7b", "meta-llama/Llama-2-7b-hf", (32, 4096, 11008, 32, 32, 32000, 4096), rms_norm_eps=1e-5
        ),
        sized_row(
            "llama", "llama-3.1-8b", "meta-llama/Llama-3.1-8B", (32, 4096, 14336, 32, 8, 128256, 131072), **LLAMA31
        ),
        sized_row(
            "llama", "llama-3.2-1b", "meta-llama/Llama-3.2-1B", (16, 2048, 8192, 32, 8, 128256, 131072), **LLAMA32
        ),
        sized_row(
            "llama", "llama-3.2-3b", "meta-llama/Llama-3.2-3B", (28, 3072, 8192, 24, 8, 128256, 131072), **LLAMA32
        ),
    )


class Mistral(Decoder):
    name = model_type = "mistral"
    tasks = tasks("Mistral")
    defaults = {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
    }
    settings = SIZES
    variants = (
        sized_row(
            "mistral",
            "mistral-7b",
            "mistralai/Mistral-7B-v0.3",
            (32, 4096, 14336, 32, 8, 32768, 32768),
            rope_theta=1000000.0,
            rms_norm_eps=1e-5,
            sliding_window=None,
        ),
    )


class Qwen2(Decoder):
    """Yang et al. 2024, "Qwen2 technical report", section 2.2: biases in Q, K and V."""

    name = model_type = "qwen2"
    tasks = tasks("Qwen2")
    defaults = {
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
    }
    settings = SIZES
    qkv_bias = True
    variants = (
        sized_row("qwen2", "qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B", (24, 896, 4864, 14, 2, 151936, 32768), **QWEN_TIED),
        sized_row("qwen2", "qwen2.5-1.5b", "Qwen/Qwen2.5-1.5B", (28, 1536, 8960, 12, 2, 151936, 131072), **QWEN_TIED),
        sized_row("qwen2", "qwen2.5-3b", "Qwen/Qwen2.5-3B", (36, 2048, 11008, 16, 2, 151936, 32768), **QWEN_TIED),
        sized_row(
            "qwen2", "qwen2.5-7b", "Qwen/Qwen2.5-7B", (28, 3584, 18944, 28, 4, 152064, 131072), rope_theta=1000000.0
        ),
        sized_row(
            "qwen2",
            "deepseek-r1-distill-1.5b",
            "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
            (28, 1536, 8960, 12, 2, 151936, 131072),
        ),
    )


class Qwen3(Decoder):
    """Yang et al. 2025, "Qwen3 technical report", section 2: norms of queries and keys, no biases."""

    name = model_type = "qwen3"
    tasks = tasks("Qwen3")
    defaults = {**Qwen2.defaults, "head_dim": 128, "attention_bias": False}
    settings = {**SIZES, "attention_bias": flag()}
    head_norms = "each head"
    variants = (
        sized_row("qwen3", "qwen3-0.6b", "Qwen/Qwen3-0.6B", (28, 1024, 3072, 16, 8, 151936, 40960), **QWEN_TIED),
        sized_row("qwen3", "qwen3-1.7b", "Qwen/Qwen3-1.7B", (28, 2048, 6144, 16, 8, 151936, 40960), **QWEN_TIED),
        sized_row("qwen3", "qwen3-4b", "Qwen/Qwen3-4B", (36, 2560, 9728, 32, 8, 151936, 40960), **QWEN_TIED),
        sized_row("qwen3", "qwen3-8b", "Qwen/Qwen3-8B", (36, 4096, 12288, 32, 8, 151936, 40960), rope_theta=1000000.0),
    )


class Qwen3MoE(SparseDecoder):
    """Yang et al. 2025, "Qwen3 technical report", section 2: 128 experts, 8 active, none shared."""

    name = model_type = "qwen3_moe"
    tasks = tasks("Qwen3Moe")
    defaults = {
        "vocab_size": 151936,
        "hidden_size": 2048,
        "moe_intermediate_size": 768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "attention_bias": False,
    }
    settings = {
        **SIZES,
        "attention_bias": flag(),
        "moe_intermediate_size": size(),
        "num_experts": size(),
        "num_experts_per_tok": size(),
        "decoder_sparse_step": only("1", 1),
        "mlp_only_layers": only("an empty list", []),
    }
    aliases = {"num_local_experts": "num_experts"}
    head_norms = "each head"
    inner_key, experts_key = "moe_intermediate_size", "num_experts"
    variants = (
        sized_row(
            "qwen3_moe",
            "qwen3-30b-a3b",
            "Qwen/Qwen3-30B-A3B",
            (48, 2048, 6144, 32, 4, 151936, 40960),
            head_dim=128,
            moe_intermediate_size=768,
            num_experts=128,
            num_experts_per_tok=8,
            norm_topk_prob=True,
            rope_theta=1000000.0,
        ),
    )


class Mixtral(SparseDecoder):
    """Jiang et al. 2024, "Mixtral of experts", section 2."""

    name = model_type = "mixtral"
    tasks = tasks("Mixtral")
    defaults = {**Mistral.defaults, "num_local_experts": 8, "num_experts_per_tok": 2}
    settings = {**SIZES, "num_local_experts": size(), "num_experts_per_tok": size()}
    aliases = {"num_experts": "num_local_experts"}
    inner_key, experts_key = "intermediate_size", "num_local_experts"
    variants = (
        sized_row(
            "mixtral",
            "mixtral-8x7b",
            "mistralai/Mixtral-8x7B-v0.1",
            (32, 4096, 14336, 32, 8, 32000, 32768),
            num_local_experts=8,
            num_experts_per_tok=2,
        ),
    )


class Gemma(Decoder):
    """Gemma team 2024, "Gemma: open models based on Gemini research and technology", section 2."""

    name = model_type = "gemma"
    tasks = tasks("Gemma", heads=("sequence", "token"))
    defaults = {
        "vocab_size": 256000,
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 256,
        "max_position_embeddings": 8192,
        "hidden_act": "gelu_pytorch_tanh",
        "tie_word_embeddings": True,
        "attention_bias": False,
    }
    settings = {**SIZES, "attention_bias": flag(), "use_bidirectional_attention": only("null or false", False)}
    variants = (sized_row("gemma", "gemma-2b", "google/gemma-2b", (18, 2048, 16384, 8, 1, 256000, 8192), head_dim=256),)


class Gemma2(Decoder):
    """Gemma team 2024, "Gemma 2: improving open language models at a practical size", section 2."""

    name = model_type = "gemma2"
    activation_key = "hidden_activation"
    tasks = tasks("Gemma2", heads=("sequence", "token"))
    defaults = {
        "vocab_size": 256000,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 8192,
        "hidden_activation": "gelu_pytorch_tanh",
        "tie_word_embeddings": True,
        "attention_bias": False,
    }
    settings = {
        **{key: setting for key, setting in Gemma.settings.items() if key != "hidden_act"},
        "hidden_activation": activation(),
    }
    layer_norms = 4
    variants = (
        sized_row("gemma2", "gemma-2-2b", "google/gemma-2-2b", (26, 2304, 9216, 8, 4, 256000, 8192), head_dim=256),
    )

    def fusions(self, variant: Variant, opset: int, *, fused: bool = False) -> dict[str, int]:
        """Without Attention: scores are capped by a tanh, which PyTorch's attention lacks, so it is written out."""
        found = super().fusions(variant, opset, fused=fused)
        return {operator: count for operator, count in found.items() if operator != ATTENTION}


class Gemma3(Decoder):
    """Gemma team 2025, "Gemma 3 technical report", section 2: norms of queries and keys; the text model alone."""

    name = model_type = "gemma3_text"
    tasks = tasks("Gemma3", base="TextModel", heads=())
    activation_key = "hidden_activation"
    defaults = {**Gemma2.defaults, "vocab_size": 262208, "max_position_embeddings": 131072}
    settings = Gemma2.settings
    head_norms = "each head"
    layer_norms = 4
    variants = (
        sized_row("gemma3_text", "gemma-3-270m", "google/gemma-3-270m", (18, 640, 2048, 4, 1, 262144, 32768), **GEMMA3),
        sized_row("gemma3_text", "gemma-3-1b", "google/gemma-3-1b-pt", (26, 1152, 6912, 4, 1, 262144, 32768), **GEMMA3),
    )


class Phi3(Decoder):
    """Abdin et al. 2024, "Phi-3 technical report", section 2: Q, K, V in one matrix, gate and up in another."""

    name = model_type = "phi3"
    tasks = tasks("Phi3", heads=("sequence", "token"))
    defaults = {
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 4096,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
    }
    settings = SIZES
    variants = (
        sized_row(
            "phi3",
            "phi-3-mini",
            "microsoft/Phi-3-mini-4k-instruct",
            (32, 3072, 8192, 32, 32, 32064, 4096),
            sliding_window=2047,
        ),
        sized_row(
            "phi3",
            "phi-4-mini",
            "microsoft/Phi-4-mini-instruct",
            (32, 3072, 8192, 24, 8, 200064, 131072),
            tie_word_embeddings=True,
            rope_parameters=LONGROPE,
        ),
    )


class SmolLM3(Decoder):
    """Bakouch et al. 2025, "SmolLM3": no positions in every fourth layer."""

    name = model_type = "smollm3"
    tasks = tasks("SmolLM3")
    defaults = {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
    }
    settings = Llama.settings
    variants = (
        sized_row(
            "smollm3",
            "smollm3-3b",
            "HuggingFaceTB/SmolLM3-3B",
            (36, 2048, 11008, 16, 4, 128256, 65536),
            rope_theta=5000000.0,
        ),
    )


class Olmo2(Decoder):
    """OLMo team 2024, "2 OLMo 2 Furious", section 3.1: norms after attention and MLP, and of all queries and keys."""

    name = model_type = "olmo2"
    tasks = tasks("Olmo2", heads=("sequence",))
    defaults = {
        "vocab_size": 50304,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "attention_bias": False,
    }
    settings = {**SIZES, "attention_bias": flag()}
    head_norms = "all heads"
    variants = (
        sized_row("olmo2", "olmo2-1b", "allenai/OLMo-2-0425-1B", (16, 2048, 8192, 16, 16, 100352, 4096), **OLMO2),
        sized_row("olmo2", "olmo2-7b", "allenai/OLMo-2-1124-7B", (32, 4096, 11008, 32, 32, 100352, 4096), **OLMO2),
    )


class Granite(Decoder):
    """Granite team 2024, "Granite 3.0 language models": Llama, with four multipliers that have no weights."""

    name = model_type = "granite"
    tasks = tasks("Granite", heads=())
    defaults = Llama.defaults
    settings = Llama.settings
    variants = (
        sized_row(
            "granite",
            "granite-3.3-2b",
            "ibm-granite/granite-3.3-2b-base",
            (40, 2048, 8192, 32, 8, 49159, 131072),
            tie_word_embeddings=True,
            embedding_multiplier=12.0,
            logits_scaling=8.0,
            residual_multiplier=0.22,
            attention_multiplier=0.015625,
            rope_theta=10000000.0,
            rms_norm_eps=1e-5,
        ),
    )
