"""Encoders of raw waves."""

from typing import Any

from .tiny_model import TinyModel

WAV2VEC2: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [16, 16, 16],
    "conv_kernel": [10, 3, 2],
    "conv_stride": [5, 2, 2],
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "num_labels": 5,
    "classifier_proj_size": 16,
}
MASKED = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
"""As in the large models, which take a mask; the base models do not."""


def _audio(name: str, class_name: str, **own: Any) -> TinyModel:
    return TinyModel(name, class_name, "audio", {**WAV2VEC2, **own})


AUDIO = (
    _audio("wav2vec2", "Wav2Vec2Model"),
    _audio("wav2vec2 CTC", "Wav2Vec2ForCTC", **MASKED),
    _audio("wav2vec2 SequenceClassification", "Wav2Vec2ForSequenceClassification", **MASKED),
    _audio("hubert", "HubertForCTC"),
    TinyModel(
        "whisper AudioClassification",
        "WhisperForAudioClassification",
        "audio",
        {
            "num_mel_bins": 8,
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 48,
            "decoder_layers": 1,
            "decoder_attention_heads": 2,
            "max_source_positions": 20,
            "classifier_proj_size": 16,
            "num_labels": 5,
            "vocab_size": 120,
            "pad_token_id": 0,
            "use_weighted_layer_sum": True,
        },
    ),
)
