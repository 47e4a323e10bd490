"""How good the numbers are: what the verdicts on the points of a run add up to."""

from collections import Counter
from collections.abc import Iterable, Sequence

from edgeprof import units
from edgeprof.analysis.verdict import half_width, plus_minus
from edgeprof.schema import Point, Steadiness

KINDS: tuple[tuple[Steadiness, str], ...] = (
    ("noisy", "noisy (interval wider than asked for)"),
    ("drifting", "drifting (a trend over the run: heat, clocks)"),
    ("disturbed", "disturbed (other work on the machine)"),
)


def trust(points: Iterable[Point]) -> str:
    """How many points are steady, what the others are, and how wide the widest interval is; "" without points."""
    judged = [point for point in points if point.verdict]
    if not judged:
        return ""
    widest = max(half_width(point.latency) for point in judged if point.latency)
    counts = Counter(point.verdict for point in judged)
    others = [f"{counts[kind]} {text}" for kind, text in KINDS if counts[kind]]
    verb = "is" if counts["steady"] == 1 else "are"
    steady = f"{counts['steady']:,} of {units.counted(len(judged), 'point')} {verb} steady"
    if not others:
        return f"All {units.counted(len(judged), 'point')} are steady: 95 % intervals of {plus_minus(widest)} or less."
    return f"{steady}; {', '.join(others)}. The widest 95 % interval is {plus_minus(widest)}."


def caveat(points: Sequence[Point]) -> str:
    """What a sentence about times has to add where it rests on points that are not steady."""
    doubtful = sum(point.verdict not in (None, "steady") for point in points)
    return f" ({doubtful} of these {len(points)} points not steady)" if doubtful else ""
