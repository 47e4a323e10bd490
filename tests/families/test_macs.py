"""Multiply-accumulates, worked out by hand. d: width 768, d x d = 589,824, inner width 3,072, 12 layers."""

from math import prod

import pytest

from edgeprof.families import family_of, find_variant
from edgeprof.schema import Case, Logits


def macs(name: str, case: Case, logits: Logits = "all") -> int:
    variant = find_variant(name)
    return family_of(variant).macs(variant, case, logits)


def attention_macs(name: str, case: Case) -> int:
    variant = find_variant(name)
    parts = family_of(variant).components(variant, case)
    return sum(part.count * part.macs for part in parts if part.name in ("attention scores", "weighted sum of values"))


def test_bert_base_at_128_tokens() -> None:
    """A layer: projections 4 x 128 x 589,824 = 301,989,888; scores and weighted sum 2 x 128 x 128 x 768 = 25,165,824;
    MLP 2 x 128 x 768 x 3,072 = 603,979,776; together 931,135,488. Twelve, and the pooler's 589,824 once a row."""
    assert macs("bert-base", Case(batch=1, tokens=128)) == 12 * 931_135_488 + 589_824 == 11_174_215_680


def test_vit_base_at_224_pixels() -> None:
    """197 tokens. A layer: 464,781,312 + 2 x 197 x 197 x 768 = 59,610,624 + 929,562,624; together 1,453,954,560.
    Patch embedding 196 x (16 x 16 x 3) x 768 = 115,605,504; the head 768 x 1,000."""
    expected = 12 * 1_453_954_560 + 115_605_504 + 768_000
    assert macs("vit-base", Case(batch=1, tokens=197)) == expected == 17_563_828_224


def test_gpt2_at_128_tokens_and_its_head() -> None:
    """Twelve layers as in BERT: 11,173,625,856. The head: 50,257 x 768 = 38,597,376 a position, 128 times or once."""
    case = Case(batch=1, tokens=128)
    assert macs("gpt2", case) == 11_173_625_856 + 128 * 38_597_376 == 16_114_089_984
    assert macs("gpt2", case, "last") == 11_173_625_856 + 38_597_376


def test_gpt2_decoding_one_token_after_512() -> None:
    """A layer: 12 x 589,824 = 7,077,888 for the token, 2 x 513 x 768 = 787,968 against everything before it."""
    assert macs("gpt2", Case(batch=1, tokens=1, past_tokens=512)) == 12 * (7_077_888 + 787_968) + 38_597_376


@pytest.mark.parametrize("name", ["gpt2", "bert-base", "vit-base"])
def test_a_batch_costs_its_rows(name: str) -> None:
    assert macs(name, Case(batch=3, tokens=50)) == 3 * macs(name, Case(batch=1, tokens=50))


def test_attention_is_3_percent_of_bert_base_at_128_tokens_and_10_percent_at_512() -> None:
    for tokens, percent in ((128, 2.7), (512, 10.0)):
        case = Case(batch=1, tokens=tokens)
        assert round(100 * attention_macs("bert-base", case) / macs("bert-base", case), 1) == percent


def test_the_kv_cache_of_gpt2_takes_73_728_bytes_a_token() -> None:
    """12 layers x keys and values x 12 heads x 64 x 4 bytes."""
    variant = find_variant("gpt2")
    sizes = family_of(variant).sizes(variant, Case(batch=1, tokens=1, past_tokens=1))
    cache = [spec for spec in family_of(variant).inputs(variant) if spec.name.startswith("past_key_values")]
    elements = sum(prod(sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims) for spec in cache)
    assert 4 * elements == 73_728
