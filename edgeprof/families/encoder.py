"""Encoders in the shape of BERT: learned positions, post-norm blocks, and a head for each task.

Devlin et al. 2019, "BERT"; the block as in `edgeprof.families.block`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from edgeprof.families.base import Component
from edgeprof.families.block import TIED, block, dense, norms, table, token_embedding
from edgeprof.families.transformers_family import Task, TransformersFamily
from edgeprof.schema import Case, Logits, Variant


def tasks(prefix: str, *, pooled: bool = True) -> tuple[Task, ...]:
    """What checkpoints of `transformers` classes with this prefix can hold.

    Args:
        pooled: the bare model has a pooler, unless a checkpoint lacks it.
    """
    hidden = Task(name="encoder" if pooled else "base", architecture=f"{prefix}Model", outputs=("last_hidden_state",))
    pooler = Task(name="base", architecture=f"{prefix}Model", outputs=("last_hidden_state", "pooler_output"))
    return (
        *([pooler] if pooled else []),
        hidden,
        Task(name="masked-lm", architecture=f"{prefix}ForMaskedLM", outputs=("logits",)),
        Task(name="sequence-classification", architecture=f"{prefix}ForSequenceClassification", outputs=("logits",)),
        Task(name="token-classification", architecture=f"{prefix}ForTokenClassification", outputs=("logits",)),
        Task(
            name="question-answering",
            architecture=f"{prefix}ForQuestionAnswering",
            outputs=("start_logits", "end_logits"),
        ),
    )


class Encoder(TransformersFamily):
    """The formulas of all of them; each says how it differs."""

    sample_kind = "text"

    keys: ClassVar[Mapping[str, str]] = {}  # names in BERT's configuration -> in this one
    classifies_with: ClassVar[str] = "pooler"  # the dense layer below the classifier of sequences
    second_bias: ClassVar[bool] = True  # an LM head that is not tied has two biases in `transformers`

    def value(self, variant: Variant, key: str) -> Any:
        return super().value(variant, self.keys.get(key, key))

    def segments(self, variant: Variant) -> int:
        """Rows of the table of segments; 0 without one."""
        return int(self.value(variant, "type_vocab_size"))

    def table_rows(self, variant: Variant) -> dict[str, int]:
        segments = self.segments(variant)
        return {**super().table_rows(variant), **({"token_type_ids": segments} if segments else {})}

    def components(self, variant: Variant, case: Case, logits: Logits = "all") -> tuple[Component, ...]:
        """Sizes and layout as in Devlin et al. 2019; the block as in `edgeprof.families.block`."""
        layers, width = self.value(variant, "num_hidden_layers"), self.value(variant, "hidden_size")
        rows, segments = case.batch * case.tokens, self.segments(variant)
        return (
            token_embedding(self.value(variant, "vocab_size"), width, rows, tied=self._tied(variant)),
            table("position embedding", self.value(variant, "max_position_embeddings"), width, rows),
            *([table("segment embedding", segments, width, rows)] if segments else []),
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
        match variant.task:
            case "base" if self.task(variant).outputs[-1] == "pooler_output":
                return (dense("pooler", width, width, case.batch),)
            case "masked-lm":  # a dense layer and a norm, then the tied embedding with a bias of its own
                transform = dense("LM transform", width, width, rows)
                return transform, norms(1, width, rows), self._lm_head(variant, rows)
            case "sequence-classification":  # of the first token
                below = dense(self.classifies_with, width, width, case.batch)
                return below, dense("classifier", width, labels, case.batch)
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
        return msgspec.structs.replace(head, params=head.params + self.second_bias * vocabulary)
