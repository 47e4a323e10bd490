"""Laws of latency over token length, and where two of them cross.

A law is fitted (`fit`) to the best level of each point, which repeats better than the median. The relative standard
error of a point is taken from the interval of its median: half of it over 1.96, and at least 0.5 %, since no clock and
no curve is better.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from edgeprof import units
from edgeprof.analysis.findings import BASE, BASE_PROVIDER, by_series, measured
from edgeprof.analysis.fit import draws, fit
from edgeprof.analysis.verdict import half_width
from edgeprof.schema import Curve, LatencySummary, Law, Laws, MeasuredCrossover, Point, PointKey, Span

if TYPE_CHECKING:
    import numpy as np

LEAST = 4
"""Lengths of a line that has a law."""

LEAST_ERROR = 0.005

GRID = 500
"""Lengths at which two laws are compared, from the shortest to the longest."""


class Fitted(NamedTuple):
    """A law, and the coefficients that other measurements of the same could have given."""

    law: Law
    draws: np.ndarray


def laws(points: Iterable[Point]) -> Laws:
    """The law of every line of four lengths or more, and the crossovers of lines that differ in one thing alone."""
    fitted = [_law(key, line, seed) for seed, (key, line) in enumerate(lines(points))]
    return Laws(
        laws=tuple(each.law for each in fitted),
        crossovers=tuple(_crossover(*pair) for pair in _pairs(fitted) if _range(*pair)),
    )


def lines(points: Iterable[Point]) -> Iterator[tuple[PointKey, list[Point]]]:
    """Comparable points of one series, shortest first, where there are enough lengths."""
    for key, line in by_series(measured(points)).items():
        by_length = {point.load.length: point for point in line if point.load.length}
        if len(by_length) >= LEAST:
            yield key, list(by_length.values())


def error(latency: LatencySummary) -> float:
    """The relative standard error of the time of a point."""
    return max(half_width(latency) / 1.96, LEAST_ERROR)


def _law(key: PointKey, line: Sequence[Point], seed: int) -> Fitted:
    import numpy as np

    latencies = [point.latency for point in line if point.latency]
    lengths, values = [point.load.length for point in line], [latency.best_s for latency in latencies]
    errors, powers = list(map(error, latencies)), 1 if key.load.phase == "decode" else 2
    curve = fit(lengths, values, errors=errors, powers=powers)
    drawn = draws(curve, lengths, values, errors, powers=powers, seed=seed)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    constant, linear, quadratic = (
        Span(low=min(float(a), value), high=max(float(b), value))
        for a, b, value in zip(low, high, (curve.constant, curve.linear, curve.quadratic), strict=True)
    )
    shorter = fit(lengths[:-1], values[:-1], errors=errors[:-1], powers=powers)
    return Fitted(
        Law(
            key=key,
            lengths=tuple(lengths),
            curve=curve,
            constant=constant,
            linear=linear,
            quadratic=quadratic,
            held_out=lengths[-1],
            held_out_error=shorter.at(lengths[-1]) / values[-1] - 1,
            not_steady=tuple(point.load.length for point in line if point.verdict not in (None, "steady")),
        ),
        drawn,
    )


# --- crossovers ----------------------------------------------------------------------------------------


def _pairs(fitted: Sequence[Fitted]) -> Iterator[tuple[Fitted, Fitted]]:
    """Lines in another precision than fp32, each with that in fp32; lines on another provider, each with the CPU's."""
    for one, other in combinations(fitted, 2):
        for base, changed in ((one, other), (other, one)):
            a, b = base.law.key, changed.law.key
            precisions, providers = a.subject.precision != b.subject.precision, a.place.provider != b.place.provider
            if a.load != b.load or a.subject.model != b.subject.model or a.place.threads != b.place.threads:
                continue
            machines = [(key.place.host, key.place.machine_id) for key in (a, b)]
            if machines[0] != machines[1] or precisions == providers:
                continue
            if a.subject.precision == BASE if precisions else a.place.provider == BASE_PROVIDER:
                yield base, changed


def _range(a: Fitted, b: Fitted) -> tuple[int, int] | None:
    """The lengths that both lines were measured at; None where they have none in common."""
    shortest = max(a.law.lengths[0], b.law.lengths[0])
    longest = min(a.law.lengths[-1], b.law.lengths[-1])
    return (shortest, longest) if shortest < longest else None


def _crossover(base: Fitted, changed: Fitted) -> MeasuredCrossover:
    """The first length from which on the line that is faster at the longest length is so.

    Of a draw in which the lines do not cross, the crossover lies beyond one end of the measured range: the interval is
    open there.
    """
    import numpy as np

    ends = _range(base, changed)
    assert ends is not None
    grid = np.geomspace(*ends, GRID)
    powers = np.stack([grid**0, grid, grid**2])
    ahead = _coefficients(changed.law.curve) @ powers < _coefficients(base.law.curve) @ powers
    drawn = changed.draws @ powers < base.draws @ powers
    faster, slower = (changed, base) if ahead[-1] else (base, changed)
    crosses = bool(ahead[0] != ahead[-1])
    agree = float(np.mean((drawn[:, 0] == ahead[0]) & (drawn[:, -1] == ahead[-1])))
    found = MeasuredCrossover(
        faster=faster.law.key,
        slower=slower.law.key,
        shortest=ends[0],
        longest=ends[1],
        tokens=_from(ahead, grid, bool(ahead[-1])) if crosses else None,
        shown=agree >= 0.95,
        not_steady=len(base.law.not_steady) + len(changed.law.not_steady),
    )
    if not crosses:
        return found
    low, high = np.quantile([_from(each, grid, bool(ahead[-1])) for each in drawn], [0.025, 0.975], method="nearest")
    return replace(found, low=_within(low), high=_within(high))


def _coefficients(curve: Curve) -> np.ndarray:
    import numpy as np

    return np.array([curve.constant, curve.linear, curve.quadratic])


def _from(ahead: np.ndarray, grid: np.ndarray, last: bool) -> float:
    """The length from which on `ahead` is `last`: 0 if everywhere, infinite if it is not so at the end."""
    import numpy as np

    other = np.flatnonzero(ahead != last)
    if not len(other):
        return 0.0
    return float("inf") if other[-1] == len(grid) - 1 else float((grid[other[-1]] * grid[other[-1] + 1]) ** 0.5)


def _within(length: float) -> float | None:
    return float(length) if 0 < length < float("inf") else None


# --- text ----------------------------------------------------------------------------------------------


def sentence(crossover: MeasuredCrossover) -> str:
    """Where two lines cross, with the interval, or that they do not in the measured range."""
    doubtful = units.counted(crossover.not_steady, "point")
    caveat = f" ({doubtful} not steady)" if crossover.not_steady else ""
    faster, slower = _names(crossover.faster, crossover.slower)
    host = crossover.faster.place.host
    where = f"{crossover.faster.subject.model}{f' on {host}' if host else ''}, {crossover.faster.load.phase}"
    span = f"{crossover.shortest:,} to {crossover.longest:,} tokens{caveat}"
    if crossover.tokens is None:
        if not crossover.shown:
            return f"{where}: no difference between {faster} and {slower} is shown from {span}."
        return f"{where}: {faster} is faster than {slower} from {span}; a crossover is not in the measured range."
    low = f"{crossover.low:,.0f}" if crossover.low else f"below {crossover.shortest:,}"
    high = f"{crossover.high:,.0f}" if crossover.high else f"above {crossover.longest:,}"
    doubt = "" if crossover.shown else "; not shown, as the intervals of the laws overlap at an end of the range"
    return (
        f"{where}: {faster} is faster than {slower} from {crossover.tokens:,.0f} tokens on "
        f"(95 % interval {low} to {high}; measured {span}){doubt}."
    )


def _names(a: PointKey, b: PointKey) -> tuple[str, str]:
    if a.place.provider != b.place.provider:
        return a.place.provider, b.place.provider
    return str(a.subject.precision), str(b.subject.precision)
