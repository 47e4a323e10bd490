"""What PyTorch's `generate` gives, for `stages.generation` to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from edgeprof.families.base import Arrays
from edgeprof.stages import generation
from edgeprof.stages.export.blueprint import Blueprint
from edgeprof.stages.export.fused_operators import FAILURES
from edgeprof.stages.export.patches import Patches
from edgeprof.stages.export.signature import text_config
from edgeprof.stages.export.vision_language import placeholder
from edgeprof.stages.export.whole_model import Tensors, tensors

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

PROMPT, TOKENS = 4, 16
"""Lengths of the prompt and of what follows it."""

ONCE = ("encoder", "vision")
"""Roles of graphs that run once, before the first token."""

DECODER_IDS = "decoder_input_ids"


def expected(model: Any, blueprints: Sequence[Blueprint]) -> Arrays:
    """What `generate` of a model gives: greedy tokens, nothing forced, suppressed, or ended early.

    Args:
        blueprints: of the graphs that shall give the same.

    Returns:
        Nothing where the graphs do not generate. Else `graphs`: their roles; `prompt` and `tokens`: ids; `logit`: of
        each token; `lead`: by how much it leads the next best, relative to the largest; `token_type_ids` of the prompt
        where it has any, and its `position_ids` where they have three axes; and "<role>/<input>": what the graphs that
        run once are given.
    """
    import torch

    last = blueprints[-1]
    if not generation.generates([spec.name for spec in last.inputs], last.outputs) or not model.can_generate():
        return {}
    generator = np.random.default_rng(0)
    once = {one.role: _single(one, generator) for one in blueprints if one.role in ONCE}
    prompt = _prompt(model, blueprints, generator)
    types: Arrays = {}
    if "token_type_ids" in [spec.name for spec in last.inputs]:
        types = {"token_type_ids": (prompt == placeholder(model)).astype(np.int64)}
    ids = DECODER_IDS if "encoder" in once else "input_ids"
    given = {name: array for feeds in once.values() for name, array in feeds.items()} | types | {ids: prompt}
    for patches in (one for one in blueprints if isinstance(one, Patches)):
        beside = patches.beside(prompt, placeholder(model))
        given |= beside
        types["position_ids"] = patches.positions(torch.from_numpy(prompt), tensors(beside))
    tokens, logits = _generated(model, tensors(given), ids)
    best = logits.topk(2).values
    lead = (best[:, 0] - best[:, 1]) / logits.abs().amax(1).clamp(min=1)
    seen = _without_images(model, tokens)
    return {
        "graphs": np.array([one.role for one in blueprints]),
        "prompt": prompt,
        "tokens": tokens[:seen].numpy(),
        "logit": best[:seen, 0].numpy(),
        "lead": lead[:seen].numpy(),
        **types,
        **{f"{role}/{name}": array for role, feeds in once.items() for name, array in feeds.items()},
    }


def _single(blueprint: Blueprint, generator: np.random.Generator) -> Arrays:
    """Inputs of the largest case of one sequence or image."""
    case = max((case for case in blueprint.cases if case.batch == 1), key=lambda case: case.tokens)
    return blueprint.feeds(case, generator)


def _prompt(model: Any, blueprints: Sequence[Blueprint], generator: np.random.Generator) -> NDArray[Any]:
    """Random ids; with the placeholders of an image where the model reads one."""
    for one in blueprints:
        if one.role == "embedding":
            return one.feeds(replace(one.cases[0], batch=1), generator)["input_ids"]
    return generator.integers(0, text_config(model).vocab_size, (1, PROMPT))


def _generated(model: Any, given: Tensors, ids: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The new tokens [tokens], and the logits of each [tokens, vocabulary]."""
    import torch
    from transformers import GenerationConfig, GenerationMixin

    prompt = given[ids]
    mask = {} if ids == DECODER_IDS else {"attention_mask": torch.ones_like(prompt)}
    own = model.generation_config
    model.generation_config = GenerationConfig(
        do_sample=False, max_new_tokens=TOKENS, pad_token_id=0, decoder_start_token_id=int(prompt[0, 0])
    )
    try:  # that of every model: Whisper's own cuts its source into segments
        result: Any = GenerationMixin.generate(model, **given, **mask, return_dict_in_generate=True, output_logits=True)
    except FAILURES:  # of a T5 whose encoder has fewer layers than its decoder, for one
        return _without_cache(model, given, ids)
    finally:
        model.generation_config = own
    return result.sequences[0, prompt.shape[1] :], torch.cat(result.logits)


def _without_cache(model: Any, given: Tensors, ids: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by the forward of the model, over one more token each time."""
    import torch

    given, logits, start = dict(given), [], given[ids].shape[1]
    for _ in range(TOKENS):
        logits.append(model(**given, use_cache=False).logits[:, -1])
        given[ids] = torch.cat((given[ids], logits[-1].argmax(-1, keepdim=True)), 1)
        if "token_type_ids" in given:
            given["token_type_ids"] = torch.nn.functional.pad(given["token_type_ids"], (0, 1))
    return given[ids][0, start:], torch.cat(logits)


def _without_images(model: Any, tokens: torch.Tensor) -> int:
    """Tokens up to the first that stands for a part of an image: graphs would put one in its place."""
    found = (tokens == placeholder(model)).nonzero()
    return int(found[0]) + 1 if len(found) else len(tokens)
