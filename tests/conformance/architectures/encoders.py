"""Bidirectional transformers, with their heads."""

from typing import Any

from .tiny_model import TinyModel

SIZES: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}

DEBERTA = {
    **SIZES,
    "relative_attention": True,
    "pos_att_type": ["p2c", "c2p"],
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "position_biased_input": False,
    "type_vocab_size": 0,
}
MODERNBERT = {**SIZES, **TOKENS, "num_hidden_layers": 4, "global_attn_every_n_layers": 3, "local_attention": 8}
GROUPED = {**SIZES, **TOKENS, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}

HEADS = ("MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice")


def _encoder(name: str, class_name: str, config: dict[str, Any]) -> TinyModel:
    return TinyModel(name, class_name, "encoder", config)


def _with_heads(name: str, prefix: str, config: dict[str, Any]) -> tuple[TinyModel, ...]:
    """The body alone, then under each head; classifiers have three classes."""
    heads = (_encoder(f"{name} {head}", f"{prefix}For{head}", {**config, "num_labels": 3}) for head in HEADS)
    return (
        _encoder(name, f"{prefix}Model", config),
        *(one if "Question" not in one.name else one._replace(config=config) for one in heads),
    )


ENCODERS = (
    *_with_heads("bert", "Bert", SIZES),
    _encoder(
        "distilbert",
        "DistilBertModel",
        {"vocab_size": 120, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": 66},
    ),
    _encoder(
        "distilbert SequenceClassification",
        "DistilBertForSequenceClassification",
        {"vocab_size": 120, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48, "max_position_embeddings": 66},
    ),
    *_with_heads("roberta", "Roberta", SIZES),
    _encoder("xlm-roberta", "XLMRobertaModel", SIZES),
    _encoder("camembert", "CamembertForMaskedLM", SIZES),
    _encoder("mpnet", "MPNetModel", SIZES),
    _encoder("modernbert", "ModernBertModel", MODERNBERT),
    _encoder("modernbert MaskedLM", "ModernBertForMaskedLM", MODERNBERT),
    _encoder(
        "modernbert SequenceClassification",
        "ModernBertForSequenceClassification",
        {**MODERNBERT, "num_labels": 3, "classifier_pooling": "mean"},
    ),
    *_with_heads("deberta-v2", "DebertaV2", DEBERTA),
    _encoder("electra", "ElectraForPreTraining", {**SIZES, "embedding_size": 16}),
    _encoder("albert", "AlbertModel", {**SIZES, "embedding_size": 16}),
    _encoder("nomic_bert", "NomicBertModel", {**SIZES, **TOKENS, "head_dim": 16}),
    _encoder("eurobert", "EuroBertModel", GROUPED),
    _encoder("jina_embeddings_v3", "JinaEmbeddingsV3Model", SIZES),
    _encoder(
        "embeddinggemma",
        "Gemma3TextModel",
        {
            **GROUPED,
            "use_bidirectional_attention": True,
            "sliding_window": 8,
            "query_pre_attn_scalar": 16,
            "layer_types": ["sliding_attention", "full_attention"],
        },
    ),
    _encoder(
        "t5 EncoderModel",
        "T5EncoderModel",
        {"vocab_size": 120, "d_model": 32, "d_kv": 16, "num_heads": 2, "d_ff": 48, "num_layers": 2},
    ),
)
