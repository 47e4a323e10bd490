"""Static lengths that waste the least for requests of many lengths; the optimum is exact.

A device that accepts static shapes only has one graph for each of a few lengths; a request is padded to the shortest
length that fits it. With lengths l_1 < ... < l_n, c_i requests of length l_i, and a run at l_j that takes t(l_j), the
chosen lengths cost

    sum over buckets (i, j] of t(l_j) * (c_(i+1) + ... + c_j)

Each bucket ends at the length of some request: a longer bucket would only add padding. The best k buckets for the
first j lengths are the best k - 1 for some first i < j, and l_j; dynamic programming finds the optimum in k n^2 steps.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeprof.schema import Bucket


def choose(requests: Mapping[int, int], costs: Mapping[int, float], count: int) -> tuple[Bucket, ...]:
    """The lengths with the lowest total cost: at most `count`, fewer where more would save nothing.

    Args:
        requests: token length -> number of requests of that length, at least one.
        costs: token length -> cost of one run, for each of these lengths.
    """
    import numpy as np

    lengths = sorted(requests)
    upto = np.concatenate([[0], np.cumsum([requests[length] for length in lengths])])  # requests of the first j lengths
    best = np.full(len(lengths) + 1, np.inf)  # cost of the first j lengths with at most the buckets so far
    best[0] = 0.0
    rounds: list[
        tuple[float, list[int]]
    ] = []  # for 1, 2, ... buckets: total cost, and the first length of the last bucket
    for _ in range(min(count, len(lengths))):
        starts, totals_at = [0], [0.0]
        for j, length in enumerate(lengths, 1):
            totals = best[:j] + costs[length] * (upto[j] - upto[:j])
            starts.append(int(totals.argmin()))
            totals_at.append(float(totals.min()))
        best = np.array(totals_at)
        rounds.append((totals_at[-1], starts))
    fewest = min(range(len(rounds)), key=lambda index: rounds[index][0])  # the first of equals
    chosen, j = list[Bucket](), len(lengths)
    for _, starts in reversed(rounds[: fewest + 1]):
        count_in = int(upto[j] - upto[starts[j]])
        chosen.append(Bucket(length=lengths[j - 1], requests=count_in, cost=costs[lengths[j - 1]]))
        j = starts[j]
        if j == 0:
            break
    return tuple(reversed(chosen))


def interpolated(measured: Mapping[int, float], length: int) -> float:
    """The cost at a length, interpolated linearly between measured lengths and constant beyond them."""
    import numpy as np

    known = sorted(measured)
    return float(np.interp(length, known, [measured[at] for at in known]))
