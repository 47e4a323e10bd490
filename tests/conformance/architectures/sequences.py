"""Encoder-decoders: text, speech and images to text."""

from typing import Any

from .tiny_model import TinyModel

TOKENS = {
    "vocab_size": 120,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": None,
}
T5 = {**TOKENS, "d_model": 32, "d_kv": 16, "num_heads": 2, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 3}
BART = {
    **TOKENS,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 66,
}
VIT = {
    "model_type": "vit",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
TROCR = {
    **TOKENS,
    "model_type": "trocr",
    "d_model": 32,
    "decoder_layers": 3,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 66,
    "cross_attention_hidden_size": 32,
    "is_decoder": True,
    "add_cross_attention": True,
}


def _encoder_decoder(name: str, class_name: str, config: dict[str, Any], **own: Any) -> TinyModel:
    return TinyModel(name, class_name, "encoder-decoder", {**config, **own})


SEQUENCES = (
    _encoder_decoder("t5", "T5ForConditionalGeneration", T5),
    _encoder_decoder(
        "mt5", "MT5ForConditionalGeneration", T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False
    ),
    _encoder_decoder("bart", "BartForConditionalGeneration", BART),
    _encoder_decoder("bart SequenceClassification", "BartForSequenceClassification", BART, num_labels=3),
    _encoder_decoder("marian", "MarianMTModel", BART, scale_embedding=True),
    _encoder_decoder("m2m_100", "M2M100ForConditionalGeneration", BART),
    _encoder_decoder("pegasus", "PegasusForConditionalGeneration", BART),
    _encoder_decoder(
        "whisper",
        "WhisperForConditionalGeneration",
        {name: value for name, value in BART.items() if name != "max_position_embeddings"},
        num_mel_bins=8,
        max_source_positions=20,
        max_target_positions=66,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    ),
    _encoder_decoder(
        "trocr",
        "VisionEncoderDecoderModel",
        {"encoder": VIT, "decoder": TROCR},
        pad_token_id=0,
        decoder_start_token_id=1,
    ),
)
