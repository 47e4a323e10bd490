"""B against A at one point: the ratio of their times, its interval, and whether a difference is shown.

The figure of a visit is its first decile, the fast level that lasted: disturbance only ever adds time, so from visit to
visit the low end repeats as well as the middle or up to twice as well.

    together   A and B in one process, block after block: d_r is the median over the pairs of blocks of round r of
               log(median of the runs of B / median of the runs of A). What slows both for a second cancels.
    in turn    A and B in a process each, for environments that differ, or where both do not fit into memory:
               d_r = log(level of B in round r / level of A in round r). What slows a whole round cancels.

Of the d of n rounds, either way:

    7 or more  the median of the means of all pairs of d, each with itself, too (Hodges and Lehmann); the interval is
               from the k-th least of these means to the k-th greatest, with the largest k for which signed ranks
               sum to less than k in at most 1.5 % of cases (Conover, Practical Nonparametric Statistics, 5.7). One
               round that something disturbed moves it little.
    fewer      signed ranks tell nothing at 97 %: exp(mean(d) -/+ t(0.985, n - 1) * s(d) / sqrt(n))

Two runs of different times:

    unpaired   by Welch: x and y the logarithms of the levels of A and B:
               exp(mean(y) - mean(x) -/+ t(0.985, f) * sqrt(s(x)^2 / m + s(y)^2 / n)), f by Satterthwaite.

The quantile is that of 97 %: rounds end when the interval is narrow enough, and that prefers rounds that happen to
agree. With eight rounds or more the interval then holds the truth in 95 % of comparisons or more, so that of A and A at
most 5 % are called different (tests/analysis/test_compare.py).

A difference is shown if the interval excludes 1.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, combinations_with_replacement
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from edgeprof.analysis.disturbance import Quiet, disturbed
from edgeprof.analysis.quantiles import student_t
from edgeprof.analysis.statistics import level_of, visits_of_points
from edgeprof.analysis.verdict import plus_minus, taken_s
from edgeprof.schema import (
    ComparedPoint,
    Difference,
    Goal,
    Measurement,
    PairBlock,
    PairVisit,
    PointKey,
    Precision,
    Subject,
    WeightsSource,
)

QUANTILE = 0.985

TOO_FEW = "fewer than two rounds have both"


class Ratio(NamedTuple):
    """Of times, B over A, with its interval."""

    value: float
    low: float
    high: float

    @classmethod
    def around(cls, middle: float, half: float) -> Ratio:
        """Of logarithms."""
        return cls(*map(math.exp, (middle, middle - half, middle + half)))

    @property
    def half_width(self) -> float:
        """Of the interval, as a share of the ratio."""
        return (self.high - self.low) / 2 / self.value

    @property
    def verdict(self) -> Difference:
        """Of B against A."""
        return "faster" if self.high < 1 else "slower" if self.low > 1 else "no difference shown"


def level_s(visit: Measurement) -> float | None:
    """The level of a visit; None of one that failed."""
    reading = visit.outcome.reading
    return level_of(reading.latencies_s) if reading else None


def paired(a: Sequence[float], b: Sequence[float]) -> Ratio:
    """The ratio of levels of at least two rounds, each with A and B."""
    return of_logs(_logs(a, b))


def _logs(a: Sequence[float], b: Sequence[float]) -> list[float]:
    return [math.log(y / x) for x, y in zip(a, b, strict=True)]


def of_logs(logs: Sequence[float]) -> Ratio:
    """The ratio of at least two rounds, from the logarithm of that of each."""
    if rank := _rank(len(logs)):
        means = sorted((x + y) / 2 for x, y in combinations_with_replacement(logs, 2))
        return Ratio(*map(math.exp, (statistics.median(means), means[rank - 1], means[-rank])))
    half = student_t(QUANTILE, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Ratio.around(statistics.fmean(logs), half)


def unpaired(a: Sequence[float], b: Sequence[float]) -> Ratio:
    """The ratio of levels of at least two visits of A and two of B, made at different times."""
    x, y = (list(map(math.log, levels)) for levels in (a, b))
    of_x, of_y = statistics.variance(x) / len(x), statistics.variance(y) / len(y)
    degrees = (of_x + of_y) ** 2 / (of_x**2 / (len(x) - 1) + of_y**2 / (len(y) - 1)) if of_x + of_y else 1.0
    half = student_t(QUANTILE, degrees) * math.sqrt(of_x + of_y)
    return Ratio.around(statistics.fmean(y) - statistics.fmean(x), half)


@functools.cache
def _rank(count: int) -> int:
    """Which mean from either end bounds the interval; 0 where there are too few values for one.

    >>> [_rank(count) for count in (6, 7, 8, 20)]
    [0, 1, 3, 48]
    """
    ways = [1]  # to give signs to the ranks so far, by the sum of the positive ones
    for rank in range(1, count + 1):
        ways = [x + y for x, y in zip(ways + [0] * rank, [0] * rank + ways, strict=True)]
    below = accumulate(ways)
    return sum(sum_of_ways <= (1 - QUANTILE) * 2**count for sum_of_ways in below)


# --- rounds --------------------------------------------------------------------------------------------


class Rounds(Protocol):
    """The rounds of one point."""

    @property
    def tried(self) -> int: ...

    @property
    def read(self) -> Collection[int]:
        """The rounds in which both were measured."""

    @property
    def off(self) -> Collection[int]:
        """The rounds that other work disturbed."""

    @property
    def spent_s(self) -> float:
        """The time of all visits."""

    @property
    def failure(self) -> str:
        """Why there is no ratio: an error, or too few rounds."""

    def used(self, goal: Goal) -> Collection[int]:
        """The rounds whose ratios count."""

    def levels(self, goal: Goal) -> tuple[list[float], list[float]]:
        """Of A and of B, in seconds, of each round that counts."""

    def logs(self, goal: Goal) -> list[float]:
        """The logarithm of B over A, of each round that counts."""


class InTurn(NamedTuple):
    """Visits of A and of B by their rounds, each in a process of its own, and which rounds other work disturbed."""

    a: Mapping[int, Measurement]
    b: Mapping[int, Measurement]
    off: frozenset[int]

    @classmethod
    def of(cls, a: Iterable[Measurement], b: Iterable[Measurement], quiet: Quiet) -> InTurn:
        of_a, of_b = ({visit.round: visit for visit in visits} for visits in (a, b))
        off = [n for side in (of_a, of_b) for n, visit in side.items() if disturbed(visit, quiet)]
        return cls(of_a, of_b, frozenset(off))

    @property
    def tried(self) -> int:
        return len(self.a.keys() & self.b.keys())

    @property
    def read(self) -> list[int]:
        return [n for n in self.a if n in self.b and self.a[n].outcome.reading and self.b[n].outcome.reading]

    def used(self, goal: Goal) -> list[int]:
        """The undisturbed rounds; all where there are too few of them."""
        calm = [n for n in self.read if n not in self.off]
        return calm if len(calm) >= min(goal.rounds, len(self.read)) else self.read

    def levels(self, goal: Goal) -> tuple[list[float], list[float]]:
        a, b = ([level for n in self.used(goal) if (level := level_s(side[n]))] for side in (self.a, self.b))
        return a, b

    def logs(self, goal: Goal) -> list[float]:
        return _logs(*self.levels(goal))

    @property
    def spent_s(self) -> float:
        return sum(taken_s(visit) for side in (self.a, self.b) for visit in side.values())

    @property
    def failure(self) -> str:
        """The newest error of a side that was never measured."""
        for side in (self.a, self.b):
            if side and not any(visit.outcome.reading for visit in side.values()):
                newest = list(side.values())[-1]
                return newest.outcome.error or newest.outcome.status
        return TOO_FEW if len(self.read) < 2 else ""


class Together(NamedTuple):
    """Visits in which A and B ran in turn, by their rounds. None is left out: what disturbs one disturbs both."""

    visits: Mapping[int, PairVisit]

    @property
    def off(self) -> frozenset[int]:
        return frozenset()

    @property
    def tried(self) -> int:
        return len(self.visits)

    @property
    def read(self) -> list[int]:
        return [number for number, visit in self.visits.items() if visit.outcome.reading]

    def used(self, _goal: Goal) -> list[int]:
        return self.read

    def levels(self, goal: Goal) -> tuple[list[float], list[float]]:
        """Medians over the blocks of a round, of the median of each."""
        blocks = list(map(self._blocks, self.used(goal)))
        a = [statistics.median(statistics.median(block.a_s) for block in each) for each in blocks]
        b = [statistics.median(statistics.median(block.b_s) for block in each) for each in blocks]
        return a, b

    def logs(self, goal: Goal) -> list[float]:
        return [statistics.median(map(_log_of_block, self._blocks(number))) for number in self.used(goal)]

    def _blocks(self, number: int) -> Sequence[PairBlock]:
        reading = self.visits[number].outcome.reading
        return reading.blocks if reading else ()

    @property
    def spent_s(self) -> float:
        return sum(visit.outcome.took_s for visit in self.visits.values())

    @property
    def failure(self) -> str:
        """The newest error, where no round was measured."""
        if self.visits and not self.read:
            newest = list(self.visits.values())[-1].outcome
            return newest.error or newest.status
        return TOO_FEW if len(self.read) < 2 else ""


def _log_of_block(block: PairBlock) -> float:
    return math.log(statistics.median(block.b_s) / statistics.median(block.a_s))


def enough(rounds: Rounds, goal: Goal) -> bool:
    """Whether a point needs no further round.

    Disturbed rounds are made again, as often as there are rounds; a side that cannot be measured is tried once.
    """
    if rounds.tried and not rounds.read:
        return True
    if rounds.tried < goal.rounds:
        return False
    calm = sum(n not in rounds.off for n in rounds.read)
    if calm < goal.rounds and rounds.tried < 2 * goal.rounds:
        return False
    ratio = ratio_of(rounds, goal)
    return ratio is None or ratio.half_width <= goal.ci or rounds.spent_s >= goal.max_time_s


def ratio_of(rounds: Rounds, goal: Goal) -> Ratio | None:
    """None of fewer than two rounds."""
    logs = rounds.logs(goal)
    return of_logs(logs) if len(logs) > 1 else None


def of_rounds(a: PointKey, b: PointKey, rounds: Rounds, goal: Goal) -> ComparedPoint | None:
    """B against A, measured in the same rounds; None where that failed (`Rounds.failure`)."""
    ratio = ratio_of(rounds, goal)
    if ratio is None:
        return None
    off = sum(n in rounds.off for n in rounds.used(goal))
    notes = [
        f"other work disturbed {off} of {len(rounds.used(goal))} rounds" if off else "",
        f"{plus_minus(ratio.half_width)}, asked for {plus_minus(goal.ci)}" if ratio.half_width > goal.ci else "",
    ]
    return _point(a, b, ratio, rounds.levels(goal), "; ".join(filter(None, notes)))


# --- recorded ------------------------------------------------------------------------------------------


def recorded(
    a: Sequence[Measurement], b: Sequence[Measurement]
) -> tuple[list[ComparedPoint], list[str], list[PointKey]]:
    """Two runs at their common points; where each run has one model alone, at their common sizes.

    Returns:
        Compared points; points that could not be compared, each with the reason; points that only one of them has.
    """
    quiet = Quiet.of([*a, *b])
    points_a, points_b = ({_shared(visits[-1].key): visits for visits in visits_of_points(run)} for run in (a, b))
    if not points_a.keys() & points_b.keys() and _of_one_model(points_a) and _of_one_model(points_b):
        points_a, points_b = (
            {_any_subject(key): visits for key, visits in run.items()} for run in (points_a, points_b)
        )
    compared: list[ComparedPoint] = []
    failed: list[str] = []
    for key in (key for key in points_a if key in points_b):
        pair = points_a[key][-1].key, points_b[key][-1].key
        problem = _not_comparable(pair)
        levels_a, levels_b = (_calm_levels(run[key], quiet) for run in (points_a, points_b))
        if not problem and min(len(levels_a), len(levels_b)) < 2:
            problem = "two rounds or more of each are needed: profile with --rounds 3"
        if problem:
            failed.append(f"{pair[0].label}: {problem}")
            continue
        compared.append(_point(*pair, unpaired(levels_a, levels_b), (levels_a, levels_b), ""))
    alone = [
        visits[-1].key
        for run, other in ((points_a, points_b), (points_b, points_a))
        for key, visits in run.items()
        if key not in other
    ]
    return compared, failed, alone


def _shared(key: PointKey) -> PointKey:
    """The key without the machine."""
    lasting = key.lasting
    return replace(lasting, place=replace(lasting.place, machine_id=""))


def _of_one_model(keys: Iterable[PointKey]) -> bool:
    return len({key.subject for key in keys}) == 1


def _any_subject(key: PointKey) -> PointKey:
    return replace(key, subject=Subject(model="", precision=Precision(recipe=""), weights=WeightsSource(kind="file")))


def _not_comparable(pair: tuple[PointKey, PointKey]) -> str:
    emulated = any(key.place.emulated for key in pair)
    return "times of an emulated device are not meaningful" if emulated else ""


def _calm_levels(visits: Sequence[Measurement], quiet: Quiet) -> list[float]:
    """The levels of undisturbed visits; of all, where fewer than the rounds asked for are left."""
    read = [(level, disturbed(visit, quiet)) for visit in visits if (level := level_s(visit))]
    calm = [level for level, off in read if not off]
    goal = visits[-1].goal or Goal()
    return calm if len(calm) >= min(goal.rounds, len(read)) else [level for level, _ in read]


def _point(
    a: PointKey, b: PointKey, ratio: Ratio, levels: tuple[Sequence[float], Sequence[float]], note: str
) -> ComparedPoint:
    return ComparedPoint(
        a=a,
        b=b,
        a_s=statistics.geometric_mean(levels[0]),
        b_s=statistics.geometric_mean(levels[1]),
        ratio=ratio.value,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        verdict=ratio.verdict,
        a_rounds=len(levels[0]),
        b_rounds=len(levels[1]),
        note=note,
    )
