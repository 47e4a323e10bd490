"""What is said of memory: where it goes, and how far it is from what was predicted."""

import statistics
from collections.abc import Sequence

from edgeprof import units
from edgeprof.analysis import findings
from edgeprof.analysis.narrative import Told, spread
from edgeprof.schema import Point
from edgeprof.text import joined

LARGE_BYTES = 10_000_000  # what every process needs besides, a MB or two, then weighs little


def memory(told: Told) -> str:
    line = [point for point in told.subject if findings.memory_split(point)]
    return " ".join(filter(None, (_split(told, line[-1]), _working_growth(told, line)))) if line else ""


def largest_peak(told: Told) -> str:
    known = [point for point in told.points if findings.memory_split(point)]
    return _split(told, max(known, key=lambda point: point.memory_peak_bytes or 0)) if known else ""


def _split(told: Told, point: Point) -> str:
    split = findings.memory_split(point)
    if split is None:
        return ""
    parts = joined(
        [
            f"{units.size(split.runtime_bytes)} runtime",
            f"{units.size(split.weights_bytes)} weights",
            f"{units.size(split.working_bytes)} working memory",
        ]
    )
    peak = f"At {told.tokens(point)} {told.name(point)} peaks at {units.size(split.peak_bytes)}"
    return f"{peak}, while it is loaded; its runs need {parts}." if split.peak_at_load else f"{peak}: {parts}."


def _working_growth(told: Told, line: Sequence[Point]) -> str:
    growth = findings.length_growth(line)
    short, long = (growth.short.memory_working_bytes, growth.long.memory_working_bytes) if growth else (None, None)
    if not growth or not short or not long:
        return ""
    step = f"From {growth.short.length:,} to {told.tokens(growth.long)} its working memory"
    if abs(long / short - 1) < 0.05:
        return f"{step} stays the same."
    return f"{step} {'grows' if long > short else 'shrinks'} from {units.size(short)} to {units.size(long)}."


def predicted(told: Told) -> str:
    """How far the working memory is from what was predicted."""
    ratios = [(ratio, point) for point in told.points if (ratio := findings.predicted_ratio(point))]
    if not ratios:
        return ""
    if len(ratios) == 1:
        ((ratio, point),) = ratios
        working, expected = (units.size(b or 0) for b in (point.memory_working_bytes, point.memory_predicted_bytes))
        return (
            f"The working memory of {told.name(point)} at {told.tokens(point)} is {units.ratio(ratio)} what was "
            f"predicted: {working} against {expected}."
        )
    large = [(ratio, point) for ratio, point in ratios if (point.memory_predicted_bytes or 0) >= LARGE_BYTES]
    small = [pair for pair in ratios if pair not in large]
    if len(large) < 2 or not small:
        return f"{_off(told, ratios)}."
    most, point = max(small, key=lambda pair: pair[0])
    return (
        f"{_off(told, large, f' above {units.size(LARGE_BYTES)}')}. "
        f"Below that it is up to {units.ratio(most)} ({told.name(point)} at {told.tokens(point)})."
    )


def _off(told: Told, ratios: Sequence[tuple[float, Point]], which: str = "") -> str:
    median = statistics.median(ratio for ratio, _ in ratios)
    named = [(ratio, f"{told.name(point)} at {told.tokens(point)}") for ratio, point in ratios]
    return (
        f"Working memory in {told.phase} is {units.ratio(median)} what was predicted, the median of {len(ratios)} "
        f"points{which}; {spread(named, units.ratio)}"
    )
