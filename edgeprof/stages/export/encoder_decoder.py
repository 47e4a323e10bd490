"""Encoder and decoder as two graphs, which meet in the keys and values of the cross-attention.

The encoder graph computes them once from the source. The decoder graph reads them, and so serves the first token, with
an empty past, and every step after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgeprof.families.base import BATCH, PAST, TOKENS, integer
from edgeprof.kv_cache import EXPORTED
from edgeprof.schema import Case, TensorSpec
from edgeprof.stages.export import caches
from edgeprof.stages.export.signature import (
    SOURCE,
    ModelInput,
    main_input,
    model_inputs,
    normal,
    optional_inputs,
    padded,
    token_ids,
)
from edgeprof.stages.export.whole_model import GraphOfModel, Tensors

if TYPE_CHECKING:
    from transformers import EncoderDecoderCache, PreTrainedModel

SELF, CROSS = "decoder", "encoder"

DECODER_CASES = (
    Case(batch=2, tokens=5, past_tokens=3, source_tokens=7),
    Case(batch=1, tokens=1, past_tokens=0, source_tokens=4),
    Case(batch=3, tokens=1, past_tokens=6, source_tokens=5),
    Case(batch=3, tokens=4, past_tokens=0, source_tokens=9),
)


def encoder_and_decoder(model: PreTrainedModel) -> list[GraphOfModel]:
    encoder = Encoder(model)
    return [encoder, DecoderWithSource(model, encoder)]


class Encoder(GraphOfModel):
    """The model run with one token of the decoder; what only its logits need is dead code, and removed."""

    role = "encoder"

    def __init__(self, model: PreTrainedModel) -> None:
        from edgeprof.stages.export.kinds import cases_of

        names = [main_input(model), *optional_inputs(model)]
        cases = cases_of(model)
        super().__init__(model, model_inputs(model, names, cases[0].image), cases)

    def cache(self, feeds: Tensors) -> EncoderDecoderCache:
        return self._run(feeds)["past_key_values"]

    def _run(self, feeds: Tensors):  # type: ignore[no-untyped-def]
        import torch

        first = next(iter(feeds.values()))
        start = torch.ones((first.shape[0], 1), dtype=torch.int64)
        return self.model(**feeds, decoder_input_ids=start, use_cache=True)

    def results(self, feeds: Tensors) -> Tensors:
        result = self._run(feeds)
        cross = caches.leaves(result["past_key_values"].cross_attention_cache)
        state = {"last_hidden_state": result["encoder_last_hidden_state"]}
        return state | {_name(EXPORTED.present, leaf, CROSS): tensor for leaf, tensor in cross.items()}


class DecoderWithSource(GraphOfModel):
    role = "decoder"

    def __init__(self, model: PreTrainedModel, encoder: Encoder) -> None:
        cache = encoder.cache(encoder.example())
        self.of_self = caches.leaves(cache.self_attention_cache)
        self.of_cross = caches.leaves(cache.cross_attention_cache)
        text = main_input(model) == "input_ids"
        self.source = SOURCE if text else next(iter(self.of_cross.values())).shape[2]
        inputs = [ModelInput(integer("input_ids", BATCH, TOKENS), token_ids(model))]
        if text:
            inputs.append(ModelInput(integer("encoder_attention_mask", BATCH, SOURCE), padded))
        for leaves, side, length in ((self.of_self, SELF, PAST), (self.of_cross, CROSS, self.source)):
            for leaf, example in leaves.items():
                dims = (BATCH, example.shape[1], length, example.shape[3])
                spec = TensorSpec(name=_name(EXPORTED.past, leaf, side), dtype="float32", dims=dims)
                inputs.append(ModelInput(spec, normal))
        super().__init__(model, inputs, DECODER_CASES)

    def results(self, feeds: Tensors) -> Tensors:
        return self._run(feeds, self._cache(self._sides(feeds)))

    def runner(self, feeds: Tensors) -> Callable[[], Tensors]:
        """Every run finds the same past: making the cache, which copies it, is not part of a run."""
        sides = self._sides(feeds)
        cache = self._cache(sides)

        def run() -> Tensors:
            caches.put_back(cache.self_attention_cache, sides[0])
            return self._run(feeds, cache)

        return run

    def _sides(self, feeds: Tensors) -> list[Tensors]:
        """The leaves of the decoder's cache, and those of the encoder's."""
        return [
            {leaf: feeds[_name(EXPORTED.past, leaf, side)] for leaf in leaves}
            for leaves, side in ((self.of_self, SELF), (self.of_cross, CROSS))
        ]

    def _cache(self, sides: Sequence[Tensors]) -> EncoderDecoderCache:
        from transformers import EncoderDecoderCache

        cache = EncoderDecoderCache(*(caches.rebuilt(leaves, self.model.config) for leaves in sides))
        cache.is_updated = dict.fromkeys(range(len(cache.cross_attention_cache.layers)), True)
        return cache

    def _run(self, feeds: Tensors, cache: EncoderDecoderCache) -> Tensors:
        import torch

        keys = next(iter(caches.leaves(cache.cross_attention_cache).values()))
        hidden = torch.zeros((keys.shape[0], keys.shape[2], _width(self.model)))  # not read: the cache has its keys
        given = {"attention_mask": feeds["encoder_attention_mask"]} if "encoder_attention_mask" in feeds else {}
        result = self.model(
            **given,
            encoder_outputs=(hidden,),
            decoder_input_ids=feeds["input_ids"],
            past_key_values=cache,
            use_cache=True,
        )
        present = caches.leaves(result["past_key_values"].self_attention_cache)
        return {"logits": result["logits"]} | {
            _name(EXPORTED.present, leaf, SELF): tensor for leaf, tensor in present.items()
        }


def _name(prefix: str, leaf: str, side: str) -> str:
    """past_key_values.0.decoder.key, as optimum names them."""
    layer, part = leaf.split(".")
    return f"{prefix}.{layer}.{side}.{part}"


def _width(model: PreTrainedModel) -> int:
    """Of the encoder's output."""
    config = model.config
    encoder = getattr(config, "encoder", None)
    return int(getattr(encoder, "hidden_size", None) or getattr(config, "d_model", None) or config.hidden_size)
