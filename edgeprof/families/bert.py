"""BERT: an encoder with learned positions, post-norm blocks and, bare, a pooler.

Sizes: Devlin et al. 2019 (base, large); Turc et al. 2019, "Well-Read Students Learn Better" (tiny to medium).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgeprof.families.base import (
    BATCH,
    TOKENS,
    Arrays,
    Component,
    Summary,
    TracedFamily,
    integer,
    real,
    right_padded,
    row,
    traceable_module,
)
from edgeprof.families.block import TIED, block, dense, norms, table, token_embedding
from edgeprof.families.config_values import MOST_LAYERS, SHARED, activation, epsilon, flag, only, refusal, size
from edgeprof.families.transformers_family import Task, TransformersFamily
from edgeprof.schema import Case, Logits, TensorSpec, Variant

if TYPE_CHECKING:
    import numpy as np
    import torch


def _row(name: str, layers: int, width: int, source: str) -> Variant:
    return row(
        "bert",
        "base",
        name,
        max_tokens=512,
        source=source,
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
    )


def _small(name: str, layers: int, width: int) -> Variant:
    return _row(name, layers, width, f"google/bert_uncased_L-{layers}_H-{width}_A-{width // 64}")


class BERT(TransformersFamily, TracedFamily):
    name = "bert"
    sample_kind = "text"
    model_type = "bert"
    tasks = (
        Task(name="base", architecture="BertModel", outputs=("last_hidden_state", "pooler_output")),
        Task(name="encoder", architecture="BertModel", outputs=("last_hidden_state",)),  # a checkpoint without pooler
        Task(name="masked-lm", architecture="BertForMaskedLM", outputs=("logits",)),
        Task(name="sequence-classification", architecture="BertForSequenceClassification", outputs=("logits",)),
        Task(name="token-classification", architecture="BertForTokenClassification", outputs=("logits",)),
        Task(
            name="question-answering",
            architecture="BertForQuestionAnswering",
            outputs=("start_logits", "end_logits"),
        ),
    )
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
    )
    shapes = (Case(batch=2, tokens=5), Case(batch=1, tokens=1), Case(batch=3, tokens=7), Case(batch=1, tokens=64))

    def require_consistent(self, variant: Variant, file: Path) -> None:
        super().require_consistent(variant, file)
        padding, vocabulary = variant.config.get("pad_token_id", 0), self.value(variant, "vocab_size")
        if padding >= vocabulary:
            raise refusal(file, "pad_token_id", padding, f"Allowed is a token below vocab_size, {vocabulary:,}.")

    def summary(self, variant: Variant) -> Summary:
        return Summary(
            layers=self.value(variant, "num_hidden_layers"),
            width=self.value(variant, "hidden_size"),
            heads=self.value(variant, "num_attention_heads"),
            vocabulary=self.value(variant, "vocab_size"),
            positions=self.value(variant, "max_position_embeddings"),
        )

    def table_rows(self, variant: Variant) -> dict[str, int]:
        return {**super().table_rows(variant), "token_type_ids": self.value(variant, "type_vocab_size")}

    def components(self, variant: Variant, case: Case, logits: Logits = "all") -> tuple[Component, ...]:
        """Sizes and layout as in Devlin et al. 2019; the block as in `edgeprof.families.block`."""
        layers, width = self.value(variant, "num_hidden_layers"), self.value(variant, "hidden_size")
        rows = case.batch * case.tokens
        return (
            token_embedding(self.value(variant, "vocab_size"), width, rows, tied=self._tied(variant)),
            table("position embedding", self.value(variant, "max_position_embeddings"), width, rows),
            table("segment embedding", self.value(variant, "type_vocab_size"), width, rows),
            *block(
                layers=layers,
                width=width,
                inner=self.value(variant, "intermediate_size"),
                heads=self.value(variant, "num_attention_heads"),
                batch=case.batch,
                queries=case.tokens,
                keys=case.tokens,
            ),
            norms(1, width, rows),
            *self._head(variant, case),
        )

    def _tied(self, variant: Variant) -> bool:
        return variant.task == "masked-lm" and bool(self.value(variant, "tie_word_embeddings"))

    def notes(self, variant: Variant) -> tuple[str, ...]:
        return (TIED,) if self._tied(variant) else ()

    def _head(self, variant: Variant, case: Case) -> tuple[Component, ...]:
        width, rows, labels = self.value(variant, "hidden_size"), case.batch * case.tokens, self.labels(variant)
        pooler = dense("pooler", width, width, case.batch)
        match variant.task:
            case "base":
                return (pooler,)
            case "masked-lm":  # a dense layer and a norm, then the tied embedding with a bias of its own
                transform = dense("LM transform", width, width, rows)
                return transform, norms(1, width, rows), self._lm_head(variant, rows)
            case "sequence-classification":
                return pooler, dense("classifier", width, labels, case.batch)
            case "token-classification":
                return (dense("classifier", width, labels, rows),)
            case "question-answering":
                return (dense("span head", width, 2, rows),)
            case _:
                return ()

    def _lm_head(self, variant: Variant, rows: int) -> Component:
        vocabulary = self.value(variant, "vocab_size")
        head = dense("LM head", self.value(variant, "hidden_size"), vocabulary, rows)
        if self._tied(variant):  # but for the bias its parameters are the token embedding's
            return msgspec.structs.replace(head, params=vocabulary, matrices=0, channels=0)
        return msgspec.structs.replace(head, params=head.params + vocabulary)  # `transformers` keeps a second bias

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
