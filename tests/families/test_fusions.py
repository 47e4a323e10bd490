"""What onnxruntime has to run as one operator: numbers by hand, for every family and operator set."""

import pytest
import tiny_models

from edgeprof.families import family_of, find_variant
from edgeprof.families.expected_fusions import ATTENTION, GELU, GROUPED, NORM
from edgeprof.schema import Variant


def expected(variant: Variant, opset: int = 24) -> dict[str, int]:
    return family_of(variant).fusions(variant, opset)


@pytest.mark.parametrize(
    ("name", "layers"), [("gpt2", 12), ("gpt2-xl", 48), ("bert-tiny", 2), ("bert-base", 12), ("vit-huge", 32)]
)
def test_one_attention_two_norms_and_one_gelu_a_block_and_a_norm_outside(name: str, layers: int) -> None:
    assert expected(find_variant(name)) == {ATTENTION: layers, NORM: 2 * layers + 1, GELU: layers}


@pytest.mark.parametrize(
    ("family", "task", "attentions", "norms", "gelus"),
    [
        ("distilbert", "masked-lm", 2, 6, {GELU: 3}),  # two a block, of the embedding, of the head
        ("roberta", "masked-lm", 2, 6, {GELU: 3}),
        ("modernbert", "masked-lm", 2, 6, {GELU: 3}),  # none before the first attention, but one after the last block
        ("dinov2", "base", 2, 5, {GELU: 2}),
        ("clip", "dual-encoder", 5, 13, {"QuickGelu": 5}),  # 2 and 3 blocks, after the text, around the image
    ],
)
def test_encoders_as_onnxruntime_was_seen_to_run_them(
    family: str, task: str, attentions: int, norms: int, gelus: dict[str, int]
) -> None:
    assert expected(tiny_models.variant(family, task)) == {ATTENTION: attentions, NORM: norms, **gelus}


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_decoders_have_an_attention_and_an_activation_a_block(family: str) -> None:
    assert expected(tiny_models.variant(family, "causal-lm")) == {ATTENTION: 2, "QuickGelu": 2}


def test_masked_language_model_has_a_gelu_and_a_norm_in_its_head() -> None:
    assert expected(tiny_models.variant("bert", "masked-lm")) == {ATTENTION: 2, NORM: 6, GELU: 3}


@pytest.mark.parametrize(
    ("name", "desired"),
    [
        ("mixer-dense", {}),
        ("mixer-pointwise", {}),
        ("mixer-gram", {}),
        ("mixer-attention", {ATTENTION: 1}),
        ("mixer-block", {ATTENTION: 1, NORM: 2, GELU: 1}),
        ("embedding-word2vec", {}),
    ],
)
def test_single_layers(name: str, desired: dict[str, int]) -> None:
    assert expected(find_variant(name)) == desired


@pytest.mark.parametrize(("opset", "attention"), [(18, 0), (22, 0), (23, 12), (24, 12)])
def test_attention_is_an_operator_from_23_on(opset: int, attention: int) -> None:
    assert expected(find_variant("vit-base"), opset).get(ATTENTION, 0) == attention


@pytest.mark.parametrize(("opset", "gelu"), [(18, 0), (19, 0), (20, 4)])
def test_gelu_is_an_operator_from_20_on(opset: int, gelu: int) -> None:
    assert expected(find_variant("bert-mini"), opset).get(GELU, 0) == gelu


@pytest.mark.parametrize(
    ("activation", "operator"),
    [("gelu_new", GELU), ("gelu", GELU), ("gelu_pytorch_tanh", GELU), ("silu", "QuickGelu"), ("relu", None)],
)
def test_activation_of_a_checkpoint(activation: str, operator: str | None) -> None:
    result = expected(tiny_models.variant("gpt2", "base", activation_function=activation))
    assert result == {ATTENTION: 2, NORM: 5} | ({operator: 2} if operator else {})


def test_the_tanh_form_is_put_together_at_any_operator_set() -> None:
    assert expected(find_variant("gpt2"), 18) == {NORM: 25, GELU: 12}


def test_capped_scores_are_one_operator_only_where_attention_is_fused() -> None:
    gemma = find_variant("gemma-2-2b")
    assert expected(gemma) == {GELU: 26}
    assert family_of(gemma).fusions(gemma, 24, fused=True)[GROUPED] == 26
