"""Decoders whose attention and MLP read the same input, side by side: GPT-NeoX and Phi.

Black et al. 2022, "GPT-NeoX-20B", section 2.1; sizes: Biderman et al. 2023, "Pythia", table 1; Li et al. 2023,
"Textbooks are all you need II: phi-1.5". That is the block of GPT-2 in another order, with rotary positions; Phi has
one norm for both. Formulas: `edgeprof.families.decoder`, with biases, without a gate.
"""

from __future__ import annotations

from edgeprof.families.config_values import only
from edgeprof.families.decoder import SIZES, Decoder, sized_row, tasks

# sizes of a row: layers, width, inner width of the MLP, heads, heads of keys and values, vocabulary, positions


class GPTNeoX(Decoder):
    name = model_type = "gpt_neox"
    tasks = tasks("GPTNeoX")
    defaults = {
        "vocab_size": 50432,
        "hidden_size": 6144,
        "intermediate_size": 24576,
        "num_hidden_layers": 44,
        "num_attention_heads": 64,
        "max_position_embeddings": 2048,
        "hidden_act": "gelu",
        "tie_word_embeddings": False,
    }
    settings = {
        **{key: setting for key, setting in SIZES.items() if key not in ("num_key_value_heads", "head_dim")},
        "attention_bias": only("true", True),
    }
    rms_norms = False
    block_bias = True
    gated = False
    variants = (
        sized_row("gpt_neox", "pythia-70m", "EleutherAI/pythia-70m", (6, 512, 2048, 8, 8, 50304, 2048)),
        sized_row("gpt_neox", "pythia-160m", "EleutherAI/pythia-160m", (12, 768, 3072, 12, 12, 50304, 2048)),
        sized_row("gpt_neox", "pythia-410m", "EleutherAI/pythia-410m", (24, 1024, 4096, 16, 16, 50304, 2048)),
        sized_row("gpt_neox", "pythia-1.4b", "EleutherAI/pythia-1.4b", (24, 2048, 8192, 16, 16, 50304, 2048)),
    )


class Phi(Decoder):
    name = model_type = "phi"
    tasks = tasks("Phi", heads=("sequence", "token"))
    defaults = {
        "vocab_size": 51200,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
        "hidden_act": "gelu_new",
        "tie_word_embeddings": False,
    }
    settings = {**SIZES, "qk_layernorm": only("false", False)}
    rms_norms = False
    block_bias = head_bias = True
    gated = False
    layer_norms = 1
    variants = (
        sized_row("phi", "phi-1.5", "microsoft/phi-1_5", (24, 2048, 8192, 32, 32, 51200, 2048)),
        sized_row("phi", "phi-2", "microsoft/phi-2", (32, 2560, 10240, 32, 32, 51200, 2048), partial_rotary_factor=0.4),
    )
