"""The points of one phase, how to name them, and what sentences about them share."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from edgeprof import units
from edgeprof.analysis import findings
from edgeprof.analysis.findings import LengthGrowth
from edgeprof.schema import Phase, Point

_NAMED = {
    "precision": "{point.precision}",
    "provider": "on {point.provider}",
    "batch": "at batch {point.batch}",
    "threads": "with {threads}",
}


@dataclass(frozen=True)
class Told:
    """The points of one phase, at least one, and how to name them: unambiguously, and no longer than that needs."""

    phase: Phase
    points: tuple[Point, ...]
    lines: tuple[tuple[Point, ...], ...]

    @classmethod
    def of(cls, points: Iterable[Point], phase: Phase) -> "Told":
        mine = findings.measured(points, phase)
        return cls(phase, tuple(mine), tuple(map(tuple, findings.by_series(mine).values())))

    def name(self, point: Point) -> str:
        """ "bert-base", with whatever else is not the same everywhere: "bert-base int8 at batch 4".

        What a provider ran only a part of is never named without that: "bert-base on webgpu (83 % of MACs)".
        """
        return " ".join([point.variant, *self.setting(point, _NAMED)])

    def setting(self, point: Point, fields: Iterable[str]) -> list[str]:
        """Those of a point's fields that are not the same everywhere, in words; a share always."""
        words = [
            _NAMED[field].format(point=point, threads=units.counted(point.threads, "thread"))
            for field in fields
            if self._varies(field)
        ]
        return [*words, f"({point.share_told})"] if point.share_told else words

    def _varies(self, field: str) -> bool:
        return len({getattr(other, field) for other in self.points}) > 1

    def tokens(self, point: Point) -> str:
        if not point.length:
            return "its own size"
        return units.counted(point.length, "cached token" if self.phase == "decode" else "token")

    @property
    def subject(self) -> Sequence[Point]:
        """The line to speak of: the one with the most lengths; among those the largest, in fp32."""
        base = findings.BASE_PRECISION
        return max(self.lines, key=lambda line: (len(line), line[0].params, line[0].precision == base))

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
