"""Quantiles against scipy's, which devices do not have."""

import numpy as np
import pytest
from scipy.stats import binom, t

from edgeprof.analysis.quantiles import fair_coin, student_t


@pytest.mark.parametrize("probability", [0.6, 0.975, 0.985, 0.995])
def test_quantiles_of_student_are_scipys(probability: float) -> None:
    for degrees in (*range(1, 60), *np.linspace(1, 8, 40), 1000, 1_000_000):
        assert student_t(probability, float(degrees)) == pytest.approx(t.ppf(probability, degrees), rel=1e-8)


@pytest.mark.parametrize("probability", [0.005, 0.025, 0.1])
def test_quantiles_of_coins_are_scipys(probability: float) -> None:
    for tosses in (*range(1, 200), 1001, 99_999):
        assert fair_coin(probability, tosses) == binom.ppf(probability, tosses, 0.5)
