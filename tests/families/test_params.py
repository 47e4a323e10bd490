"""Parameter counts are exact: for every variant, every task head, and every configuration value that changes them."""

from typing import Any

import pytest
import tiny_models

from edgeprof.families import TRANSFORMERS, family_of, find_variant, variants
from edgeprof.schema import Variant

TOTALS = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "gpt3-small": 125_226_240,
    "gpt3-medium": 355_871_744,
    "gpt3-large": 760_300_032,
    "gpt3-xl": 1_315_723_264,
    "gpt3-2.7b": 2_651_553_280,
    "gpt3-6.7b": 6_658_404_352,
    "gpt3-13b": 12_853_386_240,
    "gpt3": 174_604_259_328,
    "bert-tiny": 4_385_920,
    "bert-mini": 11_170_560,
    "bert-small": 28_763_648,
    "bert-medium": 41_373_184,
    "bert-base": 109_482_240,
    "bert-large": 335_141_888,
    "vit-tiny": 5_717_416,
    "vit-small": 22_050_664,
    "vit-base": 86_567_656,
    "vit-large": 304_326_632,
    "vit-huge": 632_045_800,
    "mixer-dense": 154_618_822_656,  # (512 x 768)^2
    "mixer-pointwise": 589_824,  # 768^2
    "mixer-gram": 0,
    "mixer-attention": 1_769_472,  # 3 x 768^2
    "mixer-block": 7_087_872,  # 12 x 768^2 + 13 x 768
    "embedding-word2vec": 900_000_000,  # 3,000,000 x 300
}


def counted(variant: Variant) -> int:
    return family_of(variant).params(variant)


def test_the_table_holds_these_variants_and_no_others() -> None:
    assert [variant.name for variant in variants()] == list(TOTALS)


@pytest.mark.parametrize("name", TOTALS)
def test_every_variant_has_the_published_number_of_parameters(name: str) -> None:
    assert counted(find_variant(name)) == TOTALS[name]


@pytest.mark.parametrize(
    ("name", "layers", "d"),
    [
        ("gpt3-small", 12, 768),
        ("gpt3-medium", 24, 1024),
        ("gpt3-large", 24, 1536),
        ("gpt3-xl", 24, 2048),
        ("gpt3-2.7b", 32, 2560),
        ("gpt3-6.7b", 32, 4096),
        ("gpt3-13b", 40, 5120),
        ("gpt3", 96, 12288),
    ],
)
def test_gpt3_is_tokens_positions_blocks_and_a_last_norm(name: str, layers: int, d: int) -> None:
    assert TOTALS[name] == 50_257 * d + 2048 * d + layers * (12 * d**2 + 13 * d) + 2 * d


@pytest.mark.parametrize("name", TOTALS)
def test_pytorch_counts_the_same(name: str) -> None:
    assert tiny_models.torch_params(find_variant(name)) == TOTALS[name]


@pytest.mark.parametrize(("family", "task"), tiny_models.EVERY_TASK)
def test_every_task_head_is_counted(family: str, task: str) -> None:
    variant = tiny_models.variant(family, task)
    assert counted(variant) == tiny_models.torch_params(variant)


@pytest.mark.parametrize(
    ("family", "task", "config"),
    [
        ("gpt2", "causal-lm", {"tie_word_embeddings": False}),
        ("gpt2", "causal-lm", {"n_inner": 40}),
        ("gpt2", "causal-lm", {"n_inner": None}),
        ("gpt2", "token-classification", {"num_labels": 5}),
        ("bert", "masked-lm", {"tie_word_embeddings": False}),
        ("bert", "base", {"type_vocab_size": 7}),
        ("bert", "sequence-classification", {"num_labels": 3}),
        ("vit", "image-classification", {"qkv_bias": False}),
        ("vit", "image-classification", {"num_channels": 1}),
    ],
)
def test_every_setting_that_changes_the_count_is_read(family: str, task: str, config: dict[str, Any]) -> None:
    variant = tiny_models.variant(family, task, **config)
    assert counted(variant) == tiny_models.torch_params(variant)


def test_one_block_of_width_768_has_7_087_872_parameters() -> None:
    """12 d^2 + 13 d: 12 x 589,824 + 13 x 768."""
    for name, layers in (("gpt2", "n_layer"), ("bert-base", "num_hidden_layers"), ("vit-base", "num_hidden_layers")):
        variant = find_variant(name)
        shorter = Variant(
            name=name,
            family=variant.family,
            task=variant.task,
            config={**variant.config, layers: 11},
            max_tokens=None,
        )
        assert counted(variant) - counted(shorter) == 7_087_872


def test_every_family_knows_the_defaults_of_its_transformers_configuration() -> None:
    import transformers

    for family in TRANSFORMERS:
        config = transformers.AutoConfig.for_model(family.model_type)
        for key, value in family.defaults.items():
            assert getattr(config, key) == value, (family.name, key)
