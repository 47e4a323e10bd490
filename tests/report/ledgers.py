"""Ledgers made by hand, with numbers that can be worked out in the head.

The toy has, at n tokens: 75 n MACs for Q, K, V and 25 n for the output projection, 2 n^2 for attention, 200 n for the
MLP; 250 parameters in 1,000 bytes, 10 n bytes of KV cache and 50 n + n^2 bytes alive. So attention overtakes the MLP
at 101 tokens (2 x 101^2 = 20,402 against 20,200), and the KV cache the weights at 101 (1,010 bytes against 1,000).
"""

from collections.abc import Sequence

from edgeprof.schema import Cost, Crossover, Explanation, Ledger, Load, Phase, Precision

LENGTHS = (10, 100, 1000)
CAPTIONS = {"explain-macs": "What MACs do.", "explain-memory": "What memory does."}


def ledger(name: str, costs: Sequence[Cost], length: int, *, live: int = 1, phase: Phase = "prefill") -> Ledger:
    decode = phase == "decode"
    return Ledger(
        name=name,
        source="formulas",
        precision=Precision(recipe="fp32"),
        load=Load(phase=phase, tokens=1 if decode else length, past_tokens=length if decode else 0),
        layers=2,
        costs=tuple(costs),
        live_bytes=live,
        live_at="MLP up",
    )


def toy(length: int, *, name: str = "toy", cache: bool = True, phase: Phase = "prefill") -> Ledger:
    def part(what: str, macs: int, params: int, cached: int = 0) -> Cost:
        return Cost(
            name=what, count=2, in_block=True, params=params, macs=macs, weights_bytes=4 * params, cache_bytes=cached
        )

    costs = (
        Cost(name="token embedding", count=1, params=50, weights_bytes=200),
        part("Q, K, V projections", 75 * length, 60, 10 * length if cache else 0),
        part("attention scores", length**2, 0),
        part("weighted sum of values", length**2, 0),
        part("output projection", 25 * length, 20),
        part("MLP up", 100 * length, 60),
        part("MLP down", 100 * length, 60),
    )
    return ledger(name, costs, length, live=50 * length + length**2, phase=phase)


def explanation(*lengths: int, name: str = "toy", cache: bool = True, phase: Phase = "prefill") -> Explanation:
    crossed = [Crossover(larger="attention", smaller="the MLP", quantity="MACs", tokens=101)]
    crossed += [Crossover(larger="the KV cache", smaller="the weights", quantity="bytes", tokens=101)] if cache else []
    return Explanation(
        ledger=toy(100, name=name, cache=cache, phase=phase),
        doubled=toy(200, name=name, cache=cache, phase=phase),
        crossovers=tuple(crossed),
        lengths=tuple(toy(length, name=name, cache=cache, phase=phase) for length in lengths or LENGTHS),
        notes=("toy is a *toy*.",),
        captions=CAPTIONS,
    )


def mixers(lengths: Sequence[int] = (16, 64, 512)) -> dict[str, tuple[Ledger, ...]]:
    """Of width 768, as the background article has them."""
    square = 768**2
    costs = {
        "mixer-dense": lambda n: (n**2 * square, n**2 * square),
        "mixer-pointwise": lambda n: (square, n * square),
        "mixer-gram": lambda n: (0, 2 * n**2 * 768),
        "mixer-attention": lambda n: (3 * square, 3 * n * square + 2 * n**2 * 768),
        "mixer-block": lambda n: (7_087_872, 12 * n * square + 2 * n**2 * 768),
        "embedding-word2vec": lambda n: (900_000_000, 0),
    }

    def whole(name: str, length: int) -> Ledger:
        params, macs = costs[name](length)
        return ledger(name, [Cost(name="all", count=1, params=params, macs=macs)], length)

    return {name: tuple(whole(name, length) for length in lengths) for name in costs}
