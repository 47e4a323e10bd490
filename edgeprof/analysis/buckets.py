"""Static lengths for requests of many lengths: those that waste least, exactly.

A device that takes static shapes alone has one graph for each of a few lengths, and a request runs at the shortest
that holds it. With lengths l_1 < ... < l_n, of which c_i requests have l_i, and a run at l_j that takes t(l_j), the
chosen lengths cost

    sum over buckets (i, j] of t(l_j) * (c_(i+1) + ... + c_j)

Each bucket ends at a length that a request has: a longer one would only add padding. The best k lengths for the first
j are the best k - 1 for some first i < j, and l_j; so the optimum follows by dynamic programming, in k n^2 steps.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgeprof.schema import Bucket


def choose(requests: Mapping[int, int], costs: Mapping[int, float], count: int) -> tuple[Bucket, ...]:
    """The lengths that cost least in all; fewer than `count` where more would save nothing.

    Args:
        requests: token length -> how many requests have it, at least one.
        costs: of a run at each of these lengths.
    """
    import numpy as np

    lengths = sorted(requests)
    upto = np.concatenate([[0], np.cumsum([requests[length] for length in lengths])])  # requests of the first j lengths
    best = np.full(len(lengths) + 1, np.inf)  # cost of the first j lengths in so many buckets, or fewer
    best[0] = 0.0
    rounds: list[tuple[float, list[int]]] = []  # of 1, 2, ... buckets: the cost of all, and for each j where it begins
    for _ in range(min(count, len(lengths))):
        begins, reached = [0], [0.0]
        for j, length in enumerate(lengths, 1):
            totals = best[:j] + costs[length] * (upto[j] - upto[:j])
            begins.append(int(totals.argmin()))
            reached.append(float(totals.min()))
        best = np.array(reached)
        rounds.append((reached[-1], begins))
    enough = min(range(len(rounds)), key=lambda index: rounds[index][0])  # the first of equals
    chosen, j = list[Bucket](), len(lengths)
    for _, begins in reversed(rounds[: enough + 1]):
        held = int(upto[j] - upto[begins[j]])
        chosen.append(Bucket(length=lengths[j - 1], requests=held, cost=costs[lengths[j - 1]]))
        j = begins[j]
        if j == 0:
            break
    return tuple(reversed(chosen))


def interpolated(measured: Mapping[int, float], length: int) -> float:
    """The cost at a length, on the straight line between the measured ones around it; at the ends, that of the end."""
    import numpy as np

    known = sorted(measured)
    return float(np.interp(length, known, [measured[one] for one in known]))
