"""BERT: an encoder with learned positions, post-norm blocks and, bare, a pooler.

Sizes: Devlin et al. 2019 (base, large); Turc et al. 2019, "Well-Read Students Learn Better" (tiny to medium); Wang et
al. 2020, "MiniLM".
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeprof.families.base import (
    BATCH,
    TOKENS,
    Arrays,
    TracedFamily,
    integer,
    real,
    right_padded,
    row,
    traceable_module,
)
from edgeprof.families.config_values import MOST_LAYERS, SHARED, activation, epsilon, flag, only, refusal, size
from edgeprof.families.encoder import Encoder, tasks
from edgeprof.schema import Case, Logits, TensorSpec, Variant

if TYPE_CHECKING:
    import numpy as np
    import torch


def _row(name: str, layers: int, width: int, source: str, heads: int | None = None) -> Variant:
    return row(
        "bert",
        "base",
        name,
        max_tokens=512,
        source=source,
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads or width // 64,
        intermediate_size=4 * width,
    )


def _small(name: str, layers: int, width: int) -> Variant:
    return _row(name, layers, width, f"google/bert_uncased_L-{layers}_H-{width}_A-{width // 64}")


class BERT(Encoder, TracedFamily):
    name = "bert"
    model_type = "bert"
    tasks = tasks("Bert")
    defaults = {
        "num_hidden_layers": 12,
        "hidden_size": 768,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "tie_word_embeddings": True,
    }
    settings = {
        **SHARED,
        "num_hidden_layers": size(most=MOST_LAYERS),
        "hidden_size": size(),
        "num_attention_heads": size(),
        "intermediate_size": size(),
        "vocab_size": size(),
        "max_position_embeddings": size(),
        "type_vocab_size": size(),
        "hidden_act": activation(),
        "layer_norm_eps": epsilon(),
        "position_embedding_type": only('"absolute"', "absolute"),
        "tie_word_embeddings": flag(),
    }
    variants = (
        _small("bert-tiny", 2, 128),
        _small("bert-mini", 4, 256),
        _small("bert-small", 4, 512),
        _small("bert-medium", 8, 512),
        _row("bert-base", 12, 768, "google-bert/bert-base-uncased"),
        _row("bert-large", 24, 1024, "google-bert/bert-large-uncased"),
        _row("all-minilm-l6-v2", 6, 384, "sentence-transformers/all-MiniLM-L6-v2", heads=12),
        _row("all-minilm-l12-v2", 12, 384, "sentence-transformers/all-MiniLM-L12-v2", heads=12),
        _row("bge-small-en-v1.5", 12, 384, "BAAI/bge-small-en-v1.5", heads=12),
    )
    shapes = (Case(batch=2, tokens=5), Case(batch=1, tokens=1), Case(batch=3, tokens=7), Case(batch=1, tokens=64))

    def require_consistent(self, variant: Variant, file: Path) -> None:
        super().require_consistent(variant, file)
        padding, vocabulary = variant.config.get("pad_token_id", 0), self.value(variant, "vocab_size")
        if padding >= vocabulary:
            raise refusal(file, "pad_token_id", padding, f"Allowed is a token below vocab_size, {vocabulary:,}.")

    def inputs(self, variant: Variant) -> tuple[TensorSpec, ...]:
        return tuple(integer(name, BATCH, TOKENS) for name in ("input_ids", "attention_mask", "token_type_ids"))

    def outputs(self, variant: Variant, logits: Logits = "all") -> tuple[TensorSpec, ...]:
        width = self.value(variant, "hidden_size")
        match variant.task:
            case "base":
                return real("last_hidden_state", BATCH, TOKENS, width), real("pooler_output", BATCH, width)
            case "masked-lm":
                return (real("logits", BATCH, TOKENS, self.value(variant, "vocab_size")),)
            case "sequence-classification":
                return (real("logits", BATCH, self.labels(variant)),)
            case "token-classification":
                return (real("logits", BATCH, TOKENS, self.labels(variant)),)
            case "question-answering":
                return real("start_logits", BATCH, TOKENS), real("end_logits", BATCH, TOKENS)
            case _:
                return (real("last_hidden_state", BATCH, TOKENS, width),)

    def feeds(self, variant: Variant, case: Case, generator: np.random.Generator) -> Arrays:
        shape = (case.batch, case.tokens)
        return {
            "input_ids": generator.integers(0, self.value(variant, "vocab_size"), shape),
            "attention_mask": right_padded(shape),
            "token_type_ids": generator.integers(0, self.value(variant, "type_vocab_size"), shape),
        }

    def traceable(self, model: torch.nn.Module, variant: Variant, logits: Logits) -> torch.nn.Module:
        outputs = self.task(variant).outputs

        def forward(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            ids, attended, segments = tensors
            mask = (attended > 0)[:, None, None, :].expand(-1, 1, ids.shape[1], -1)
            result = model(input_ids=ids, attention_mask=mask, token_type_ids=segments)
            return tuple(result[name] for name in outputs)

        return traceable_module(model, forward)

    def reference(self, model: torch.nn.Module, feeds: dict[str, torch.Tensor], logits: Logits) -> list[torch.Tensor]:
        result = model(**feeds)
        return [result[key] for key in result if result[key] is not None]
