"""The numbers worth telling: small frozen records computed from points, None or empty where the data do not allow it.

Two medians differ clearly when their 95 % intervals do not overlap: stricter than a test at 5 %, and what a reader
sees in the figure. Points of emulated devices prove a path, never a speed, and points whose result is wrong time some
other computation: both are left out of every comparison.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

from edgeprof.schema import Phase, Point

BASE_PRECISION = "fp32"
BASE_PROVIDER = "cpu"

Value = Callable[[Point], float | None]


class Series(NamedTuple):
    """What stays the same while the token length changes: a line in a figure."""

    variant: str
    precision: str
    provider: str
    batch: int
    threads: int


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
    middle, low, high = point.latency_median_s, point.latency_ci_low_s, point.latency_ci_high_s
    if middle is None or low is None or high is None:
        raise ValueError(f"{point.variant} was not measured: {point.status}")
    return Estimate(middle, low, high)


def measured(points: Iterable[Point], phase: Phase | None = None) -> list[Point]:
    """Points that can be compared: they succeeded, on a device that is really there, with the right result."""
    return [point for point in points if comparable(point) and phase in (None, point.phase)]


def comparable(point: Point) -> bool:
    return point.latency_median_s is not None and not point.emulated and point.agrees is not False


def by_series(points: Iterable[Point]) -> dict[Series, list[Point]]:
    """Lines of one phase, each sorted by length."""
    lines: dict[Series, list[Point]] = {}
    for point in sorted(points, key=lambda point: point.length):
        key = Series(point.variant, point.precision, point.provider, point.batch, point.threads)
        lines.setdefault(key, []).append(point)
    return lines


# --- with token length ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class LengthGrowth:
    """A series at two lengths."""

    short: Point
    long: Point

    @property
    def lengths(self) -> float:
        return self.long.length / self.short.length

    @property
    def time(self) -> Estimate:
        return latency(self.long).over(latency(self.short))

    @property
    def macs(self) -> float | None:
        return self.long.macs / self.short.macs if self.long.macs and self.short.macs else None

    @property
    def power(self) -> float:
        """p in time ~ length^p between the two: 1 is proportional, 0 is no growth."""
        return math.log(self.time.value) / math.log(self.lengths)

    @property
    def per_token_s(self) -> float:
        """What one more token costs on the way: a chord, in seconds per run."""
        return (latency(self.long).value - latency(self.short).value) / (self.long.length - self.short.length)


def length_growth(line: Sequence[Point]) -> LengthGrowth | None:
    """From the length nearest to a quarter of the longest to the longest: where the tokens, not the overhead, count."""
    lengths = [point for point in line if point.length > 0]
    if len({point.length for point in lengths}) < 2:
        return None
    *rest, longest = lengths
    quarter = math.log(longest.length / 4)
    return LengthGrowth(min(rest, key=lambda point: abs(math.log(point.length) - quarter)), longest)


def whole_growth(line: Sequence[Point]) -> LengthGrowth | None:
    """From the shortest length to the longest."""
    lengths = [point for point in line if point.length > 0]
    return LengthGrowth(lengths[0], lengths[-1]) if len({point.length for point in lengths}) > 1 else None


def per_token(point: Point) -> Estimate:
    """Seconds per token: latency over the tokens of all sequences of one run, whose length is known."""
    return latency(point).over(Estimate(*[point.batch * (point.tokens or 1)] * 3))


# --- with size -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SizeGrowth:
    """Sizes of one family at about one token length, smallest first."""

    points: tuple[Point, ...]
    power: float | None  # p in value ~ params^p, least squares over logarithms; None below 3 sizes
    ratio: float  # the value of the largest over that of the smallest

    @property
    def params(self) -> float:
        return self.points[-1].params / self.points[0].params


def size_growth(points: Iterable[Point], value: Value) -> SizeGrowth | None:
    """How a value grows with the parameters: None below two sizes.

    Args:
        points: one family, precision and setting, one point for each variant.
        value: seconds or bytes of a point; points where it is None or 0 are left out.
    """
    sized = sorted((p for p in points if p.params > 0 and value(p)), key=lambda p: p.params)
    if len({point.params for point in sized}) < 2:
        return None
    values = [value(point) or 0.0 for point in sized]
    power = _slope([p.params for p in sized], values) if len({p.params for p in sized}) >= 3 else None
    return SizeGrowth(tuple(sized), power, values[-1] / values[0])


def _slope(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Least-squares slope of log y over log x."""
    log_x, log_y = [math.log(x) for x in xs], [math.log(y) for y in ys]
    mean_x, mean_y = sum(log_x) / len(log_x), sum(log_y) / len(log_y)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in zip(log_x, log_y, strict=True))
    return covariance / sum((x - mean_x) ** 2 for x in log_x)


def reference_points(points: Iterable[Point]) -> list[Point]:
    """One point for each series, at one token length: that at which most series were measured; of several, the longest.

    Image models have the lengths their patches allow (122 where a text model has 128), so lengths within a factor of
    1.3 are taken for one. A series that was not measured there is left out: lengths are never mixed.
    """
    lines = by_series(point for point in points if point.length > 0).values()

    def near(length: int) -> list[Point]:
        nearest = (min(line, key=lambda point: abs(math.log(point.length / length))) for line in lines)
        return [point for point in nearest if 1 / 1.3 < point.length / length < 1.3]

    lengths = {point.length for line in lines for point in line}
    return max(map(near, sorted(lengths, reverse=True)), key=len, default=[])


# --- one thing against another -------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """The same point in two precisions, or on two providers. `speed` above 1: `point` is faster than `base`."""

    base: Point
    point: Point

    @property
    def speed(self) -> Estimate:
        return latency(self.base).over(latency(self.point))


def comparisons(points: Iterable[Point]) -> list[Comparison]:
    """Each point that was also measured in fp32 on the same provider, against that."""
    return _against(points, "precision", BASE_PRECISION)


def provider_comparisons(points: Iterable[Point]) -> list[Comparison]:
    """Each point that was also measured on the CPU provider in the same precision, against that."""
    return _against(points, "provider", BASE_PROVIDER)


_SAME = ("variant", "precision", "provider", "phase", "batch", "tokens", "past_tokens", "threads", "machine_id")


def _against(points: Iterable[Point], field: str, base: str) -> list[Comparison]:
    """Points that differ in one field alone, against those where it is `base`; none that cannot be compared."""
    known = list(filter(comparable, points))

    def where(point: Point) -> tuple[object, ...]:
        return tuple(getattr(point, name) for name in _SAME if name != field)

    bases = {where(point): point for point in known if getattr(point, field) == base}
    others = (point for point in known if getattr(point, field) != base)
    return [Comparison(bases[where(point)], point) for point in others if where(point) in bases]


# --- memory --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MemorySplit:
    """Where the resident bytes of a point are. The parts add up to the peak unless loading was the peak."""

    runtime_bytes: int
    weights_bytes: int
    working_bytes: int
    peak_bytes: int

    @property
    def peak_at_load(self) -> bool:
        """Loading needed clearly (5 %) more than the runs did."""
        return self.peak_bytes > 1.05 * (self.runtime_bytes + self.weights_bytes + self.working_bytes)


def memory_split(point: Point) -> MemorySplit | None:
    parts = (
        point.memory_runtime_bytes,
        point.memory_weights_bytes,
        point.memory_working_bytes,
        point.memory_peak_bytes,
    )
    if any(part is None for part in parts):
        return None
    return MemorySplit(*(part or 0 for part in parts))


def predicted_ratio(point: Point) -> float | None:
    """Working memory as measured over what was predicted; None where one of them is not known.

    What is predicted is what onnxruntime's CPU provider takes: of another provider this would say nothing.
    """
    working, predicted = point.memory_working_bytes, point.memory_predicted_bytes
    return working / predicted if working and predicted and point.provider == BASE_PROVIDER else None


# --- formulas over token length ------------------------------------------------------------------------

Shape = Literal["flat", "linear", "quadratic"]
_SHAPES: dict[int, Shape] = {0: "flat", 1: "linear", 2: "quadratic"}


@dataclass(frozen=True)
class CountedGrowth:
    """A quantity that was counted, from the shortest length to the longest; `shape` if it is one all the way."""

    first: float
    last: float
    shape: Shape | None

    @property
    def ratio(self) -> float:
        return self.last / self.first


def counted_growth(values: Sequence[tuple[int, float]]) -> CountedGrowth | None:
    """How positive values (length, value) grow; None below two lengths.

    A shape is one only if it holds from each length to the next, to a hundredth of the power: projections and scores
    together are neither linear nor quadratic.
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
