"""Closed forms against what is counted, node by node, on the graph that torch exports: exactly, at any shape.

The heads of every task are held against theirs in test_export.py, where they are exported anyway.
"""

from typing import Any

import pytest
import tiny_models
from counted_graphs import exported, require_counts
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edgeprof.families import family_of, find_variant, resized
from edgeprof.schema import Case, Variant

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's own, about its exporter

few = settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
"""Each example is an export of one to two seconds, too slow to make a failing one smaller by hundreds of others."""


def require_equal(variant: Variant, cases: list[Case]) -> None:
    require_counts(exported(variant)["model"], variant, cases)


cases = st.lists(
    st.builds(Case, batch=st.integers(1, 3), tokens=st.integers(1, 20), past_tokens=st.just(0)), min_size=2, max_size=3
)
heads, of_each, layers = st.integers(1, 3), st.integers(2, 9), st.integers(1, 2)
sizes = st.integers(3, 40)
vocabularies = st.integers(520, 600)  # a tied embedding of up to 1,024 values is folded: stored once more for the head


@few
@given(layers, heads, of_each, sizes, vocabularies, cases, st.integers(1, 12))
def test_gpt2(layers: int, heads: int, of_each: int, inner: int, vocabulary: int, at: list[Case], past: int) -> None:
    config = {"n_layer": layers, "n_head": heads, "n_embd": heads * of_each, "n_inner": inner}
    variant = tiny_models.variant("gpt2", "causal-lm", **config, vocab_size=vocabulary)
    require_equal(variant, [*at, Case(batch=2, tokens=1, past_tokens=past), Case(batch=1, tokens=3, past_tokens=past)])


@few
@given(layers, heads, of_each, sizes, sizes, cases)
def test_bert(layers: int, heads: int, of_each: int, inner: int, vocabulary: int, at: list[Case]) -> None:
    config: dict[str, Any] = {"num_hidden_layers": layers, "num_attention_heads": heads, "hidden_size": heads * of_each}
    require_equal(tiny_models.variant("bert", "base", **config, intermediate_size=inner, vocab_size=vocabulary), at)


@few
@given(layers, heads, of_each, sizes, st.integers(2, 6), st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5))))
def test_vit(layers: int, heads: int, of_each: int, inner: int, patch: int, at: list[tuple[int, int]]) -> None:
    config: dict[str, Any] = {"num_hidden_layers": layers, "num_attention_heads": heads, "hidden_size": heads * of_each}
    variant = tiny_models.variant("vit", "image-classification", **config, intermediate_size=inner, patch_size=patch)
    require_equal(variant, [Case(batch=batch, tokens=side * side + 1) for batch, side in [(1, 2), *at]])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mixer-dense", {"width": 6, "tokens": 7}),
        ("mixer-pointwise", {"width": 40}),
        ("mixer-gram", {"width": 10}),
        ("mixer-attention", {"width": 40, "heads": 4}),
        ("mixer-attention", {"width": 40, "cross": 9}),
        ("mixer-block", {"width": 40, "heads": 2}),
    ],
)
def test_mixers(name: str, options: dict[str, int]) -> None:
    variant = resized(find_variant(name), **options)
    require_equal(variant, [family_of(variant).example(variant), *family_of(variant).cases(variant)])
