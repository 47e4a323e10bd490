"""Names, sizes people know variants by, and the token lengths that images allow."""

from typing import Any

import pytest
from msgspec.structs import replace

from edgeprof.errors import RunError, UnknownName
from edgeprof.families import family_of, find_variant
from edgeprof.families.base import Summary
from edgeprof.schema import Case


@pytest.mark.parametrize(
    ("wrong", "meant"), [("gtp2", "gpt2"), ("bert_base", "bert-base"), ("vit-tinny", "vit-tiny"), ("GPT2", "gpt2")]
)
def test_a_misspelt_name_is_offered_the_nearest(wrong: str, meant: str) -> None:
    with pytest.raises(UnknownName, match=rf"Did you mean .*\b{meant}\b"):
        find_variant(wrong)


def test_a_name_like_no_other_is_shown_thirty_and_where_the_others_are() -> None:
    with pytest.raises(UnknownName, match=r"Known: gpt2, .* and 62 more\. `edgeprof models` lists them"):
        find_variant("zzz")


@pytest.mark.parametrize(
    ("name", "summary", "max_tokens"),
    [
        ("gpt2-xl", Summary(layers=48, width=1600, heads=25, vocabulary=50_257, positions=1024), 1024),
        ("bert-large", Summary(layers=24, width=1024, heads=16, vocabulary=30_522, positions=512), 512),
        ("vit-huge", Summary(layers=32, width=1280, heads=16, image=224, patch=14, channels=3), None),
    ],
)
def test_sizes_people_know(name: str, summary: Summary, max_tokens: int | None) -> None:
    variant = find_variant(name)
    assert (family_of(variant).summary(variant), variant.max_tokens) == (summary, max_tokens)


@pytest.mark.parametrize(
    ("requested", "true", "side"),
    [
        (512, 485, 352),  # 22 x 22 patches and the class token; 23 x 23 would be 530
        (197, 197, 224),
        (196, 170, 208),
        (2, 2, 16),
        (4, 2, 16),
    ],
)
def test_vit_takes_the_largest_square_image_with_at_most_so_many_tokens(requested: int, true: int, side: int) -> None:
    variant = find_variant("vit-base")
    family = family_of(variant)
    assert family.true_tokens(variant, requested) == true
    sizes = family.sizes(variant, Case(batch=1, tokens=true))
    assert (sizes["height"], sizes["width"]) == (side, side)


def test_no_image_has_one_token() -> None:
    variant = find_variant("vit-base")
    assert family_of(variant).true_tokens(variant, 1) == 0


def test_the_image_of_vit_huge_has_patches_of_14() -> None:
    variant = find_variant("vit-huge")
    assert family_of(variant).sizes(variant, Case(batch=1, tokens=257))["height"] == 224


def test_only_decoders_keep_a_cache() -> None:
    caching = {name: family_of(v).caches(v) for name in ("gpt2", "bert-tiny", "vit-tiny") if (v := find_variant(name))}
    assert caching == {"gpt2": True, "bert-tiny": False, "vit-tiny": False}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "none"}, r"The record of gpt2 names an unknown family, 'none'\. Export it again"),
        ({"config": {"n_layer": -5}}, r"The record of gpt2 sets n_layer to -5\. Allowed is a whole number from 1"),
        ({"config": {"n_embd": "768"}}, r"The record of gpt2 sets n_embd to '768'\. Allowed is a whole number"),
        ({"config": {"activation_function": "mine"}}, r"sets activation_function to 'mine'\. Allowed is one of gelu"),
        ({"task": "none"}, r"The record of gpt2 names an unknown task, 'none'\. Export it again"),
    ],
)
def test_a_variant_of_a_damaged_record_is_one_sentence(changes: dict[str, Any], message: str) -> None:
    variant = replace(find_variant("gpt2"), **changes)
    with pytest.raises(RunError, match=message):
        family = family_of(variant)
        family.fusions(variant, 24)
        family.task(variant)  # type: ignore[attr-defined]
