"""Closed forms at random sizes: parameters are PyTorch's own, and every component grows with tokens as it should."""

from collections.abc import Callable
from typing import Any

import tiny_models
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeprof.families import family_of
from edgeprof.families.base import Component
from edgeprof.schema import Case, Variant

many = settings(max_examples=30, deadline=None, derandomize=True)

few, size, flag = st.integers(1, 4), st.integers(1, 50), st.booleans()
heads_and_width = st.tuples(few, st.integers(1, 12)).map(lambda pair: (pair[0], pair[0] * pair[1]))


def tasks(family: str) -> st.SearchStrategy[str]:
    return st.sampled_from([task for name, task in tiny_models.EVERY_TASK if name == family])


@st.composite
def gpt2(draw: st.DrawFn) -> Variant:
    heads, width = draw(heads_and_width)
    config = {"n_layer": draw(few), "n_head": heads, "n_embd": width, "n_inner": draw(st.none() | size)}
    config |= {"vocab_size": draw(size), "n_positions": draw(size), "tie_word_embeddings": draw(flag)}
    return tiny_models.variant("gpt2", draw(tasks("gpt2")), **config, num_labels=draw(st.integers(2, 9)))


@st.composite
def bert(draw: st.DrawFn) -> Variant:
    heads, width = draw(heads_and_width)
    config = {"num_hidden_layers": draw(few), "num_attention_heads": heads, "hidden_size": width}
    config |= {"intermediate_size": draw(size), "vocab_size": draw(size), "type_vocab_size": draw(few)}
    config |= {"max_position_embeddings": draw(size), "tie_word_embeddings": draw(flag), "pad_token_id": 0}
    task = draw(tasks("bert"))
    if task != "question-answering":  # whose labels are start and end
        config["num_labels"] = draw(st.integers(2, 9))
    return tiny_models.variant("bert", task, **config)


@st.composite
def decoder(draw: st.DrawFn) -> Variant:
    family, (heads, width) = draw(st.sampled_from(tiny_models.DECODERS)), draw(heads_and_width)
    config: dict[str, Any] = {"num_hidden_layers": draw(few), "num_attention_heads": heads, "hidden_size": width}
    config |= {"num_key_value_heads": draw(few), "head_dim": 2 * draw(few), "intermediate_size": draw(size)}
    config |= {"vocab_size": draw(size), "tie_word_embeddings": draw(flag), "num_labels": draw(st.integers(2, 9))}
    return tiny_models.variant(family, draw(tasks(family)), **config)


@st.composite
def vit(draw: st.DrawFn) -> Variant:
    (heads, width), patch = draw(heads_and_width), draw(st.integers(2, 9))
    config = {"num_hidden_layers": draw(few), "num_attention_heads": heads, "hidden_size": width}
    config |= {"intermediate_size": draw(size), "patch_size": patch, "image_size": draw(few) * patch + draw(flag)}
    config |= {"num_channels": draw(few), "qkv_bias": draw(flag), "num_labels": draw(st.integers(2, 9))}
    return tiny_models.variant("vit", draw(tasks("vit")), **config)


@st.composite
def mixer(draw: st.DrawFn) -> Variant:
    (heads, width), task = draw(heads_and_width), draw(st.sampled_from(tiny_models.MIXERS))
    config: dict[str, Any] = {"width": width, "tokens": draw(size)}
    if task in ("attention", "block") and draw(flag):
        config["heads"] = heads
    if task == "attention":
        config["cross"] = draw(st.none() | size)
    return tiny_models.variant("mixer", task, **config)


@st.composite
def embedding(draw: st.DrawFn) -> Variant:
    return tiny_models.variant("embedding", "lookup", vocabulary=draw(size), width=draw(size))


every_family = st.one_of(gpt2(), decoder(), bert(), vit(), mixer(), embedding())


def require_equal(variant: Variant) -> None:
    assert family_of(variant).params(variant) == tiny_models.torch_params(variant), variant


@many
@given(gpt2())
def test_gpt2_has_pytorchs_parameters(variant: Variant) -> None:
    require_equal(variant)


@many
@given(bert())
def test_bert_has_pytorchs_parameters(variant: Variant) -> None:
    require_equal(variant)


@many
@given(decoder())
def test_a_decoder_in_the_shape_of_llama_has_pytorchs_parameters(variant: Variant) -> None:
    require_equal(variant)


@many
@given(vit())
def test_vit_has_pytorchs_parameters(variant: Variant) -> None:
    require_equal(variant)


@many
@given(mixer())
def test_a_mixer_has_pytorchs_parameters(variant: Variant) -> None:
    require_equal(variant)


@many
@given(embedding())
def test_a_table_has_pytorchs_parameters(variant: Variant) -> None:
    require_equal(variant)


# --- growth ------------------------------------------------------------------------------------------------


def parts(variant: Variant, case: Case) -> dict[str, Component]:
    return {part.name: part for part in family_of(variant).components(variant, case)}


def growth(
    at: dict[str, Component], doubled: dict[str, Component], cost: Callable[[Component], int]
) -> dict[str, float]:
    """By how much a cost of each component grew, where it has any."""
    return {name: cost(doubled[name]) / cost(part) for name, part in at.items() if cost(part)}


SCORES = ("attention scores", "weighted sum of values")
PER_TOKEN = ("Q, K, V projections", "output projection", "MLP up", "MLP down", "pointwise layer")


@many
@given(every_family, st.integers(1, 3), st.integers(2, 500))
def test_twice_the_tokens_cost_what_they_should(variant: Variant, batch: int, tokens: int) -> None:
    crossing = variant.task == "attention" and variant.config["cross"] is not None
    at, doubled = (parts(variant, Case(batch=batch, tokens=n)) for n in (tokens, 2 * tokens))
    by = growth(at, doubled, lambda part: part.macs)
    assert all(by[name] == (2 if crossing else 4) for name in SCORES if name in by)
    assert all(by[name] == 2 for name in PER_TOKEN if name in by and not crossing)
    assert by.get("Gram matrix and product", 4) == by.get("token-mixing layer", 4) == 4
    learnt = growth(at, doubled, lambda part: part.params)
    assert set(learnt.values()) <= ({4.0} if variant.task == "dense" else {1.0})


@many
@given(every_family, st.integers(2, 60), st.integers(2, 5))
def test_a_batch_costs_its_rows_and_learns_nothing(variant: Variant, tokens: int, batch: int) -> None:
    one, several = (parts(variant, Case(batch=rows, tokens=tokens)) for rows in (1, batch))
    assert set(growth(one, several, lambda part: part.macs).values()) <= {batch}
    assert set(growth(one, several, lambda part: part.params).values()) <= {1}


@many
@given(gpt2(), st.integers(1, 3), st.integers(1, 500))
def test_a_decoded_token_costs_more_only_in_scores(variant: Variant, batch: int, past: int) -> None:
    """One token against p + 1: twice as many cached make it 2 p + 1."""
    at, doubled = (parts(variant, Case(batch=batch, tokens=1, past_tokens=n)) for n in (past, 2 * past))
    by = growth(at, doubled, lambda part: part.macs)
    assert {name: by.pop(name) for name in SCORES} == dict.fromkeys(SCORES, (2 * past + 1) / (past + 1))
    assert set(by.values()) == {1}
