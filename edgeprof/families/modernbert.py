"""ModernBERT: an encoder with rotary positions, pre-norm blocks without biases, and an MLP with a gate.

Warner et al. 2024, "Smarter, better, faster, longer", section 2.1. Two of three layers attend within a window of 128
tokens; MACs are those of full matrices there, too, which exported graphs compute. The first layer has no norm before
its attention: the embedding has one.
"""

from __future__ import annotations

import msgspec

from edgeprof.families.base import Component, row
from edgeprof.families.block import (
    TIED,
    attention,
    block_norms,
    dense,
    mlp,
    norms,
    output_projection,
    repeated,
    token_embedding,
)
from edgeprof.families.config_values import MOST_LAYERS, SHARED, activation, flag, size
from edgeprof.families.encoder import tasks
from edgeprof.families.transformers_family import TransformersFamily
from edgeprof.schema import Case, Logits, Variant


def _row(name: str, layers: int, width: int, inner: int) -> Variant:
    return row(
        "modernbert",
        "base",
        name,
        max_tokens=8192,
        source=f"answerdotai/{name.replace('modernbert', 'ModernBERT')}",
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=inner,
        num_attention_heads=width // 64,
    )


class ModernBERT(TransformersFamily):
    name = model_type = "modernbert"
    sample_kind = "text"
    activation_key = "hidden_activation"
    tasks = tasks("ModernBert", pooled=False)
    defaults = {
        "vocab_size": 50368,
        "hidden_size": 768,
        "intermediate_size": 1152,
        "num_hidden_layers": 22,
        "num_attention_heads": 12,
        "hidden_activation": "gelu",
        "max_position_embeddings": 8192,
        "norm_bias": False,
        "attention_bias": False,
        "mlp_bias": False,
        "decoder_bias": True,
        "classifier_bias": False,
        "tie_word_embeddings": True,
    }
    settings = {
        **SHARED,
        "vocab_size": size(),
        "hidden_size": size(),
        "intermediate_size": size(),
        "num_hidden_layers": size(most=MOST_LAYERS),
        "num_attention_heads": size(),
        "hidden_activation": activation(),
        "max_position_embeddings": size(),
        "norm_bias": flag(),
        "attention_bias": flag(),
        "mlp_bias": flag(),
        "decoder_bias": flag(),
        "classifier_bias": flag(),
        "tie_word_embeddings": flag(),
    }
    variants = (
        _row("modernbert-base", 22, 768, 1152),
        _row("modernbert-large", 28, 1024, 2624),
    )

    def components(self, variant: Variant, case: Case, logits: Logits = "all") -> tuple[Component, ...]:
        """Sizes and layout as in Warner et al. 2024; the parts of a block as in `edgeprof.families.block`."""
        layers, width = self.value(variant, "num_hidden_layers"), self.value(variant, "hidden_size")
        rows, shift = case.batch * case.tokens, self.value(variant, "norm_bias")
        bias = self.value(variant, "attention_bias")
        first = norms(layers - 1, width, rows, shift=shift)
        return (
            token_embedding(self.value(variant, "vocab_size"), width, rows, tied=self._tied(variant)),
            *repeated(
                layers,
                *attention(
                    width=width,
                    heads=self.value(variant, "num_attention_heads"),
                    batch=case.batch,
                    queries=case.tokens,
                    keys=case.tokens,
                    projected=case.tokens,
                    bias=bias,
                    kept=rows * width,
                    normed=rows * width,
                ),
                output_projection(width, width, rows, bias=bias),
                *mlp(
                    width,
                    self.value(variant, "intermediate_size"),
                    rows,
                    gated=True,
                    bias=self.value(variant, "mlp_bias"),
                ),
                block_norms(1, width, rows, shift=shift),
            ),
            *([msgspec.structs.replace(first, name="attention norms")] if layers > 1 else []),
            norms(2, width, rows, shift=shift),
            *self._head(variant, case),
        )

    def _tied(self, variant: Variant) -> bool:
        return variant.task == "masked-lm" and bool(self.value(variant, "tie_word_embeddings"))

    def _head(self, variant: Variant, case: Case) -> tuple[Component, ...]:
        """A dense layer and a norm, then what the task needs; sequences are pooled before."""
        if variant.task == "base":
            return ()
        width, vocabulary, rows = self.value(variant, "hidden_size"), self.value(variant, "vocab_size"), case.batch
        rows *= 1 if variant.task == "sequence-classification" else case.tokens
        below: tuple[Component, ...] = (
            dense("LM transform", width, width, rows, bias=self.value(variant, "classifier_bias")),
            norms(1, width, rows, shift=self.value(variant, "norm_bias")),
        )
        if variant.task != "masked-lm":
            labels = 2 if variant.task == "question-answering" else self.labels(variant)
            below = msgspec.structs.replace(below[0], name="classifier transform"), below[1]
            return *below, dense("classifier", width, labels, rows)
        head = dense("LM head", width, vocabulary, rows, bias=self.value(variant, "decoder_bias"))
        if self._tied(variant):  # but for the bias its parameters are the token embedding's
            head = msgspec.structs.replace(head, params=head.params - head.matrices, matrices=0, channels=0)
        return *below, head

    def notes(self, variant: Variant) -> tuple[str, ...]:
        return (TIED,) if self._tied(variant) else ()
