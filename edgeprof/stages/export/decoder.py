"""Decoders with a cache: one graph for prefill and decode, or one for each where a first run takes another path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from edgeprof.families.base import BATCH, PAST, TOKENS, TOTAL, Arrays, integer, real
from edgeprof.kv_cache import EXPORTED
from edgeprof.schema import Case, Logits, Role, TensorSpec
from edgeprof.stages.export import caches, recurrence
from edgeprof.stages.export.signature import (
    ModelInput,
    arrays_of,
    below,
    forward_names,
    model_inputs,
    normal,
    padded,
    text_config,
)
from edgeprof.stages.export.whole_model import GraphOfModel, Tensors, tensors, tensors_of

if TYPE_CHECKING:
    import torch
    from transformers import Cache, PreTrainedModel

POSITION_AXES = 3
"""Time, height and width."""

CASES = (
    Case(batch=2, tokens=5, past_tokens=3),
    Case(batch=1, tokens=1, past_tokens=0),
    Case(batch=3, tokens=7, past_tokens=0),
    Case(batch=1, tokens=1, past_tokens=9),
    Case(batch=3, tokens=1, past_tokens=6),
    Case(batch=3, tokens=3, past_tokens=4),
)
PREFILL_CASES = (Case(batch=2, tokens=5), Case(batch=1, tokens=1), Case(batch=3, tokens=7), Case(batch=1, tokens=12))
DECODE_CASES = (
    Case(batch=2, tokens=1, past_tokens=5),
    Case(batch=1, tokens=1, past_tokens=9),
    Case(batch=3, tokens=1, past_tokens=6),
)


def decoders(model: PreTrainedModel, logits: Logits, *, fused: bool) -> list[GraphOfModel]:
    """The graphs of a decoder.

    Args:
        fused: compute attention by one operator that writes its cache in place, where that is possible.

    Returns:
        One graph; two, "prefill" and "decode", for models with states of a recurrence.
    """
    found = caches.leaves(first_cache(model))
    if not caches.is_recurrent(found):
        return [_decoder(model, found, logits, fused)]
    return [FirstRun(model, found, logits), Decoder(model, found, logits, "decode", DECODE_CASES)]


def _decoder(model: PreTrainedModel, past: Tensors, logits: Logits, fused: bool) -> Decoder:
    from edgeprof.stages.export.fused_attention import NotFused
    from edgeprof.stages.export.fused_decoder import FusedDecoder

    if not fused:
        return Decoder(model, past, logits)
    try:
        return FusedDecoder(model, past, logits)
    except NotFused as problem:
        decoder = Decoder(model, past, logits)
        decoder.note = f"Attention is not fused: {problem.reason}."
        return decoder


def cache_name(model: PreTrainedModel) -> str:
    """What its forward calls the cache; "" where it takes none."""
    return next((name for name in ("past_key_values", "cache_params") if name in forward_names(model)), "")


def first_cache(model: PreTrainedModel) -> Cache:
    """The cache after a first run, which shows what its layers hold."""
    ids = tensors(arrays_of(model_inputs(model, ["input_ids"]), PREFILL_CASES[0], np.random.default_rng(0)))
    return model(**ids, use_cache=True)[cache_name(model)]


class Decoder(GraphOfModel):
    """New tokens, and the cache of earlier ones.

    Args:
        past: leaves of the cache that the graph reads, as examples of their shapes; none for a first run.
        embedded: takes embeddings in place of ids.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        past: Tensors,
        logits: Logits,
        role: Role = "model",
        cases: Sequence[Case] = CASES,
        *,
        embedded: bool = False,
    ) -> None:
        self.role, self.cache, self.past = role, cache_name(model), tuple(past)
        self.options = {"logits_to_keep": 1} if logits == "last" else {}
        inputs = [*_tokens(model, embedded), *(_of_cache(name, tensor) for name, tensor in past.items())]
        grows = any(name.endswith("key") for name in past)
        if role == "prefill" or grows:  # states hold no padding
            inputs.insert(1, ModelInput(integer("attention_mask", BATCH, TOTAL if past else TOKENS), padded))
        if role == "decode":  # where a run of one token takes another path than a first run
            inputs = [ModelInput(_of_one_token(one.spec), one.fill) for one in inputs]
        super().__init__(model, inputs, cases)
        self.optional = ()

    def feeds(self, case: Case, generator: np.random.Generator) -> Arrays:
        arrays = super().feeds(case, generator)
        if "position_ids" in arrays:
            arrays["position_ids"] += case.past_tokens
        if case.past_tokens and case.tokens == 1 and case.batch > 1 and "attention_mask" in arrays:
            # In a batch of sequences of different lengths, the padding of a shorter one precedes the new token.
            arrays["attention_mask"][-1] = 1
            arrays["attention_mask"][-1, case.past_tokens - 1] = 0
            if "position_ids" in arrays:
                arrays["position_ids"][..., -1, :] -= 1
        return arrays

    def results(self, feeds: Tensors) -> Tensors:
        return self._run(feeds, caches.rebuilt(self._past(feeds), self.model.config))

    def runner(self, feeds: Tensors) -> Callable[[], Tensors]:
        """Every run finds the same past: making the cache, which copies it, is not part of a run."""
        past = self._past(feeds)
        if not past:
            return partial(self.results, feeds)
        cache = caches.rebuilt(past, self.model.config)

        def run() -> Tensors:
            caches.put_back(cache, past)
            return self._run(feeds, cache)

        return run

    def _past(self, feeds: Tensors) -> Tensors:
        return {name: feeds[f"{EXPORTED.past}.{name}"] for name in self.past}

    def _run(self, feeds: Tensors, cache: Cache) -> Tensors:
        given = {name: tensor for name, tensor in feeds.items() if not name.startswith(EXPORTED.past)}
        result = self.model(**given, **{self.cache: cache}, use_cache=True, **self.options)
        present = caches.leaves(result[self.cache])
        return tensors_of(result) | {f"{EXPORTED.present}.{name}": tensor for name, tensor in present.items()}


class FirstRun(Decoder):
    """A decoder without past.

    Args:
        after: leaves of the cache after a first run, as examples of their shapes.
    """

    def __init__(self, model: PreTrainedModel, after: Tensors, logits: Logits) -> None:
        self.after = after
        super().__init__(model, {}, logits, "prefill", PREFILL_CASES)

    def results(self, feeds: Tensors) -> Tensors:
        import torch

        config = self.model.config
        if not torch.compiler.is_exporting():
            return self._run(feeds, caches.empty(config))
        with recurrence.traceable(self.model):
            return self._run(feeds, caches.padded(config, self.after, feeds["input_ids"].shape[0]))


def _tokens(model: PreTrainedModel, embedded: bool) -> list[ModelInput]:
    """Ids or embeddings of new tokens, and what else a model takes for each."""
    names = forward_names(model)
    if embedded:
        inputs = [ModelInput(real("inputs_embeds", BATCH, TOKENS, text_config(model).hidden_size), normal)]
        if "token_type_ids" in names:  # which of them are parts of an image
            inputs.append(ModelInput(integer("token_type_ids", BATCH, TOKENS), below(2)))
    else:
        inputs = model_inputs(model, ["input_ids"])
    if "position_ids" in names:
        axes = (POSITION_AXES,) if embedded and _has_axes(model) else ()
        inputs.append(ModelInput(integer("position_ids", *axes, BATCH, TOKENS), positions))
    return inputs


def _of_one_token(spec: TensorSpec) -> TensorSpec:
    sizes = {TOKENS: 1, TOTAL: f"{PAST} + 1"}
    return replace(spec, dims=tuple(sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in spec.dims))


def _has_axes(model: PreTrainedModel) -> bool:
    """Whether a token has a position in time, in height and in width."""
    return "mrope_section" in (getattr(text_config(model), "rope_parameters", None) or {})


def positions(shape: tuple[int, ...], generator: np.random.Generator) -> Any:
    """From 0 on; along the second and third axis farther from each other."""
    array = np.broadcast_to(np.arange(shape[-1]), shape).copy()
    return array * np.arange(1, POSITION_AXES + 1)[:, None, None] if len(shape) == POSITION_AXES else array


def _of_cache(name: str, example: torch.Tensor) -> ModelInput:
    """[batch, heads, past tokens, width] for keys and values; a state has its own shape."""
    grows = name.endswith(("key", "value"))
    dims = (BATCH, example.shape[1], PAST, *example.shape[3:]) if grows else (BATCH, *example.shape[1:])
    return ModelInput(TensorSpec(name=f"{EXPORTED.past}.{name}", dtype="float32", dims=dims), normal)
