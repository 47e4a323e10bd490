"""Decoders in the shape of Llama: RMS norms, rotary positions, grouped queries, an MLP with a gate, a KV cache.

Touvron et al. 2023, "LLaMA", section 2.2, and the models that followed. With width d, inner width i, h heads and g
heads of keys and values of width e, b sequences of n tokens that attend to m keys:

    Q, K, V        d (h + 2 g) e weights    b n d (h + 2 g) e MACs
    scores         -                        b n m h e
    weighted sum   -                        b n m h e
    output         h e d                    b n h e d
    MLP            3 d i                    3 b n d i
    norms          2 d                      not counted

They differ in biases, in norms of queries and keys, in norms after attention and MLP (4 d), in a head width e other
than d / h, and in whether the LM head is the token embedding. Rotary positions have no weights. MACs are those of full
matrices, under a causal mask as in a sliding window: exported graphs compute no less.

In a mixture of experts a layer stores E MLPs and multiplies every token with k of them: 3 E d i weights, 3 k b n d i
MACs, and a router of d E weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

from edgeprof.families.base import Component, row
from edgeprof.families.block import (
    TIED,
    attention,
    block_norms,
    dense,
    experts,
    mlp,
    norms,
    output_projection,
    repeated,
    token_embedding,
)
from edgeprof.families.config_json import tokens_before_rescaling
from edgeprof.families.config_values import MOST_LAYERS, SHARED, activation, flag, size
from edgeprof.families.transformers_family import Task, TransformersFamily
from edgeprof.schema import Case, Logits, Variant


def tasks(
    prefix: str, *, base: str = "Model", heads: tuple[str, ...] = ("sequence", "token", "question")
) -> tuple[Task, ...]:
    """What checkpoints of `transformers` classes with this prefix can hold."""
    known = {
        "sequence": Task(
            name="sequence-classification", architecture=f"{prefix}ForSequenceClassification", outputs=("logits",)
        ),
        "token": Task(name="token-classification", architecture=f"{prefix}ForTokenClassification", outputs=("logits",)),
        "question": Task(
            name="question-answering",
            architecture=f"{prefix}ForQuestionAnswering",
            outputs=("start_logits", "end_logits"),
        ),
    }
    return (
        Task(name="causal-lm", architecture=f"{prefix}ForCausalLM", outputs=("logits",)),
        Task(name="base", architecture=f"{prefix}{base}", outputs=("last_hidden_state",)),
        *(known[head] for head in heads),
    )


SIZES = {
    **SHARED,
    "vocab_size": size(),
    "hidden_size": size(),
    "intermediate_size": size(),
    "num_hidden_layers": size(most=MOST_LAYERS),
    "num_attention_heads": size(),
    "num_key_value_heads": size(optional=True),
    "head_dim": size(optional=True),
    "max_position_embeddings": size(),
    "hidden_act": activation(),
    "tie_word_embeddings": flag(),
}


class Decoder(TransformersFamily):
    """The formulas of all of them; each says how it differs."""

    sample_kind = "text"

    qkv_bias: ClassVar[bool] = False  # of Q, K and V, whatever the configuration says
    block_bias: ClassVar[bool] = False  # of all dense layers of a block
    head_bias: ClassVar[bool] = False  # of the LM head
    gated: ClassVar[bool] = True  # the MLP
    rms_norms = True
    layer_norms: ClassVar[int] = 2
    head_norms: ClassVar[Literal["", "each head", "all heads"]] = ""  # of queries and keys

    def require_consistent(self, variant: Variant, file: Path) -> None:
        """Heads with a width of their own need not divide the model's."""
        if not self._optional(variant, "head_dim"):
            super().require_consistent(variant, file)

    def kv_heads(self, variant: Variant) -> int:
        """Heads of keys and values; as many as of queries where nothing is said."""
        return int(self._optional(variant, "num_key_value_heads") or self.value(variant, "num_attention_heads"))

    def head(self, variant: Variant) -> int:
        """The width of a head; its share of the width where nothing is said."""
        share = self.value(variant, "hidden_size") // self.value(variant, "num_attention_heads")
        return int(self._optional(variant, "head_dim") or share)

    def _optional(self, variant: Variant, key: str) -> Any:
        return self.value(variant, key) if variant.config.get(key) or key in self.defaults else None

    def components(self, variant: Variant, case: Case, logits: Logits = "all") -> tuple[Component, ...]:
        """Sizes and layout as in the docstring of the module."""
        layers, width = self.value(variant, "num_hidden_layers"), self.value(variant, "hidden_size")
        heads, head, rows = self.value(variant, "num_attention_heads"), self.head(variant), case.batch * case.tokens
        bias, stream = self.block_bias or bool(self._optional(variant, "attention_bias")), rows * width
        return (
            token_embedding(self.value(variant, "vocab_size"), width, rows, tied=self._tied(variant)),
            *repeated(
                layers,
                *attention(
                    width=width,
                    heads=heads,
                    kv_heads=self.kv_heads(variant),
                    head=head,
                    batch=case.batch,
                    queries=case.tokens,
                    keys=case.past_tokens + case.tokens,
                    projected=case.tokens,
                    bias=bias or self.qkv_bias,
                    cached=self.caches(variant),
                    kept=stream,
                    normed=stream,
                ),
                *self._head_norms(variant, rows),
                output_projection(heads * head, width, rows, bias=bias),
                *self._mlp(variant, rows),
                block_norms(self.layer_norms, width, rows, shift=not self.rms_norms),
            ),
            norms(1, width, rows, shift=not self.rms_norms),
            *self._head(variant, case, logits),
        )

    def _head_norms(self, variant: Variant, rows: int) -> tuple[Component, ...]:
        """Of queries and keys: each head by itself, with one scale for all, or all heads as one vector."""
        if not self.head_norms:
            return ()
        head = self.head(variant)

        def normed(name: str, heads: int) -> Component:
            width, vectors = (head, rows * heads) if self.head_norms == "each head" else (heads * head, rows)
            return msgspec.structs.replace(norms(1, width, vectors, shift=False), name=f"{name} norms")

        return normed("query", self.value(variant, "num_attention_heads")), normed("key", self.kv_heads(variant))

    def _mlp(self, variant: Variant, rows: int) -> tuple[Component, ...]:
        width, inner = self.value(variant, "hidden_size"), self.value(variant, "intermediate_size")
        bias = self.block_bias or bool(self._optional(variant, "mlp_bias"))
        return mlp(width, inner, rows, gated=self.gated, bias=bias)

    def _tied(self, variant: Variant) -> bool:
        return self.generates(variant) and bool(self.value(variant, "tie_word_embeddings"))

    def _head(self, variant: Variant, case: Case, logits: Logits) -> tuple[Component, ...]:
        width, rows = self.value(variant, "hidden_size"), case.batch * case.tokens
        match variant.task:
            case "causal-lm":
                at = case.batch if logits == "last" else rows
                head = dense("LM head", width, self.value(variant, "vocab_size"), at, bias=self.head_bias)
                if self._tied(variant):  # but for a bias its parameters are the token embedding's
                    head = msgspec.structs.replace(head, params=head.params - head.matrices, matrices=0, channels=0)
                return (head,)
            case "sequence-classification":  # scored at every position, the last one is kept; no bias
                return (dense("classifier", width, self.labels(variant), rows, bias=False),)
            case "token-classification":
                return (dense("classifier", width, self.labels(variant), rows),)
            case "question-answering":
                return (dense("span head", width, 2, rows),)
            case _:
                return ()

    def notes(self, variant: Variant) -> tuple[str, ...]:
        return (TIED,) if self._tied(variant) else ()

    def caches(self, variant: Variant) -> bool:
        return variant.task in ("causal-lm", "base")

    def generates(self, variant: Variant) -> bool:
        return variant.task == "causal-lm"


class SparseDecoder(Decoder):
    """A mixture of experts in every layer."""

    inner_key: ClassVar[str]  # of the inner width of an expert
    experts_key: ClassVar[str]

    def _mlp(self, variant: Variant, rows: int) -> tuple[Component, ...]:
        return experts(
            self.value(variant, "hidden_size"),
            self.value(variant, self.inner_key),
            rows,
            stored=self.value(variant, self.experts_key),
            active=self.value(variant, "num_experts_per_tok"),
        )

    def active_params(self, variant: Variant) -> int:
        """Parameters that take part in the computation of one token: all but those of the experts not chosen."""
        stored, active = self.value(variant, self.experts_key), self.value(variant, "num_experts_per_tok")
        parts = self.components(variant, self.example(variant))
        of_experts = sum(part.count * part.params for part in parts if part.name.startswith("expert "))
        return self.params(variant) - int(of_experts * (stored - active) // stored)

    def notes(self, variant: Variant) -> tuple[str, ...]:
        stored, active = self.value(variant, self.experts_key), self.value(variant, "num_experts_per_tok")
        return (
            *super().notes(variant),
            f"A mixture of experts: of {self.params(variant):,} stored parameters, {self.active_params(variant):,} are "
            f"active for a token, which {active:,} of the {stored:,} experts of a layer process.",
        )


def sized_row(
    family: str,
    name: str,
    source: str,
    sizes: tuple[int, int, int, int, int, int, int],
    **config: Any,
) -> Variant:
    """A variant; `config` has what differs from the family's defaults, besides sizes.

    Args:
        sizes: layers, width, inner width of the MLP, heads, heads of keys and values, vocabulary, positions.
    """
    layers, width, inner, heads, kv_heads, vocabulary, positions = sizes
    return row(
        family,
        "causal-lm",
        name,
        max_tokens=tokens_before_rescaling(config) or positions,
        source=source,
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=inner,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        vocab_size=vocabulary,
        max_position_embeddings=positions,
        **config,
    )
