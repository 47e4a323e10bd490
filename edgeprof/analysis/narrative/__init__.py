"""Sentences about points, a module for each subject; here the points of one phase and how they are named."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edgeprof import units
from edgeprof.analysis import findings
from edgeprof.analysis.findings import LengthGrowth
from edgeprof.schema import Phase, Point

SETTINGS: tuple[Callable[[Point], str], ...] = (
    lambda point: str(point.subject.precision),
    lambda point: f"on {point.place.label or point.place.provider}",
    lambda point: f"at batch {point.load.batch}",
    lambda point: f"with {units.counted(point.place.threads, 'thread')}",
)
"""Text of the settings that distinguish points of one model and length."""


@dataclass(frozen=True)
class PhasePoints:
    """The points of one phase, with the shortest unambiguous names for them."""

    phase: Phase
    points: tuple[Point, ...]
    lines: tuple[tuple[Point, ...], ...]

    @classmethod
    def of(cls, points: Iterable[Point], phase: Phase) -> "PhasePoints":
        mine = findings.measured(points, phase)
        return cls(phase, tuple(mine), tuple(map(tuple, findings.by_series(mine).values())))

    def name(self, point: Point) -> str:
        """ "bert-base", with the settings that vary among the points: "bert-base int8 at batch 4".

        A point that a provider ran only in part always carries its share: "bert-base on webgpu (83 % of MACs)".
        """
        varying = [text(point) for text in SETTINGS if len({text(other) for other in self.points}) > 1]
        share = [f"({point.receipt.share_text})"] if point.receipt.share_text else []
        return " ".join([point.subject.model, *varying, *share])

    def tokens(self, point: Point) -> str:
        if not point.load.length:
            return "its own size"
        return units.counted(point.load.length, "cached token" if self.phase == "decode" else "token")

    @property
    def subject(self) -> Sequence[Point]:
        """The line that sentences describe: the one with the most lengths; on a tie the largest model, then fp32."""
        return max(self.lines, key=lambda line: (len(line), line[0].facts.params, findings.is_base(line[0])))

    def growths(self, between: Callable[[Sequence[Point]], LengthGrowth | None]) -> list[LengthGrowth]:
        return list(filter(None, map(between, self.lines)))


def off(scope: PhasePoints, what: str, error_of: Callable[[Point], float | None]) -> str:
    """By how much predictions are off: the median, and the point with the largest error; "" without predictions."""
    errors = [(error, point) for point in scope.points if (error := error_of(point)) is not None]
    if not errors:
        return ""
    most, point = max(errors, key=lambda pair: abs(pair[0]))
    named = f"{scope.name(point)} at {scope.tokens(point)}"
    if len(errors) == 1:
        return f"The {what} predicted for {named} is off by {100 * most:+.1f} %."
    middle = statistics.median(abs(error) for error, _ in errors)
    plural = {"latency": "latencies"}.get(what, f"{what}s")
    return (
        f"Predicted {plural} in {scope.phase} are off by {100 * middle:.1f} %, the median of {len(errors)} points; "
        f"most at {named}, by {100 * most:+.1f} %."
    )


def spread(values: Sequence[tuple[float, str]], form: Callable[[float], str]) -> str:
    """ "0.83 (vit-tiny) to 1.15 (gpt2)"."""
    (low, low_name), (high, high_name) = min(values), max(values)
    if form(low) == form(high):
        return f"about {form(low)}"
    return f"{form(low)} ({low_name}) to {form(high)} ({high_name})"


def power(value: float) -> str:
    return f"{value:.2f}"
