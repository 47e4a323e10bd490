"""Where repetition pays: in more processes, or in more runs of each.

The variance of a visit's median has two parts: that between processes, and that within one, which falls as runs are
added. A process costs time before its first timed run. The runs for which the interval narrows fastest follow from the
two variances and the two costs: T. Kalibera and R. Jones, Rigorous benchmarking in reasonable time, 2013, section 9.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from edgeprof.analysis.verdict import taken_s
from edgeprof.schema import Measurement

BATCHES = 5
"""Parts of a visit, each of adjacent runs: runs that follow each other are alike, and less than independent."""

LEAST_VISITS = 3
LONGEST = 4.0
"""A few visits tell the variances poorly, and many visits tell a trend: no visit is longer than so many times."""


class Cost(NamedTuple):
    """One visit: its runs in their order, and all that it took, in seconds."""

    latencies_s: Sequence[float]
    taken_s: float


def stretch(visits: Iterable[Measurement]) -> float:
    """By how much the next visit of a point should be longer than its stopping rule asks, from the visits so far."""
    return _stretch([Cost(one.outcome.reading.latencies_s, taken_s(one)) for one in visits if one.outcome.reading])


def _stretch(visits: Sequence[Cost]) -> float:
    """1 (no longer) to LONGEST; 1 too where visits are too few or too short to tell.

    >>> calm, level = [1.0, 1.01, 0.99, 1.0] * 25, [1.0, 1.2, 1.4]
    >>> _stretch([Cost([each * run / 100 for run in calm], 2.0) for each in level])  # processes differ
    1.0
    """
    if len(visits) < LEAST_VISITS or min(len(one.latencies_s) for one in visits) < 2 * BATCHES:
        return 1.0
    shortest = min(len(one.latencies_s) for one in visits)
    alike = [one.latencies_s[:shortest] for one in visits]  # some may have been stretched
    within = statistics.fmean(map(_variance_within, alike))
    between = max(statistics.variance(math.log(statistics.median(one)) for one in alike) - within, 0.0)
    timed_s = statistics.fmean(map(sum, alike))
    besides_s = statistics.fmean(one.taken_s - sum(one.latencies_s) for one in visits)
    if not within or besides_s <= 0:
        return 1.0
    best = math.sqrt(within / between * besides_s / timed_s) if between else LONGEST
    return min(max(best, 1.0), LONGEST)


def _variance_within(latencies_s: Sequence[float]) -> float:
    """Of the logarithm of a visit's median, from the medians of its parts."""
    size = len(latencies_s) // BATCHES
    parts = [latencies_s[size * number : size * (number + 1)] for number in range(BATCHES)]
    return statistics.variance(math.log(statistics.median(part)) for part in parts) / BATCHES
