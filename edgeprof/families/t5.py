"""T5: an encoder-decoder with relative positions, RMS norms, no biases.

Raffel et al. 2020, "Exploring the limits of transfer learning with a unified text-to-text transformer", section 2.1;
the MLP with a gate: Shazeer 2020, "GLU variants improve transformer".

With width d, inner width i, h heads of width e, an encoder of n tokens, and m tokens of the decoder in all:

    encoder layer    4 d h e + 2 d i weights    n (4 d h e + 2 d i) + 2 n^2 h e MACs
    decoder layer    8 d h e + 2 d i weights    6 d h e + 2 d i + 2 (m + n) h e MACs for a token
    cross K, V       of which 2 d h e           2 n d h e MACs in the encoder's run

A gate adds d i weights to each layer. The scores get a bias from a table of 32 rows of h, one in the encoder and one in
the decoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgeprof.families.base import Component, Summary, row
from edgeprof.families.block import (
    TIED,
    attention,
    block_norms,
    cross_attention,
    dense,
    mlp,
    norms,
    output_projection,
    repeated,
    token_embedding,
)
from edgeprof.families.config_values import ACTIVATIONS, MOST_LAYERS, SHARED, Setting, only, size
from edgeprof.families.encoder_decoder import EncoderDecoder, Runs
from edgeprof.families.transformers_family import Task
from edgeprof.schema import Case, Logits, Variant

GATED = "gated-"


def _row(name: str, layers: int, width: int) -> Variant:
    return row(
        "t5",
        "seq2seq-lm",
        name,
        source=f"google-t5/{name}",
        num_layers=layers,
        d_model=width,
        d_ff=4 * width,
        num_heads=width // 64,
    )


class T5(EncoderDecoder):
    name = "t5"
    model_type = "t5"
    heads_key = "num_heads"
    rms_norms = True
    tasks = (
        Task(name="seq2seq-lm", architecture="T5ForConditionalGeneration", outputs=("logits",)),
        Task(name="encoder", architecture="T5EncoderModel", outputs=("last_hidden_state",)),
    )
    defaults = {
        "vocab_size": 32128,
        "d_model": 512,
        "d_kv": 64,
        "d_ff": 2048,
        "num_layers": 6,
        "num_heads": 8,
        "relative_attention_num_buckets": 32,
        "feed_forward_proj": "relu",
    }
    settings = {
        **SHARED,
        "vocab_size": size(),
        "d_model": size(),
        "d_kv": size(),
        "d_ff": size(),
        "num_layers": size(most=MOST_LAYERS),
        "num_decoder_layers": size(most=MOST_LAYERS, optional=True),
        "num_heads": size(),
        "relative_attention_num_buckets": size(),
        "feed_forward_proj": Setting(
            allowed=f"an activation function, or {GATED} and one",
            fits=lambda value: isinstance(value, str) and value.removeprefix(GATED) in ACTIVATIONS,
        ),
        "tie_word_embeddings": only("true", True),  # otherwise the weights decide whether they are tied
        "is_encoder_decoder": only("true, or false of an encoder alone", True, False),
    }
    variants = (
        _row("t5-small", 6, 512),
        _row("t5-base", 12, 768),
        _row("t5-large", 24, 1024),
    )

    def summary(self, variant: Variant) -> Summary:
        """Layers are those of the encoder and of the decoder together; positions are relative, and any number."""
        return Summary(
            layers=self._layers(variant) + self._decoder_layers(variant),
            width=self.value(variant, "d_model"),
            heads=self.value(variant, "num_heads"),
            vocabulary=self.value(variant, "vocab_size"),
        )

    def activation(self, variant: Variant) -> str:
        written = str(self.value(variant, "feed_forward_proj")).removeprefix(GATED)
        return "gelu_new" if self.value(variant, "feed_forward_proj") == "gated-gelu" else written

    def require_consistent(self, variant: Variant, file: Path) -> None:
        """Heads have a width of their own, which need not divide the model's."""

    def model_options(self, variant: Variant) -> dict[str, Any]:
        return {}

    def _layers(self, variant: Variant) -> int:
        return int(self.value(variant, "num_layers"))

    def _decoder_layers(self, variant: Variant) -> int:
        if variant.task == "encoder":
            return 0
        return int(variant.config.get("num_decoder_layers") or self._layers(variant))

    def components(self, variant: Variant, case: Case, logits: Logits = "all") -> tuple[Component, ...]:
        """Sizes and layout as in the docstring of the module."""
        runs, width = Runs.at(case), self.value(variant, "d_model")
        encoder, decoder = self._layers(variant), self._decoder_layers(variant)
        return (
            token_embedding(
                self.value(variant, "vocab_size"), width, case.batch * case.tokens, tied=self.generates(variant)
            ),
            self._positions(variant, "encoder", runs.batch * runs.encoded * runs.encoded),
            *repeated(
                encoder, *self._block(variant, runs.batch, runs.encoded, runs.encoded, norms=2), prefix="encoder "
            ),
            self._last_norm("encoder", width, runs.batch * runs.encoded),
            *(self._decoder(variant, runs, decoder) if decoder else ()),
            *self._head(variant, runs, logits),
        )

    def _decoder(self, variant: Variant, runs: Runs, layers: int) -> tuple[Component, ...]:
        width, heads, head = (self.value(variant, key) for key in ("d_model", "num_heads", "d_kv"))
        keys = runs.past + runs.decoded
        cross = cross_attention(
            width=width,
            heads=heads,
            head=head,
            batch=runs.batch,
            queries=runs.decoded,
            keys=runs.source,
            projected=runs.encoded,
            bias=False,
            key_bias=False,
        )
        output = output_projection(heads * head, width, runs.batch * runs.decoded, bias=False)
        block = self._block(variant, runs.batch, runs.decoded, keys, norms=3, cached=True)
        return (
            self._positions(variant, "decoder", runs.batch * runs.decoded * keys),
            *repeated(layers, *block, prefix="decoder "),
            *repeated(layers, *cross, output, prefix="cross "),
            self._last_norm("decoder", width, runs.batch * runs.decoded),
        )

    def _block(
        self, variant: Variant, batch: int, queries: int, keys: int, *, norms: int, cached: bool = False
    ) -> tuple[Component, ...]:
        width, heads, head = (self.value(variant, key) for key in ("d_model", "num_heads", "d_kv"))
        rows, gated = batch * queries, str(self.value(variant, "feed_forward_proj")).startswith(GATED)
        return (
            *attention(
                width=width,
                heads=heads,
                head=head,
                batch=batch,
                queries=queries,
                keys=keys,
                projected=queries,
                kept=rows * width,
                normed=rows * width,
                bias=False,
                cached=cached,
            ),
            output_projection(heads * head, width, rows, bias=False),
            *mlp(width, self.value(variant, "d_ff"), rows, gated=gated, bias=False),
            block_norms(norms, width, rows, shift=False),
        )

    def _positions(self, variant: Variant, side: str, pairs: int) -> Component:
        """The table of biases: one per bucket of distances and head, looked up for every pair of tokens."""
        heads, buckets = self.value(variant, "num_heads"), self.value(variant, "relative_attention_num_buckets")
        return Component(
            name=f"{side} relative positions",
            params=buckets * heads,
            looked_up=buckets * heads,
            rows=buckets,
            activations=pairs * heads,
            live=pairs * heads,
        )

    def _last_norm(self, side: str, width: int, rows: int) -> Component:
        return msgspec.structs.replace(norms(1, width, rows, shift=False), name=f"{side} last norm")

    def _head(self, variant: Variant, runs: Runs, logits: Logits) -> tuple[Component, ...]:
        """The token embedding, used again."""
        if not self.generates(variant):
            return ()
        rows = runs.batch * (min(runs.decoded, 1) if logits == "last" else runs.decoded)
        head = dense("LM head", self.value(variant, "d_model"), self.value(variant, "vocab_size"), rows, bias=False)
        return (msgspec.structs.replace(head, params=0, matrices=0, channels=0),)

    def notes(self, variant: Variant) -> tuple[str, ...]:
        return (TIED,) if self.generates(variant) else ()

    def generates(self, variant: Variant) -> bool:
        return variant.task == "seq2seq-lm"
