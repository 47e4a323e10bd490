"""Whisper: an encoder of log-mel frames behind two convolutions, and a decoder of text.

Radford et al. 2023, "Robust speech recognition via large-scale weak supervision", section 2.2 and table 1. The second
convolution has a stride of 2: 30 seconds are 3,000 frames and 1,500 tokens of the encoder. With c mel bins, width d and
n such tokens, before the blocks:

    first convolution     3 c d weights and d biases     2 n 3 c d MACs
    second convolution    3 d^2 weights and d biases     n 3 d^2 MACs

Blocks are those of `edgeprof.families.block`, without a bias of the keys; those of the decoder also attend to the
encoder's output.
"""

from __future__ import annotations

import msgspec

from edgeprof.families.base import FRAMES, Component, Summary, row
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
    table,
    token_embedding,
)
from edgeprof.families.config_values import MOST_LAYERS, SHARED, activation, flag, only, size
from edgeprof.families.encoder_decoder import EncoderDecoder, Runs
from edgeprof.families.transformers_family import Task
from edgeprof.schema import Case, Logits, Phase, Variant

STRIDE = 2  # of the convolutions together: frames for a token of the encoder
KERNEL = 3


def _row(
    name: str, layers: int, width: int, *, decoder_layers: int | None = None, mel: int = 80, vocabulary: int = 51865
) -> Variant:
    return row(
        "whisper",
        "speech-seq2seq",
        name,
        max_tokens=448,
        source=f"openai/{name}",
        encoder_layers=layers,
        decoder_layers=decoder_layers or layers,
        d_model=width,
        encoder_attention_heads=width // 64,
        decoder_attention_heads=width // 64,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
        num_mel_bins=mel,
        vocab_size=vocabulary,
    )


class Whisper(EncoderDecoder):
    name = model_type = "whisper"
    activation_key = "activation_function"
    heads_key = "encoder_attention_heads"
    tasks = (Task(name="speech-seq2seq", architecture="WhisperForConditionalGeneration", outputs=("logits",)),)
    defaults = {
        "vocab_size": 51865,
        "num_mel_bins": 80,
        "encoder_layers": 4,
        "encoder_attention_heads": 6,
        "decoder_layers": 4,
        "decoder_attention_heads": 6,
        "decoder_ffn_dim": 1536,
        "encoder_ffn_dim": 1536,
        "activation_function": "gelu",
        "d_model": 384,
        "max_source_positions": 1500,
        "max_target_positions": 448,
        "tie_word_embeddings": True,
    }
    settings = {
        **SHARED,
        "vocab_size": size(),
        "num_mel_bins": size(),
        "encoder_layers": size(most=MOST_LAYERS),
        "encoder_attention_heads": size(),
        "decoder_layers": size(most=MOST_LAYERS),
        "decoder_attention_heads": size(),
        "decoder_ffn_dim": size(),
        "encoder_ffn_dim": size(),
        "activation_function": activation(),
        "d_model": size(),
        "max_source_positions": size(),
        "max_target_positions": size(),
        "tie_word_embeddings": flag(),
        "is_encoder_decoder": only("true", True),
    }
    variants = (
        _row("whisper-tiny", 4, 384),
        _row("whisper-base", 6, 512),
        _row("whisper-small", 12, 768),
        _row("whisper-medium", 24, 1024),
        _row("whisper-large-v3", 32, 1280, mel=128, vocabulary=51866),
        _row("whisper-large-v3-turbo", 32, 1280, decoder_layers=4, mel=128, vocabulary=51866),
    )

    def summary(self, variant: Variant) -> Summary:
        """Layers are those of the encoder and of the decoder together; positions are the decoder's."""
        return Summary(
            layers=self.value(variant, "encoder_layers") + self.value(variant, "decoder_layers"),
            width=self.value(variant, "d_model"),
            heads=self.value(variant, "encoder_attention_heads"),
            vocabulary=self.value(variant, "vocab_size"),
            positions=self.value(variant, "max_target_positions"),
        )

    def components(self, variant: Variant, case: Case, logits: Logits = "all") -> tuple[Component, ...]:
        """Sizes and layout as in the docstring of the module."""
        runs, width = Runs.at(case), self.value(variant, "d_model")
        encoded, decoded = runs.batch * runs.encoded, runs.batch * runs.decoded
        return (
            _convolution("first convolution", self.value(variant, "num_mel_bins"), width, STRIDE * encoded),
            _convolution("second convolution", width, width, encoded),
            table("encoder positions", self.value(variant, "max_source_positions"), width, runs.encoded, added=True),
            *repeated(
                self.value(variant, "encoder_layers"),
                *self._block(variant, "encoder", runs.batch, runs.encoded, runs.encoded, norms=2),
                prefix="encoder ",
            ),
            _last_norm("encoder", width, encoded),
            token_embedding(self.value(variant, "vocab_size"), width, decoded, tied=self._tied(variant)),
            table("decoder positions", self.value(variant, "max_target_positions"), width, decoded),
            *repeated(
                self.value(variant, "decoder_layers"),
                *self._block(variant, "decoder", runs.batch, runs.decoded, runs.past + runs.decoded, norms=3),
                prefix="decoder ",
            ),
            *repeated(self.value(variant, "decoder_layers"), *self._cross(variant, runs), prefix="cross "),
            _last_norm("decoder", width, decoded),
            self._head(variant, runs, logits),
        )

    def _block(
        self, variant: Variant, side: str, batch: int, queries: int, keys: int, *, norms: int
    ) -> tuple[Component, ...]:
        width, rows = self.value(variant, "d_model"), batch * queries
        return (
            *attention(
                width=width,
                heads=self.value(variant, f"{side}_attention_heads"),
                batch=batch,
                queries=queries,
                keys=keys,
                projected=queries,
                kept=rows * width,
                normed=rows * width,
                key_bias=False,
                cached=side == "decoder",
            ),
            output_projection(width, width, rows),
            *mlp(width, self.value(variant, f"{side}_ffn_dim"), rows),
            block_norms(norms, width, rows),
        )

    def _cross(self, variant: Variant, runs: Runs) -> tuple[Component, ...]:
        width, heads = self.value(variant, "d_model"), self.value(variant, "decoder_attention_heads")
        return (
            *cross_attention(
                width=width,
                heads=heads,
                head=width // heads,
                batch=runs.batch,
                queries=runs.decoded,
                keys=runs.source,
                projected=runs.encoded,
                bias=True,
                key_bias=False,
            ),
            output_projection(width, width, runs.batch * runs.decoded),
        )

    def _tied(self, variant: Variant) -> bool:
        return bool(self.value(variant, "tie_word_embeddings"))

    def _head(self, variant: Variant, runs: Runs, logits: Logits) -> Component:
        width, vocabulary = self.value(variant, "d_model"), self.value(variant, "vocab_size")
        rows = runs.batch * (min(runs.decoded, 1) if logits == "last" else runs.decoded)
        head = dense("LM head", width, vocabulary, rows, bias=False)
        return msgspec.structs.replace(head, params=0, matrices=0, channels=0) if self._tied(variant) else head

    def notes(self, variant: Variant) -> tuple[str, ...]:
        return (TIED,) if self._tied(variant) else ()

    def generates(self, variant: Variant) -> bool:
        return True

    def fixed_tokens(self, variant: Variant, phase: Phase = "prefill") -> int | None:
        """The encoder always processes 30 seconds."""
        return int(self.value(variant, "max_source_positions")) if phase == "prefill" else None

    def source_tokens(self, variant: Variant, cached: int) -> int:
        return int(self.value(variant, "max_source_positions"))

    def sizes(self, variant: Variant, case: Case) -> dict[str, int]:
        return {**super().sizes(variant, case), FRAMES: STRIDE * (case.source_tokens or case.tokens)}


def _convolution(name: str, channels: int, width: int, rows: int) -> Component:
    """Weight quantization shrinks its kernel, but not its work."""
    part = dense(name, KERNEL * channels, width, rows)
    return msgspec.structs.replace(
        part, matrices=0, channels=0, kernels=part.matrices, filters=width, live=rows * (channels + width)
    )


def _last_norm(side: str, width: int, rows: int) -> Component:
    return msgspec.structs.replace(norms(1, width, rows), name=f"{side} last norm")
