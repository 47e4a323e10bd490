"""Images and text: two towers, and vision-language models."""

from typing import Any

from .tiny_model import TinyModel

TEXT: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 24,
    "projection_dim": 16,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
    "projection_dim": 16,
}
DECODER: dict[str, Any] = {
    "vocab_size": 128,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
PATCHES = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_heads": 2,
    "out_hidden_size": 64,
    "patch_size": 28,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
"""The vision part of Qwen's models: patches that are merged two by two."""

PLACEHOLDERS = {"image_token_id": 120, "video_token_id": 121, "vision_start_token_id": 122, "vision_end_token_id": 123}
THREE_AXES = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}

PAIRS = (
    TinyModel("clip", "CLIPModel", "two towers", {"text_config": TEXT, "vision_config": VISION, "projection_dim": 16}),
    TinyModel(
        "siglip",
        "SiglipModel",
        "two towers",
        {"text_config": {**TEXT, "projection_size": 32}, "vision_config": VISION},
    ),
    TinyModel(
        "qwen2_5_vl",
        "Qwen2_5_VLForConditionalGeneration",
        "vision-language",
        {
            **PLACEHOLDERS,
            "text_config": {**DECODER, "rope_parameters": THREE_AXES},
            "vision_config": {
                **PATCHES,
                "window_size": 112,
                "fullatt_block_indexes": [1],
            },
        },
    ),
    TinyModel(
        "qwen2_vl",
        "Qwen2VLForConditionalGeneration",
        "vision-language",
        {
            **PLACEHOLDERS,
            "text_config": {**DECODER, "rope_parameters": THREE_AXES},
            "vision_config": {
                "depth": 2,
                "embed_dim": 32,
                "hidden_size": 64,
                "num_heads": 2,
                "mlp_ratio": 2,
                "patch_size": 28,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
            },
        },
    ),
    TinyModel(
        "qwen3_vl",
        "Qwen3VLForConditionalGeneration",
        "vision-language",
        {
            **PLACEHOLDERS,
            "text_config": {**DECODER, "head_dim": 16, "rope_parameters": THREE_AXES},
            "vision_config": {
                **PATCHES,
                "num_position_embeddings": 64,
                "deepstack_visual_indexes": [0],
            },
        },
    ),
    TinyModel(
        "gemma3 vision",
        "Gemma3ForConditionalGeneration",
        "vision-language",
        {
            "text_config": {
                **DECODER,
                "head_dim": 16,
                "sliding_window": 8,
                "query_pre_attn_scalar": 16,
                "layer_types": ["sliding_attention", "full_attention"],
            },
            "vision_config": VISION,
            "mm_tokens_per_image": 4,
            "image_token_index": 120,
            "boi_token_index": 121,
            "eoi_token_index": 122,
        },
    ),
)
