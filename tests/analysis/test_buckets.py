"""Static lengths that waste least: by hand, and against every choice there is."""

import itertools
import random

import pytest

from edgeprof.analysis.buckets import choose, interpolated

REQUESTS = {10: 5, 20: 3, 40: 2}
COSTS = {10: 10.0, 20: 20.0, 40: 40.0}


def total(requests: dict[int, int], costs: dict[int, float], lengths: tuple[int, ...]) -> float:
    return sum(number * costs[min(one for one in lengths if one >= length)] for length, number in requests.items())


def test_by_hand() -> None:
    """Two of three: 10 and 40 cost 5 x 10 + 5 x 40 = 250, 20 and 40 cost 8 x 20 + 2 x 40 = 240. One: 10 x 40."""
    two = choose(REQUESTS, COSTS, 2)
    assert [(one.length, one.requests, one.cost) for one in two] == [(20, 8, 20.0), (40, 2, 40.0)]
    assert [(one.length, one.requests) for one in choose(REQUESTS, COSTS, 1)] == [(40, 10)]
    assert [one.length for one in choose(REQUESTS, COSTS, 3)] == [10, 20, 40]
    assert choose(REQUESTS, COSTS, 9) == choose(REQUESTS, COSTS, 3)


def test_costs_decide_and_not_lengths() -> None:
    """Where 20 tokens take as long as 40, a graph of 20 saves nothing: 10 and 40 cost 50 + 200, and three no less."""
    costs = {10: 10.0, 20: 40.0, 40: 40.0}
    assert [one.length for one in choose(REQUESTS, costs, 2)] == [10, 40]
    assert [one.length for one in choose(REQUESTS, costs, 3)] == [10, 40]


@pytest.mark.parametrize("seed", range(20))
def test_no_choice_is_better(seed: int) -> None:
    draw = random.Random(seed)
    lengths = draw.sample(range(1, 200), draw.randint(1, 9))
    requests = {length: draw.randint(1, 50) for length in lengths}
    costs = {length: draw.uniform(0.5, 2) * length for length in lengths}  # not always rising, as measured ones
    for count in (1, 2, 3, 4):
        chosen = choose(requests, costs, count)
        others = itertools.chain.from_iterable(
            itertools.combinations(sorted(lengths), number) for number in range(1, min(count, len(lengths)) + 1)
        )
        least = min(total(requests, costs, each) for each in others if max(lengths) in each)
        result = tuple(one.length for one in chosen)
        assert total(requests, costs, result) == pytest.approx(least)
        assert sum(one.requests * one.cost for one in chosen) == pytest.approx(least)
        assert result[-1] == max(lengths) and len(result) <= count


def test_between_measured_lengths() -> None:
    measured = {16: 2.0, 64: 8.0, 128: 24.0}
    assert interpolated(measured, 40) == 5.0
    assert interpolated(measured, 96) == 16.0
    assert (interpolated(measured, 16), interpolated(measured, 4)) == (2.0, 2.0)
