"""Ledgers against numbers worked out by hand. d: width 768, d x d = 589,824; 12 layers; gpt2 has 50,257 tokens."""

import pytest

from edgeprof.analysis.ledger import crossovers, ledger
from edgeprof.families import family_of, find_variant
from edgeprof.schema import Ledger, Phase

SQUARE = 768 * 768


def at(name: str, length: int, precision: str = "fp32", phase: Phase = "prefill", batch: int = 1) -> Ledger:
    variant = find_variant(name)
    return ledger(variant, family_of(variant).case(variant, phase, batch, length), precision, phase)


def test_gpt2_part_by_part() -> None:
    """At 512 tokens; biases: 3 d, d, 4 d and d; scores of 12 heads are 12 x 512 x 512 values of 4 bytes."""
    result = at("gpt2", 512)
    table = {cost.name: (cost.count, cost.params, cost.macs, cost.activation_bytes) for cost in result.costs}
    stream = 512 * 768
    assert table == {
        "token embedding": (1, 38_597_376, 0, 4 * stream),
        "position embedding": (1, 786_432, 0, 4 * stream),
        "Q, K, V projections": (12, 12 * (3 * SQUARE + 3 * 768), 12 * 3 * 512 * SQUARE, 12 * 12 * stream),
        "attention scores": (12, 0, 12 * 512 * 512 * 768, 12 * 12 * 512 * 512 * 4),
        "weighted sum of values": (12, 0, 12 * 512 * 512 * 768, 12 * 4 * stream),
        "output projection": (12, 12 * (SQUARE + 768), 12 * 512 * SQUARE, 12 * 4 * stream),
        "MLP up": (12, 12 * (4 * SQUARE + 4 * 768), 12 * 4 * 512 * SQUARE, 12 * 4 * 4 * stream),
        "MLP down": (12, 12 * (4 * SQUARE + 768), 12 * 4 * 512 * SQUARE, 12 * 4 * stream),
        "block norms": (24, 24 * 2 * 768, 0, 24 * 4 * stream),
        "other norms": (1, 2 * 768, 0, 4 * stream),
        "LM head": (1, 0, 512 * 38_597_376, 4 * 512 * 50_257),
    }
    assert result.total("params") == 124_439_808
    assert result.layers == 12


def test_one_block_is_what_the_background_says() -> None:
    result = at("bert-base", 512)
    parts = result.of(*(cost.name for cost in result.costs if cost.in_block))
    assert parts.params == 12 * 7_087_872
    assert parts.macs == 12 * 512 * (12 * SQUARE + 2 * 512 * 768)


@pytest.mark.parametrize(
    ("precision", "weights_bytes"),
    [
        ("fp32", 4 * 124_439_808),
        ("fp16", 2 * 124_439_808),
        # 48 matrices of 12 x 12 d^2, the tied embedding and 1,024 positions: a byte each, and 2 for each of their
        # output channels (9 d in a layer and 50,257) and rows; biases (9 d in a layer) and 25 norms stay in 4 bytes
        (
            "int8",
            144 * SQUARE + 38_597_376 + 786_432 + 2 * (12 * 9 * 768 + 50_257 + 1024) + 4 * (12 * 9 * 768 + 50 * 768),
        ),
        # half a byte, and a scale of 4 bytes for 32 of them; positions are looked up: a byte, and scales
        ("int4", (144 * SQUARE + 38_597_376) * 5 // 8 + 786_432 * 9 // 8 + 4 * (12 * 9 * 768 + 50 * 768)),
    ],
)
def test_weight_bytes_of_gpt2(precision: str, weights_bytes: int) -> None:
    assert at("gpt2", 16, precision).total("weights_bytes") == weights_bytes


def test_an_embedding_that_is_only_looked_up_is_quantized_by_rows() -> None:
    """bert-base has no LM head: a byte for each of 30,522 x 768 numbers, and two for the scale of a row."""
    assert at("bert-base", 16, "int8").of("token embedding").weights_bytes == 30_522 * (768 + 2)


def test_the_kernel_of_a_convolution_is_quantized_by_filters() -> None:
    """vit-base looks at patches of 16 x 16 x 3 with 768 filters, each with a bias in fp32."""
    assert at("vit-base", 197, "int8").of("patch embedding").weights_bytes == 768 * (768 + 2 + 4)


def test_the_kv_cache_holds_everything_up_to_the_end_of_the_run() -> None:
    """73,728 bytes a token in fp32: 12 layers x keys and values x 768 x 4."""
    assert at("gpt2", 512).total("cache_bytes") == 512 * 73_728
    assert at("gpt2", 512, phase="decode").total("cache_bytes") == 513 * 73_728
    assert at("gpt2", 512, "fp16", batch=3).total("cache_bytes") == 3 * 512 * 73_728 // 2
    assert at("bert-base", 512).total("cache_bytes") == 0


def test_live_activations_peak_in_attention_or_at_the_head() -> None:
    """bert-base at 512: residual stream, queries, keys, values, result (5 x 512 x 768) and 12 x 512 x 512 scores.

    gpt2 at 512: the logits, 512 x 50,257, and what they are computed from.
    """
    encoder, decoder = at("bert-base", 512), at("gpt2", 512)
    assert (encoder.live_at, encoder.live_bytes) == (
        "weighted sum of values",
        4 * (5 * 512 * 768 + 12 * 512 * 512),
    )
    assert (decoder.live_at, decoder.live_bytes) == ("LM head", 4 * (512 * 50_257 + 512 * 768))


def test_when_tokens_double() -> None:
    one, two = at("bert-base", 512), at("bert-base", 1024)
    assert two.total("params") == one.total("params")
    for name, factor in {"Q, K, V projections": 2, "MLP up": 2, "attention scores": 4, "pooler": 1}.items():
        assert two.of(name).macs == factor * one.of(name).macs


@pytest.mark.parametrize(
    ("name", "overtakes"),
    [
        # 2 n n d > 8 n d^2 from n = 4 d + 1
        ("gpt2", {"attention": 3073, "the KV cache": 497_759_232 // 73_728 + 1}),
        ("bert-tiny", {"attention": 513}),
        ("vit-base", {"attention": 3073}),
    ],
)
def test_crossovers_are_the_first_lengths(name: str, overtakes: dict[str, int]) -> None:
    result = crossovers(lambda length: at(name, length))
    assert {crossing.larger: crossing.tokens for crossing in result} == overtakes


def test_in_decode_attention_overtakes_the_mlp_at_the_same_cache() -> None:
    """One query against n + 1 keys: 2 (n + 1) d > 8 d^2 from n = 4 d."""
    result = crossovers(lambda length: at("gpt2", length, phase="decode"))
    assert result[0].tokens == 3072
