"""Mixers and the lookup table: costs worked out by hand, sizes that a user chooses, and what they are called then."""

from typing import Any

import pytest
import tiny_models

from edgeprof.errors import UsageError
from edgeprof.families import family_of, find_variant, resized
from edgeprof.families.base import Component, Summary
from edgeprof.families.mixer import gram_rank
from edgeprof.schema import Case, Variant


def macs(name: str, case: Case, **sizes: int) -> int:
    variant = resized(find_variant(name), **sizes)
    return family_of(variant).macs(variant, case)


def part(name: str, component: str, case: Case, **sizes: int) -> Component:
    variant = resized(find_variant(name), **sizes)
    return next(one for one in family_of(variant).components(variant, case) if one.name == component)


# --- costs at 512 x 768: n d = 393,216; n d^2 = 301,989,888; n^2 d = 201,326,592 ------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mixer-dense", 393_216**2),
        ("mixer-pointwise", 301_989_888),
        ("mixer-gram", 2 * 201_326_592),
        ("mixer-attention", 3 * 301_989_888 + 2 * 201_326_592),
        ("mixer-block", 12 * 301_989_888 + 2 * 201_326_592),
        ("embedding-word2vec", 0),
    ],
)
def test_macs_at_512_tokens(name: str, expected: int) -> None:
    assert macs(name, Case(batch=1, tokens=512)) == expected
    assert macs(name, Case(batch=3, tokens=512)) == 3 * expected


def test_a_dense_layer_is_counted_at_the_requested_tokens() -> None:
    """At 4 tokens of width 5: a matrix of 20 x 20; the variant's own parameters are those at its own length."""
    layer = part("mixer-dense", "token-mixing layer", Case(batch=2, tokens=4), width=5, tokens=7)
    assert (layer.params, layer.macs, layer.activations, layer.live) == (400, 800, 40, 80)
    variant = resized(find_variant("mixer-dense"), width=5, tokens=7)
    assert family_of(variant).params(variant) == 35**2


def test_cross_attention_projects_the_other_sequence_and_scores_against_it() -> None:
    """n = 10, m = 4, d = 8, 2 heads: Q of 10 tokens, K and V of 4; 10 x 4 scores for each head."""
    case = Case(batch=1, tokens=10)
    projections = part("mixer-attention", "Q, K, V projections", case, width=8, heads=2, cross=4)
    assert (projections.params, projections.macs) == (3 * 64, (10 + 2 * 4) * 64)
    assert projections.activations == 80 + 2 * 32
    assert projections.live == 80 + 32 + projections.activations  # states, context, and what is made of them
    scores = part("mixer-attention", "attention scores", case, width=8, heads=2, cross=4)
    assert (scores.macs, scores.activations) == (10 * 4 * 8, 2 * 10 * 4)
    assert scores.live == 80 + 32 + 80 + 2 * 32 + 80  # states, context, queries, keys and values, scores


def test_parameters_of_attention_depend_neither_on_heads_nor_on_a_second_sequence() -> None:
    for sizes in ({}, {"heads": 12}, {"cross": 3000}, {"heads": 64, "cross": 1}):
        variant = resized(find_variant("mixer-attention"), **sizes)
        assert family_of(variant).params(variant) == tiny_models.torch_params(variant) == 3 * 768**2


def test_a_gram_matrix_is_alive_beside_its_operand() -> None:
    layer = part("mixer-gram", "Gram matrix and product", Case(batch=2, tokens=3), width=5)
    assert (layer.params, layer.macs) == (0, 2 * 2 * 3 * 3 * 5)
    assert (layer.activations, layer.live) == (2 * (9 + 15), 2 * (15 + 9 + 15))


@pytest.mark.parametrize(("tokens", "width"), [(1, 7), (12, 5), (5, 12), (40, 40), (100, 64)])
def test_x_x_transposed_x_has_the_rank_of_the_shorter_side(tokens: int, width: int) -> None:
    assert gram_rank(tokens, width) == gram_rank(tokens, width, seed=7) == min(tokens, width)


# --- sizes a user chooses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sizes", "called"),
    [
        ("mixer-attention", {"width": 64, "heads": 4}, "mixer-attention-w64-h4"),
        ("mixer-attention", {"cross": 128}, "mixer-attention-cross128"),
        ("mixer-dense", {"width": 16, "tokens": 8}, "mixer-dense-w16-t8"),
        ("mixer-dense", {"tokens": 8}, "mixer-dense-t8"),
        ("mixer-dense", {"width": 768, "tokens": 512}, "mixer-dense"),
        ("mixer-attention", {"heads": 1}, "mixer-attention"),
        ("mixer-block", {"heads": 12}, "mixer-block"),
        ("mixer-block", {"width": 128, "heads": 2}, "mixer-block-w128"),
        ("mixer-block", {"width": 128, "heads": 4}, "mixer-block-w128-h4"),
        ("embedding-word2vec", {"width": 100}, "embedding-word2vec-w100"),
        ("gpt2", {}, "gpt2"),
    ],
)
def test_a_name_tells_what_differs_from_the_row(name: str, sizes: dict[str, int], called: str) -> None:
    row = find_variant(name)
    variant = resized(row, **sizes)
    assert variant.name == called
    assert (variant == row) == (called == name)


@pytest.mark.parametrize(("width", "heads"), [(768, 12), (128, 2), (64, 1), (96, 1), (32, 1)])
def test_a_block_has_heads_of_64_where_that_divides_its_width(width: int, heads: int) -> None:
    variant = resized(find_variant("mixer-block"), width=width)
    assert family_of(variant).summary(variant) == Summary(layers=1, width=width, heads=heads)


def test_a_dense_layer_takes_its_own_length_and_no_other() -> None:
    variant = resized(find_variant("mixer-dense"), width=16, tokens=8)
    family = family_of(variant)
    assert (variant.max_tokens, family.fixed_tokens(variant)) == (8, 8)
    assert [spec.dims for spec in family.inputs(variant)] == [("batch_size", 8, 16)]
    assert {case.tokens for case in (family.example(variant), *family.cases(variant))} == {8}
    assert {case.batch for case in family.cases(variant)} == {1, 3}


def test_everything_else_takes_any_length() -> None:
    for name in ("mixer-pointwise", "mixer-gram", "mixer-attention", "mixer-block", "embedding-word2vec"):
        variant = find_variant(name)
        assert (variant.max_tokens, family_of(variant).fixed_tokens(variant)) == (None, None)


def test_a_second_sequence_has_a_length_of_its_own() -> None:
    variant = resized(find_variant("mixer-attention"), width=64, cross=128)
    family = family_of(variant)
    states, context = family.inputs(variant)
    assert states.dims == ("batch_size", "sequence_length", 64)
    assert context.dims == ("batch_size", "context_length", 64)
    assert family.sizes(variant, Case(batch=2, tokens=9))["context_length"] == 128


@pytest.mark.parametrize(
    ("variant", "sizes", "message"),
    [
        (
            find_variant("gpt2"),
            {"width": 64},
            r"^gpt2 has no option --width\. Models with it: mixer-dense, .*embedding-word2vec",
        ),
        (
            find_variant("mixer-gram"),
            {"heads": 2},
            r"has no option --heads\. Models with it: mixer-attention, mixer-block\.",
        ),
        (find_variant("mixer-block"), {"cross": 2}, r"has no option --cross\. Models with it: mixer-attention\."),
        (find_variant("mixer-attention"), {"tokens": 2}, r"has no option --tokens\. Models with it: mixer-dense\."),
        (find_variant("embedding-word2vec"), {"tokens": 2}, r"has no option --tokens"),
        (tiny_models.variant("bert", "base"), {"width": 64}, r"small-bert has no option --width"),
        (
            find_variant("mixer-attention"),
            {"width": 10, "heads": 3},
            r"A width of 10 cannot be divided among 3 heads\.",
        ),
        (find_variant("mixer-block"), {"heads": 7}, r"A width of 768 cannot be divided among 7 heads\."),
        (find_variant("mixer-dense"), {"width": 0}, r"--width must be at least 1, not 0\."),
        (find_variant("mixer-attention"), {"cross": -1}, r"--cross must be at least 1, not -1\."),
    ],
)
def test_sizes_that_cannot_be(variant: Variant, sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resized(variant, **sizes)


# --- GPT-3 ---------------------------------------------------------------------------------------------------


def test_gpt3_takes_2048_tokens_and_says_how_it_differs_from_the_original() -> None:
    variant = find_variant("gpt3")
    family = family_of(variant)
    assert family.summary(variant) == Summary(layers=96, width=12288, heads=96, vocabulary=50_257, positions=2048)
    assert variant.max_tokens == 2048
    assert "sparse attention" in family.notes(variant)[-1]
    assert not any("sparse" in note for note in family.notes(find_variant("gpt2")))
