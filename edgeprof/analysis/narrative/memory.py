"""Sentences about memory: how it splits, and how it compares with the prediction."""

import statistics
from collections.abc import Sequence

from edgeprof import units
from edgeprof.analysis import findings
from edgeprof.analysis.narrative import PhasePoints, off, spread
from edgeprof.schema import Point
from edgeprof.text import joined

LARGE_BYTES = 10_000_000  # above this the megabyte or two that every process needs besides does not matter


def memory(scope: PhasePoints) -> str:
    line = [point for point in scope.subject if point.memory]
    if not line:
        return ""
    return " ".join(filter(None, (_split(scope, line[-1]), _working_growth(scope, line), _copied(scope, line[-1]))))


def _copied(scope: PhasePoints, point: Point) -> str:
    """What a growing KV cache costs."""
    copied = point.facts.cache_copied_bytes
    if not copied:
        return ""
    return (
        f"Its KV cache grows: each step after {scope.tokens(point)} copies {units.size(copied)}, which a decoder with "
        "fused attention writes in place."
    )


def largest_peak(scope: PhasePoints) -> str:
    known = [point for point in scope.points if point.memory]
    return _split(scope, max(known, key=lambda point: point.memory.peak_bytes if point.memory else 0)) if known else ""


def _split(scope: PhasePoints, point: Point) -> str:
    split = point.memory
    if split is None:
        return ""
    touched = split.weights_touched_bytes
    parts = joined(
        [
            f"{units.size(split.runtime_bytes)} runtime",
            f"{units.size(split.weights_bytes)} weights",
            *([f"{units.size(touched)} of mapped weights that the runs touched"] if touched else []),
            f"{units.size(split.working_bytes)} working memory",
        ]
    )
    peak = f"At {scope.tokens(point)} {scope.name(point)} peaks at {units.size(split.peak_bytes)}"
    return f"{peak} while it is loaded; its runs need {parts}." if split.peak_at_load else f"{peak}: {parts}."


def _working_growth(scope: PhasePoints, line: Sequence[Point]) -> str:
    growth = findings.length_growth(line)
    if growth is None or growth.short.memory is None or growth.long.memory is None:
        return ""
    short, long = growth.short.memory.working_bytes, growth.long.memory.working_bytes
    if not short or not long:
        return ""
    step = f"From {growth.short.load.length:,} to {scope.tokens(growth.long)} its working memory"
    if abs(long / short - 1) < 0.05:
        return f"{step} stays the same."
    return f"{step} {'grows' if long > short else 'shrinks'} from {units.size(short)} to {units.size(long)}."


def predicted(scope: PhasePoints) -> str:
    """Compare the working memory with its prediction."""
    ratios = [(ratio, point) for point in scope.points if (ratio := findings.predicted_ratio(point))]
    if not ratios:
        return ""
    if len(ratios) == 1:
        ((ratio, point),) = ratios
        working = units.size(point.memory.working_bytes if point.memory else 0)
        expected = units.size(point.facts.memory_predicted_bytes or 0)
        return (
            f"The working memory of {scope.name(point)} at {scope.tokens(point)} is {units.ratio(ratio)} the "
            f"prediction: {working} against {expected}."
        )
    large = [(ratio, point) for ratio, point in ratios if (point.facts.memory_predicted_bytes or 0) >= LARGE_BYTES]
    small = [pair for pair in ratios if pair not in large]
    if len(large) < 2 or not small:
        return f"{_off(scope, ratios)}."
    most, point = max(small, key=lambda pair: pair[0])
    return (
        f"{_off(scope, large, f' above {units.size(LARGE_BYTES)}')}. "
        f"Below that it is up to {units.ratio(most)} ({scope.name(point)} at {scope.tokens(point)})."
    )


def predicted_peaks(scope: PhasePoints) -> str:
    """Compare the peaks with their prediction."""
    return off(scope, "peak", findings.peak_error)


def _off(scope: PhasePoints, ratios: Sequence[tuple[float, Point]], which: str = "") -> str:
    median = statistics.median(ratio for ratio, _ in ratios)
    named = [(ratio, f"{scope.name(point)} at {scope.tokens(point)}") for ratio, point in ratios]
    return (
        f"Working memory in {scope.phase} is {units.ratio(median)} the prediction, the median of {len(ratios)} "
        f"points{which}; {spread(named, units.ratio)}"
    )
