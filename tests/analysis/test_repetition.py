"""How long the next visit should be, on simulated visits whose variances are known."""

import numpy as np
import pytest
from factories import reading, visit

from edgeprof.analysis.repetition import LONGEST, stretch
from edgeprof.schema import Measurement

RUNS, RUN_S = 50, 0.02


def visits(count: int, between: float, within: float, besides_s: float, runs: int = RUNS) -> list[Measurement]:
    """Of runs of 20 ms; standard deviations of the logarithms, of a process's level and of single runs."""
    generator = np.random.default_rng(0)
    times = RUN_S * np.exp(generator.normal(0, between, (count, 1)) + generator.normal(0, within, (count, runs)))
    return [visit(number, reading(*each), took_s=besides_s + each.sum()) for number, each in enumerate(times)]


def test_longer_visits_where_runs_vary_and_processes_do_not():
    assert stretch(visits(10, between=0.0, within=0.2, besides_s=2.0)) == LONGEST


def test_no_longer_visits_where_processes_vary():
    assert stretch(visits(10, between=0.1, within=0.05, besides_s=2.0)) == 1.0


def test_the_optimum_of_kalibera_and_jones():
    # The median of 50 normal values has pi / 2 / 50 of their variance: with 0.2, 0.0354^2. The same between processes,
    # 1 s timed and 9 s besides: sqrt(1 x 9 / 1) = 3. The optimum is flat: 25 % beside it costs 3 % more time.
    assert stretch(visits(400, between=0.0354, within=0.2, besides_s=9.0)) == pytest.approx(3.0, rel=0.25)


@pytest.mark.parametrize("count, runs", [(2, RUNS), (10, 9)])
def test_too_few_to_tell(count, runs):
    assert stretch(visits(count, between=0.0, within=0.2, besides_s=2.0, runs=runs)) == 1.0


def test_a_visit_that_was_stretched_counts_by_its_first_runs():
    plain, longer = (visits(5, between=0.1, within=0.05, besides_s=2.0, runs=runs) for runs in (RUNS, 4 * RUNS))
    assert stretch([*plain, *longer]) == 1.0
