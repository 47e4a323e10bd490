"""The points of one phase, how to name them, and what sentences about them share."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edgeprof import units
from edgeprof.analysis import findings
from edgeprof.analysis.findings import LengthGrowth
from edgeprof.schema import Phase, Point

SETTINGS: tuple[Callable[[Point], str], ...] = (
    lambda point: str(point.subject.precision),
    lambda point: f"on {point.place.provider}",
    lambda point: f"at batch {point.load.batch}",
    lambda point: f"with {units.counted(point.place.threads, 'thread')}",
)
"""What tells two points of one model and length apart, in words."""


@dataclass(frozen=True)
class PhasePoints:
    """The points of one phase, at least one, and how to name them: unambiguously, and no longer than that needs."""

    phase: Phase
    points: tuple[Point, ...]
    lines: tuple[tuple[Point, ...], ...]

    @classmethod
    def of(cls, points: Iterable[Point], phase: Phase) -> "PhasePoints":
        mine = findings.measured(points, phase)
        return cls(phase, tuple(mine), tuple(map(tuple, findings.by_series(mine).values())))

    def name(self, point: Point) -> str:
        """ "bert-base", with whatever else is not the same everywhere: "bert-base int8 at batch 4".

        What a provider ran only a part of is never named without that: "bert-base on webgpu (83 % of MACs)".
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
        """The line to speak of: the one with the most lengths; among those the largest, in fp32."""
        return max(self.lines, key=lambda line: (len(line), line[0].facts.params, findings.is_base(line[0])))

    def growths(self, between: Callable[[Sequence[Point]], LengthGrowth | None]) -> list[LengthGrowth]:
        return list(filter(None, map(between, self.lines)))


def spread(values: Sequence[tuple[float, str]], form: Callable[[float], str]) -> str:
    """ "0.83 (vit-tiny) to 1.15 (gpt2)"."""
    (low, low_name), (high, high_name) = min(values), max(values)
    if form(low) == form(high):
        return f"about {form(low)}"
    return f"{form(low)} ({low_name}) to {form(high)} ({high_name})"


def power(value: float) -> str:
    return f"{value:.2f}"
