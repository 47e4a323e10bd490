"""Captions of counted quantities: each number computed by hand, and no statement without data."""

from typing import Any

from edgeprof.analysis.captions import sentences
from edgeprof.analysis.explain_captions import explanation_captions, mixer_caption
from edgeprof.schema import Cost, Crossover, Explanation, Ledger, Load, Precision, Uncounted


def cost(name: str, **fields: Any) -> Cost:
    return Cost(name=name, count=1, **fields)


def ledger(length: int, *costs: Cost, live: int = 1, **fields: Any) -> Ledger:
    phase = fields.pop("phase", "prefill")
    decode = phase == "decode"
    plain: dict[str, Any] = {
        "name": "toy",
        "source": "formulas",
        "precision": Precision(recipe="fp32"),
        "load": Load(phase=phase, tokens=1 if decode else length, past_tokens=length if decode else 0),
        "live_bytes": live,
        "live_at": "MLP up",
    }
    return Ledger(costs=costs, **{**plain, **fields})


def toy(length: int, **fields: Any) -> Ledger:
    return ledger(
        length,
        cost("Q, K, V projections", macs=75 * length, params=10**6, weights_bytes=4 * 10**6, cache_bytes=8 * length),
        cost("attention scores", macs=length**2),
        cost("weighted sum of values", macs=length**2),
        cost("output projection", macs=25 * length),
        cost("MLP up", macs=200 * length),
        cost("pooler", macs=500),
        live=50 * length + length**2,
        **fields,
    )


def crossover(tokens: int | None, quantity: Any = "MACs") -> Crossover:
    return Crossover(larger="attention", smaller="the MLP", quantity=quantity, tokens=tokens)


def captions_of(*lengths: Ledger, crossed: tuple[Crossover, ...] = ()) -> dict[str, str]:
    return explanation_captions(Explanation(ledger=lengths[0], lengths=lengths, crossovers=crossed))


def test_macs_by_how_they_grow() -> None:
    # In all: 10 x 100 + 10 x 200 + 200 + 500 = 3,700 and 1000 x 300 + 2,000,000 + 500 = 2,300,500.
    assert captions_of(toy(10), toy(100), toy(1000), crossed=(crossover(101),))["explain-macs"] == (
        "From 10 to 1,000 tokens the MACs of projections and MLP grow in proportion to the tokens, those of attention "
        "grow with the square of the tokens and those of pooler stay the same; in all, 3.7 kMAC become 2.3 MMAC. "
        "Attention overtakes the MLP at 101 tokens."
    )


def test_memory_that_stays_and_memory_that_grows() -> None:
    # Alive: 500 + 100 = 600 bytes and 50,000 + 1,000,000 = 1.05 MB, 1,750 times as many.
    assert captions_of(toy(10), toy(1000), crossed=(crossover(101),))["explain-memory"] == (
        "The 1M parameters of toy do not change with the token length, and its weights stay at 4 MB. "
        "From 10 to 1,000 tokens the KV cache grows in proportion to the tokens, from 80 B to 8 kB, "
        "and live activations grow 1,800x, from 600 B to 1.05 MB."
    )


def test_a_crossover_outside_the_lengths_and_one_that_never_comes() -> None:
    caption = captions_of(toy(10), toy(20), crossed=(crossover(101),))["explain-macs"]
    assert caption.endswith("Attention overtakes the MLP at 101 tokens, outside the lengths shown.")
    caption = captions_of(toy(10), toy(20), crossed=(crossover(None, "bytes"),))["explain-memory"]
    assert caption.endswith("Attention overtakes the MLP at no token length.")
    assert "overtakes" not in captions_of(toy(10), toy(20))["explain-macs"]


def test_decode_speaks_of_cached_tokens() -> None:
    lengths = [
        ledger(n, cost("attention scores", macs=n + 1), cost("MLP up", macs=8), phase="decode") for n in (9, 19, 99)
    ]
    assert captions_of(*lengths, crossed=(crossover(8),))["explain-macs"] == (
        "From 9 to 99 cached tokens the MACs of attention grow 10x and those of MLP stay the same; "  # 10 to 100
        "in all, 18 MAC become 108 MAC. Attention overtakes the MLP at 8 cached tokens, outside the lengths shown."
    )


def test_parameters_are_called_constant_only_if_they_are() -> None:
    lengths = [ledger(n, cost("dense", params=n**2, weights_bytes=4 * n**2, macs=n**2), live=5) for n in (10, 100)]
    assert captions_of(*lengths) == {
        "explain-macs": "From 10 to 100 tokens the MACs of dense grow with the square of the tokens.",
        "explain-memory": (
            "The weights grow with the square of the tokens, from 400 B to 40 kB. "
            "From 10 to 100 tokens live activations stay the same, 5 B."
        ),
    }


def test_what_could_not_be_counted_is_named() -> None:
    missing = (Uncounted(operator="Einsum", count=3, reason="unknown"),)
    lengths = [
        ledger(n, cost("weight matmuls", macs=n), cost("KV cache", cache_bytes=n), source="graph", uncounted=missing)
        for n in (8, 16)
    ]
    captions = captions_of(*lengths)
    assert captions["explain-macs"].endswith("Not counted: 3 x Einsum.")
    assert captions["explain-memory"].endswith(
        "live tensors stay the same, 1 B. The KV cache is one of the live tensors."
    )


def test_one_length_has_no_caption() -> None:
    assert captions_of(toy(10)) == {}
    assert explanation_captions(Explanation(ledger=toy(10))) == {}


def test_ways_to_mix_tokens() -> None:
    def line(name: str, params: Any, macs: Any) -> tuple[Ledger, ...]:
        return tuple(ledger(n, cost("all", params=params(n), macs=macs(n)), name=name) for n in (10, 100))

    mixers = {
        "dense": line("dense", lambda n: 100 * n**2, lambda n: 100 * n**2),
        "pointwise": line("pointwise", lambda n: 100, lambda n: 100 * n),
        "gram": line("gram", lambda n: 0, lambda n: 20 * n**2),
        "block": line("block", lambda n: 1200, lambda n: 1200 * n + 20 * n**2),  # 14,000 and 320,000
        "table": line("table", lambda n: 5000, lambda n: 0),
    }
    caption = (
        "From 10 to 100 tokens the parameters of dense grow with the square of the tokens and those of pointwise, "
        "block and table stay the same. At 100 tokens: dense 1M, table 5k, block 1.2k and pointwise 100. "
        "No parameters: gram. "
        "From 10 to 100 tokens the MACs of dense and gram grow with the square of the tokens, those of pointwise grow "
        "in proportion to the tokens and those of block grow 23x. At 100 tokens: dense 1 MMAC, block 320 kMAC, "
        "gram 200 kMAC and pointwise 10 kMAC. No MACs: table."
    )
    assert mixer_caption(mixers) == caption
    assert sentences([], mixers).captions == {"mixers": caption}
    assert mixer_caption({}) == ""
