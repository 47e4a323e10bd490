"""How far the figure of a point can be trusted: steady, noisy, drifting or disturbed; when it was visited enough."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from edgeprof import units
from edgeprof.analysis.disturbance import Quiet, disturbed
from edgeprof.analysis.quantiles import student_t
from edgeprof.schema import Goal, LatencySummary, Measurement, Steadiness

DRIFT = 0.05
"""The smallest trend over a run that is called one, as a share of the level."""

DRIFT_RISK = 0.01
"""The chance to see a trend where there is none."""

DRIFT_VISITS = 5


def enough(visits: Sequence[Measurement], latency: LatencySummary | None, goal: Goal, quiet: Quiet) -> bool:
    """Whether a point needs no further visit.

    Disturbed visits are made again, as often as there are rounds; a point that cannot be measured, or not any more, is
    not tried longer.

    Args:
        visits: all of a point, oldest first, with its current settings.
        latency: their summary.
    """
    undisturbed = sum(visit.outcome.reading is not None and not disturbed(visit, quiet) for visit in visits)
    if len(visits) < goal.rounds:
        return False
    newest = {visit.round: visit.outcome.reading for visit in visits}  # a failed visit may have been repeated
    if latency is None or list(newest.values()).count(None) >= goal.rounds:
        return True
    if undisturbed < goal.rounds and len(visits) < 2 * goal.rounds:
        return False
    return half_width(latency) <= goal.ci or sum(map(taken_s, visits)) >= goal.max_time_s


def taken_s(visit: Measurement) -> float:
    """Seconds of a visit; of an older record, those of its runs."""
    reading = visit.outcome.reading
    return visit.outcome.took_s or (sum(reading.latencies_s) if reading else 0.0)


def half_width(latency: LatencySummary) -> float:
    """Of the interval of the median, as a share of the median."""
    return (latency.ci_high_s - latency.ci_low_s) / 2 / latency.median_s


def plus_minus(share: float) -> str:
    """ "+/- 1.2 %"; of two visits that differ, an interval may be any number of times the median.

    >>> plus_minus(0.0123), plus_minus(12.7)
    ('+/- 1.2 %', 'over +/- 100 %')
    """
    return f"+/- {100 * share:.1f} %" if share <= 1 else "over +/- 100 %"


def verdict(latency: LatencySummary, levels_s: Sequence[float], undisturbed: int, goal: Goal) -> tuple[Steadiness, str]:
    """The verdict on a point, and what it rests on.

    Args:
        levels_s: the median of every visit, disturbed ones too, in the order of the visits.
        undisturbed: number of visits that nothing disturbed.
    """
    if undisturbed < min(goal.rounds, len(levels_s)):
        return "disturbed", f"other work disturbed {len(levels_s) - undisturbed} of {len(levels_s)} visits"
    trend = drift(levels_s)
    if trend:
        return "drifting", f"{'slower' if trend > 0 else 'faster'} by {units.percent(abs(trend))} over the run"
    width = half_width(latency)
    if width > goal.ci:
        return "noisy", f"{plus_minus(width)}, asked for {plus_minus(goal.ci)}"
    return "steady", plus_minus(width)


def drift(levels_s: Sequence[float]) -> float:
    """The change of the level from the first visit to the last, as a share; 0.0 where no trend of 5 % is shown.

    A line through the logarithms by least squares; shown if its slope differs from 0 at the 1 % level (t-test).

    >>> round(drift([1.00, 1.02, 1.05, 1.07, 1.10, 1.12]), 2)
    0.12
    >>> drift([1.00, 1.12, 0.98, 1.10, 1.01, 1.05])
    0.0
    """
    count = len(levels_s)
    if count < DRIFT_VISITS:
        return 0.0
    logs = list(map(math.log, levels_s))
    line = statistics.linear_regression(range(count), logs)
    squares = sum((log - line.intercept - line.slope * number) ** 2 for number, log in enumerate(logs))
    error = math.sqrt(squares / (count - 2) / ((count**3 - count) / 12))  # of the slope; below it the spread of numbers
    change = math.expm1(line.slope * (count - 1))
    shown = abs(line.slope) > student_t(1 - DRIFT_RISK / 2, count - 2) * error
    return change if shown and abs(change) >= DRIFT else 0.0
