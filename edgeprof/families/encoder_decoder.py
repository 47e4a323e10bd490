"""Encoder-decoders: an encoder that runs once, and a decoder that runs for every token and attends to its output.

They are two graphs. A run of the encoder, the prefill, also computes the keys and values that the decoder attends to.
A run of the decoder, the decode step, has a KV cache for its own tokens and one for those of the encoder.
"""

from __future__ import annotations

from edgeprof.families.base import BATCH, PAST, SOURCE, TOKENS, TOTAL
from edgeprof.families.transformers_family import TransformersFamily
from edgeprof.schema import Case, Phase, Record, Variant


class Runs(Record, frozen=True, kw_only=True):
    """What runs at a shape: the encoder, which has a case without source tokens, or the decoder."""

    batch: int
    encoded: int  # tokens that the encoder processes
    decoded: int  # tokens that the decoder processes
    past: int  # tokens in the decoder's own cache
    source: int  # tokens of the encoder's output

    @classmethod
    def at(cls, case: Case) -> Runs:
        if case.source_tokens:
            sizes = (0, case.tokens, case.past_tokens, case.source_tokens)
        else:
            sizes = (case.tokens, 0, 0, case.tokens)
        encoded, decoded, past, source = sizes
        return cls(batch=case.batch, encoded=encoded, decoded=decoded, past=past, source=source)


class EncoderDecoder(TransformersFamily):
    """What they have in common."""

    def case(self, variant: Variant, phase: Phase, batch: int, length: int) -> Case:
        """In prefill the encoder runs; in decode the decoder, with as many source tokens as tokens in its cache."""
        case = super().case(variant, phase, batch, length)
        if phase == "prefill":
            return case
        return Case(batch=batch, tokens=1, past_tokens=length, source_tokens=self.source_tokens(variant, length))

    def length_note(self, variant: Variant, phase: Phase) -> str:
        if variant.task == "encoder":
            return ""
        if phase == "prefill":
            return (
                "The tokens are those of the source: prefill is a run of the encoder, which also computes the keys and "
                "values that the decoder attends to."
            )
        fixed = self.fixed_tokens(variant)
        source = f"{fixed:,} tokens" if fixed else "as many tokens as are cached"
        return f"A decode step is a run of the decoder; the source has {source}, whose keys and values are cached, too."

    def source_tokens(self, variant: Variant, cached: int) -> int:
        """Tokens of the encoder's output in a decode step with so many tokens in the cache."""
        return max(cached, 1)

    def caches(self, variant: Variant) -> bool:
        return variant.task != "encoder"

    def sizes(self, variant: Variant, case: Case) -> dict[str, int]:
        return {
            BATCH: case.batch,
            TOKENS: case.tokens,
            PAST: case.past_tokens,
            TOTAL: case.past_tokens + case.tokens,
            SOURCE: case.source_tokens or case.tokens,
        }
