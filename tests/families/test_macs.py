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


def test_smollm2_at_128_tokens_and_its_head() -> None:
    """Width 576, 9 heads and 3 of keys and values of 64. A layer: Q, K, V 128 x 576 x (576 + 2 x 192) = 70,778,880;
    scores and weighted sum 2 x 128 x 128 x 576 = 18,874,368; output 128 x 576 x 576 = 42,467,328; MLP 3 x 128 x 576 x
    1,536 = 339,738,624; together 471,859,200. Thirty, and 49,152 x 576 = 28,311,552 a position of the head."""
    case = Case(batch=1, tokens=128)
    assert macs("smollm2-135m", case) == 30 * 471_859_200 + 128 * 28_311_552 == 17_779_654_656
    assert macs("smollm2-135m", case, "last") == 30 * 471_859_200 + 28_311_552


def test_a_token_of_qwen3_30b_a3b_is_multiplied_with_8_of_128_experts() -> None:
    """Width 2,048. A layer: Q, K, V 2,048 x (4,096 + 2 x 512) = 10,485,760; output 4,096 x 2,048 = 8,388,608; router
    2,048 x 128 = 262,144; experts 8 x 3 x 2,048 x 768 = 37,748,736; attention to itself 2 x 4,096; together 56,893,440.
    Of the parameters of the experts, 48 x 120 x 3 x 2,048 x 768 = 27,179,089,920 are not active."""
    assert macs("qwen3-30b-a3b", Case(batch=1, tokens=1)) == 48 * 56_893_440 + 151_936 * 2048
    variant = find_variant("qwen3-30b-a3b")
    (note,) = family_of(variant).notes(variant)
    active = 30_532_122_624 - 27_179_089_920
    assert f"of 30,532,122,624 stored parameters, {active:,} are active for a token, which 8 of the 128" in note


def test_t5_small_encodes_128_tokens_and_decodes_one() -> None:
    """Width and heads together 512, inner width 2,048. The encoder: projections 4 x 128 x 512 x 512, attention 2 x 128
    x 128 x 512, MLP 2 x 128 x 512 x 2,048; and keys and values for each layer of the decoder, 2 x 128 x 512 x 512. A
    step: self-attention 4 x 512 x 512 + 2 x 129 x 512, cross-attention 2 x 512 x 512 + 2 x 128 x 512, MLP 2 x 512 x
    2,048."""
    square = 512 * 512
    encoder = 6 * (6 * 128 * square + 2 * 128 * 128 * 512 + 2 * 128 * 4 * square)
    assert macs("t5-small", Case(batch=1, tokens=128)) == encoder == 2_919_235_584
    step = 6 * (6 * square + 2 * 129 * 512 + 2 * 128 * 512 + 8 * square) + 32_128 * 512
    assert macs("t5-small", Case(batch=1, tokens=1, past_tokens=128, source_tokens=128)) == step


def test_whisper_tiny_hears_30_seconds() -> None:
    """Width 384, 1,500 tokens. Convolutions 3,000 x 3 x 80 x 384 + 1,500 x 3 x 384 x 384; four layers of 12 x 1,500 x
    384 x 384 + 2 x 1,500 x 1,500 x 384; keys and values for four layers of the decoder 2 x 1,500 x 384 x 384."""
    square = 384 * 384
    stem = 3000 * 3 * 80 * 384 + 1500 * 3 * square
    encoder = 4 * (12 * 1500 * square + 2 * 1500 * 1500 * 384) + 4 * 2 * 1500 * square
    assert macs("whisper-tiny", Case(batch=1, tokens=1500)) == stem + encoder == 20_238_336_000


def test_clip_compares_a_text_with_an_image() -> None:
    """A text of 77 tokens, width 512: 12 x (12 x 77 x 512 x 512 + 2 x 77 x 77 x 512); an image of 50, width 768: 12 x
    (12 x 50 x 768 x 768 + 2 x 50 x 50 x 768) and 49 patches of 32 x 32 x 3; projections to 512, and 512 to compare."""
    text = 12 * (12 * 77 * 512 * 512 + 2 * 77 * 77 * 512) + 512 * 512
    image = 12 * (12 * 50 * 768 * 768 + 2 * 50 * 50 * 768) + 49 * 3072 * 768 + 768 * 512
    assert macs("clip-vit-base-patch32", Case(batch=1, tokens=77)) == text + image + 512


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
