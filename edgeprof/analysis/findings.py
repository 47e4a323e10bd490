"""Comparable numbers computed from points: small frozen records, None or empty where the data are insufficient.

Two points of a run differ clearly when the interval of their ratio excludes 1. It comes from the rounds in which both
were visited (`analysis.compare`); without three such rounds, from the intervals of their medians. Points of emulated
devices show that a path works, not how fast it is, and points with a wrong result time a different computation: both
are excluded from every comparison.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from msgspec.structs import replace

from edgeprof.analysis.compare import paired
from edgeprof.schema import FP32, ONNXRUNTIME, Phase, Point, PointKey, Precision

BASE_PRECISION = FP32
BASE = Precision(recipe=BASE_PRECISION)
BASE_PROVIDER = "cpu"

UNCLEAR = "the interval of their ratio includes 1"

PAIRED_ROUNDS = 3
"""Rounds with both points from which their ratio is told: of two, an interval may be any number of times the ratio."""

Value = Callable[[Point], float | None]


class Estimate(NamedTuple):
    value: float
    low: float
    high: float

    def over(self, other: "Estimate") -> "Estimate":
        """The ratio; its interval holds 1 exactly when the two intervals overlap."""
        return Estimate(self.value / other.value, self.low / other.high, self.high / other.low)

    @property
    def clear(self) -> bool:
        return not self.low <= 1 <= self.high


def latency(point: Point) -> Estimate:
    """The median in seconds, with its interval, of a point that was measured.

    Raises:
        ValueError: the point has no latency.
    """
    if point.latency is None:
        raise ValueError(f"{point.key.label} was not measured: {point.status}")
    return Estimate(point.latency.median_s, point.latency.ci_low_s, point.latency.ci_high_s)


def speed(base: Point, point: Point) -> Estimate:
    """How many times as fast a point is as its base."""
    levels = [one.latency.levels_s if one.latency else {} for one in (point, base)]
    common = sorted(levels[0].keys() & levels[1].keys())
    if len(common) < PAIRED_ROUNDS:
        return latency(base).over(latency(point))
    return Estimate(*paired(*([side[number] for number in common] for side in levels)))


def measured(points: Iterable[Point], phase: Phase | None = None) -> list[Point]:
    """Comparable points: they succeeded, on a real device, with the right result."""
    return [point for point in points if comparable(point) and phase in (None, point.load.phase)]


def without_baselines(points: Iterable[Point]) -> list[Point]:
    """The points that onnxruntime ran: what is said of a model's file rests on them alone."""
    return [point for point in points if not point.place.is_baseline]


def comparable(point: Point) -> bool:
    return point.latency is not None and not point.place.emulated and point.receipt.agrees is not False


def is_base(point: Point) -> bool:
    """Whether a point is in the precision that other precisions are compared with."""
    return point.subject.precision.recipe == BASE_PRECISION


def by_series(points: Iterable[Point]) -> dict[PointKey, list[Point]]:
    """Lines of a figure by their series key, which leaves out the token length; each sorted by length."""
    lines: dict[PointKey, list[Point]] = {}
    for point in sorted(points, key=lambda point: point.load.length):
        lines.setdefault(point.key.series, []).append(point)
    return lines


# --- with token length ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class LengthGrowth:
    """A series at two lengths."""

    short: Point
    long: Point

    @property
    def lengths(self) -> float:
        return self.long.load.length / self.short.load.length

    @property
    def time(self) -> Estimate:
        return latency(self.long).over(latency(self.short))

    @property
    def macs(self) -> float | None:
        return self.long.facts.macs / self.short.facts.macs if self.long.facts.macs and self.short.facts.macs else None

    @property
    def power(self) -> float:
        """p in time ~ length^p between the two: 1 is proportional, 0 is no growth."""
        return math.log(self.time.value) / math.log(self.lengths)

    @property
    def per_token_s(self) -> float:
        """Seconds per run for one more token: the slope of the chord between the two lengths."""
        return (latency(self.long).value - latency(self.short).value) / (self.long.load.length - self.short.load.length)


def length_growth(line: Sequence[Point]) -> LengthGrowth | None:
    """From the length nearest to a quarter of the longest to the longest: there tokens dominate, not overhead."""
    lengths = [point for point in line if point.load.length > 0]
    if len({point.load.length for point in lengths}) < 2:
        return None
    *rest, longest = lengths
    quarter = math.log(longest.load.length / 4)
    return LengthGrowth(min(rest, key=lambda point: abs(math.log(point.load.length) - quarter)), longest)


def whole_growth(line: Sequence[Point]) -> LengthGrowth | None:
    """From the shortest length to the longest."""
    lengths = [point for point in line if point.load.length > 0]
    return LengthGrowth(lengths[0], lengths[-1]) if len({point.load.length for point in lengths}) > 1 else None


def per_token(point: Point) -> Estimate:
    """Seconds per token: latency over the tokens of all sequences of one run; an unknown length counts as one."""
    return latency(point).over(Estimate(*[point.load.batch * (point.load.tokens or 1)] * 3))


# --- with size -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SizeGrowth:
    """Sizes of one family at similar token lengths, smallest first."""

    points: tuple[Point, ...]
    power: float | None  # p in value ~ params^p, least squares over logarithms; None below 3 sizes
    ratio: float  # the value of the largest over that of the smallest

    @property
    def params(self) -> float:
        return self.points[-1].facts.params / self.points[0].facts.params


def size_growth(points: Iterable[Point], value: Value) -> SizeGrowth | None:
    """How a value grows with the parameters: None below two sizes.

    Args:
        points: one family, precision and setting, one point for each variant.
        value: seconds or bytes of a point; points where it is None or 0 are left out.
    """
    sized = sorted((p for p in points if p.facts.params > 0 and value(p)), key=lambda p: p.facts.params)
    if len({point.facts.params for point in sized}) < 2:
        return None
    values = [value(point) or 0.0 for point in sized]
    power = _slope([p.facts.params for p in sized], values) if len({p.facts.params for p in sized}) >= 3 else None
    return SizeGrowth(tuple(sized), power, values[-1] / values[0])


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Least-squares slope of log y over log x."""
    log_x, log_y = [math.log(x) for x in xs], [math.log(y) for y in ys]
    mean_x, mean_y = sum(log_x) / len(log_x), sum(log_y) / len(log_y)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in zip(log_x, log_y, strict=True))
    return covariance / sum((x - mean_x) ** 2 for x in log_x)


def reference_points(points: Iterable[Point]) -> list[Point]:
    """One point for each series, at the token length at which most series were measured; on a tie, the longest.

    Image models have the lengths that their patches allow (122 where a text model has 128), so lengths within a factor
    of 1.3 count as equal. A series that was not measured there is left out: lengths are never mixed.
    """
    lines = by_series(point for point in points if point.load.length > 0).values()

    def near(length: int) -> list[Point]:
        nearest = (min(line, key=lambda point: abs(math.log(point.load.length / length))) for line in lines)
        return [point for point in nearest if 1 / 1.3 < point.load.length / length < 1.3]

    lengths = {point.load.length for line in lines for point in line}
    return max(map(near, sorted(lengths, reverse=True)), key=len, default=[])


# --- comparisons ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """The same point in two precisions, or on two providers. `speed` above 1: `point` is faster than `base`."""

    base: Point
    point: Point

    @property
    def speed(self) -> Estimate:
        return speed(self.base, self.point)


def comparisons(points: Iterable[Point]) -> list[Comparison]:
    """Each point compared with the same point in fp32 on the same provider, where that was measured."""
    return _against(points, lambda key: replace(key, subject=replace(key.subject, precision=BASE)))


def provider_comparisons(points: Iterable[Point]) -> list[Comparison]:
    """Each point of another provider or runtime compared with the same point on the CPU provider in the same precision,
    where that was measured."""
    cpu = {"provider": BASE_PROVIDER, "runtime": ONNXRUNTIME}
    return _against(points, lambda key: replace(key, place=replace(key.place, **cpu)))


def _against(points: Iterable[Point], base: Callable[[PointKey], PointKey]) -> list[Comparison]:
    """Comparable points, each with the point at the base of its key."""
    known = {point.key.lasting: point for point in filter(comparable, points)}
    pairs = ((known.get(base(key)), point) for key, point in known.items() if base(key) != key)
    return [Comparison(other, point) for other, point in pairs if other]


# --- memory --------------------------------------------------------------------------------------------


def peak_error(point: Point) -> float | None:
    """Predicted over measured peak memory, less one; None where one of them is unknown."""
    if point.memory is None or point.facts.memory is None:
        return None
    return point.facts.memory.peak_bytes / point.memory.peak_bytes - 1


def latency_error(point: Point) -> float | None:
    """Predicted over measured latency at the best level, less one; None where one of them is unknown."""
    if point.latency is None or point.facts.latency_predicted_s is None:
        return None
    return point.facts.latency_predicted_s / point.latency.best_s - 1


def predicted_ratio(point: Point) -> float | None:
    """Measured over predicted working memory; None where one of them is unknown."""
    predicted = point.facts.memory_predicted_bytes
    return point.memory.working_bytes / predicted or None if point.memory and predicted else None


# --- formulas over token length ------------------------------------------------------------------------

Shape = Literal["flat", "linear", "quadratic"]
_SHAPES: dict[int, Shape] = {0: "flat", 1: "linear", 2: "quadratic"}


@dataclass(frozen=True)
class CountedGrowth:
    """A counted quantity at the shortest and the longest length; `shape` where one holds throughout."""

    first: float
    last: float
    shape: Shape | None

    @property
    def ratio(self) -> float:
        return self.last / self.first


def counted_growth(values: Sequence[tuple[int, float]]) -> CountedGrowth | None:
    """How positive values (length, value) grow; None below two lengths.

    A shape must hold from each length to the next, to a hundredth of the power: projections and scores together are
    neither linear nor quadratic.
    """
    known = sorted((length, value) for length, value in dict(values).items() if length > 0 and value > 0)
    if len(known) < 2:
        return None
    powers = [
        math.log(after / before) / math.log(longer / shorter) for (shorter, before), (longer, after) in pairwise(known)
    ]
    nearest = {round(power) for power in powers}
    pure = len(nearest) == 1 and all(abs(power - round(power)) < 0.01 for power in powers)
    return CountedGrowth(known[0][1], known[-1][1], _SHAPES.get(nearest.pop()) if pure else None)
