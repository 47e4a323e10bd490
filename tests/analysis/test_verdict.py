"""Verdicts on simulated series whose truth is known: how far a figure can be trusted, and when it is known enough."""

from collections.abc import Callable

import numpy as np
import pytest
from factories import reading, visit
from numpy.typing import NDArray
from scipy.stats import linregress

from edgeprof.analysis.disturbance import Quiet, disturbed
from edgeprof.analysis.statistics import interval_between_rounds, point
from edgeprof.analysis.verdict import DRIFT, DRIFT_RISK, drift, enough
from edgeprof.schema import Canaries, Goal, Measurement

Series = Callable[[np.random.Generator, int], NDArray[np.float64]]
QUIET = Quiet({})


def levels(medians: NDArray[np.float64], goal: Goal = Goal(), took_s: float = 2.0) -> list[Measurement]:  # noqa: B008
    """A visit for each median."""
    return [visit(number, reading(m, m, m), goal=goal, took_s=took_s) for number, m in enumerate(medians)]


# --- the interval ------------------------------------------------------------------------------------------


def independent(generator: np.random.Generator, rounds: int) -> NDArray[np.float64]:
    return np.median(np.exp(generator.normal(0, 0.05, (rounds, 51))), axis=1)


def a_level_per_process(generator: np.random.Generator, rounds: int) -> NDArray[np.float64]:
    level, noise = generator.normal(0, 0.15, rounds), np.median(generator.normal(0, 0.05, (rounds, 51)), axis=1)
    medians: NDArray[np.float64] = np.exp(level + noise)
    return medians


def autocorrelated(generator: np.random.Generator, rounds: int) -> NDArray[np.float64]:
    """Within a process every run resembles the one before."""
    noise = generator.normal(0, 0.05, (rounds, 200))
    for run in range(1, 200):
        noise[:, run] += 0.9 * noise[:, run - 1]
    return np.median(np.exp(noise), axis=1)


def heavy_tailed(generator: np.random.Generator, rounds: int) -> NDArray[np.float64]:
    return np.median(np.exp(0.05 * generator.standard_t(2, (rounds, 51))), axis=1)


def two_levels(generator: np.random.Generator, rounds: int) -> NDArray[np.float64]:
    """Each run is fast or slow: the median of many lies between."""
    slow = generator.random((rounds, 201)) < 0.3
    return np.median(np.where(slow, 2.0, 1.0) * np.exp(generator.normal(0, 0.05, (rounds, 201))), axis=1)


TRUTHS: dict[Series, float] = {
    independent: 1.0,
    a_level_per_process: 1.0,
    autocorrelated: 1.0,
    heavy_tailed: 1.0,
    two_levels: float(np.median([np.median(two_levels(np.random.default_rng(9), 1000))])),
}


@pytest.mark.parametrize("series", TRUTHS, ids=lambda series: series.__name__)
@pytest.mark.parametrize("rounds", [3, 8])
def test_the_interval_holds_the_truth_in_95_of_100_runs(series: Series, rounds: int) -> None:
    generator, runs = np.random.default_rng(1), 2000
    intervals = (interval_between_rounds(list(series(generator, rounds))) for _ in range(runs))
    held = sum(low <= TRUTHS[series] <= high for low, high in intervals)
    assert 0.92 <= held / runs <= 0.98


# --- drift -------------------------------------------------------------------------------------------------


def test_a_drift_is_shown_where_scipy_shows_a_slope() -> None:
    generator = np.random.default_rng(2)
    for _ in range(300):
        visits = int(generator.integers(5, 12))
        series = np.exp(generator.normal(0, 0.03, visits) + generator.uniform(-0.03, 0.03) * np.arange(visits))
        line = linregress(range(visits), np.log(series))
        change = float(np.expm1(line.slope * (visits - 1)))
        shown = abs(change) >= DRIFT and line.pvalue < DRIFT_RISK
        assert drift(list(series)) == (pytest.approx(change) if shown else 0.0)


def test_a_drift_is_found_and_none_is_claimed_without_it() -> None:
    generator, runs, visits = np.random.default_rng(2), 500, 12
    noise = np.exp(generator.normal(0, 0.01, (runs, visits)))
    rising = noise * np.linspace(1.0, 1.06, visits)
    assert sum(drift(list(one)) > 0 for one in rising) / runs > 0.8
    assert sum(drift(list(one)) != 0 for one in noise) == 0
    noisy = np.exp(generator.normal(0, 0.2, (runs, visits)))
    assert sum(drift(list(one)) != 0 for one in noisy) / runs < 0.02


# --- verdicts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("medians", "verdict", "note"),
    [
        ([1.00, 1.01, 1.00, 1.01, 1.00], "steady", "+/- 0.7 %"),
        ([1.0, 1.3, 1.0, 1.3, 1.0], "noisy", "+/- 19.9 %, asked for +/- 3.0 %"),
        ([1.00, 1.02, 1.04, 1.06, 1.08, 1.10], "drifting", "slower by 10 % over the run"),
        ([1.10, 1.08, 1.06, 1.04, 1.02, 1.00], "drifting", "faster by 9 % over the run"),
    ],
)
def test_verdicts(medians: list[float], verdict: str, note: str) -> None:
    judged = point(levels(np.array(medians)), QUIET)
    assert (judged.verdict, judged.verdict_note) == (verdict, note)


def canary_visit(number: int, slowdown: float, median: float) -> Measurement:
    canaries = tuple(Canaries(matrices_s=0.01, vector_s=0.005 * factor) for factor in (1.0, slowdown))
    return visit(number, reading(median, median, canaries=canaries), goal=Goal())


def test_a_visit_with_slow_canaries_does_not_count() -> None:
    visits = [canary_visit(number, slowdown, median) for number, (slowdown, median) in enumerate(
        [(1.0, 1.00), (1.1, 1.01), (2.0, 1.60), (1.0, 1.00)]
    )]  # fmt: skip
    quiet = Quiet.of(visits)
    assert [disturbed(one, quiet) for one in visits] == [False, False, True, False]
    judged = point(visits, quiet)
    assert judged.latency and judged.latency.rounds_s == (1.00, 1.01, 1.00)
    assert judged.verdict == "steady"


def test_a_point_that_was_disturbed_all_the_time_says_so() -> None:
    visits = [canary_visit(number, 2.0 if number else 1.0, 1.0) for number in range(4)]
    judged = point(visits, Quiet.of(visits))
    assert (judged.verdict, judged.verdict_note) == ("disturbed", "other work disturbed 3 of 4 visits")
    assert judged.latency and len(judged.latency.rounds_s) == 4


def test_the_best_level_is_the_least_first_decile() -> None:
    slow, fast = [2.0 + n / 10 for n in range(11)], [1.0 + n / 10 for n in range(11)]
    judged = point([visit(0, reading(*slow)), visit(1, reading(*fast))], QUIET)
    assert judged.latency and judged.latency.best_s == pytest.approx(1.1)


# --- when it is enough -------------------------------------------------------------------------------------


def is_enough(medians: list[float], goal: Goal, took_s: float = 2.0) -> bool:
    visits = levels(np.array(medians), goal, took_s)
    return enough(visits, point(visits, QUIET).latency, goal, QUIET)


def test_a_point_is_visited_until_its_interval_is_narrow_or_its_time_is_spent() -> None:
    goal = Goal(rounds=3, ci=0.03, max_time_s=30.0)
    assert not is_enough([1.0, 1.0], goal), "fewer visits than rounds"
    assert is_enough([1.0, 1.001, 1.0], goal), "the interval is narrow"
    assert not is_enough([1.0, 1.2, 1.0], goal), "the interval is wide, and there is time"
    assert is_enough([1.0, 1.2, 1.0], goal, took_s=10.0), "the time is spent"
    assert is_enough([1.0, 1.2, 1.0], Goal(rounds=3, max_time_s=0)), "no time beyond the rounds"


def test_disturbed_visits_are_made_again_but_not_for_ever() -> None:
    goal = Goal(rounds=2, max_time_s=0)
    visits = [canary_visit(0, 1.0, 1.0), *(canary_visit(number, 2.0, 1.0) for number in range(1, 4))]
    quiet = Quiet.of(visits)
    assert [enough(visits[:n], point(visits[:n], quiet).latency, goal, quiet) for n in (2, 3, 4)] == [
        False,
        False,
        True,
    ]


def test_a_point_that_fails_is_tried_once_per_round() -> None:
    failed = [visit(number, None) for number in range(3)]
    assert enough(failed, None, Goal(), QUIET)


def test_a_point_that_fails_from_some_visit_on_is_tried_as_often_as_there_are_rounds() -> None:
    goal = Goal(rounds=2, ci=0.0)
    good = levels(np.array([1.0, 1.2]), goal)
    visits = [*good, visit(2, None, goal=goal), visit(3, None, goal=goal)]
    assert [enough(visits[:n], point(visits[:n], QUIET).latency, goal, QUIET) for n in (2, 3, 4)] == [
        False,
        False,
        True,
    ]
    repeated = [visit(0, None, goal=goal), visit(1, None, goal=goal), *good]
    assert not enough(repeated, point(good, QUIET).latency, goal, QUIET), "the failed visits were made again"
