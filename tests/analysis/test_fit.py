"""Curves through points of known coefficients."""

import numpy as np
import pytest
from scipy.optimize import nnls

from edgeprof.analysis.fit import fit

LENGTHS = (16, 32, 64, 128, 256, 512)


@pytest.mark.parametrize(
    ("constant", "linear", "quadratic"),
    [(2e-3, 1e-3, 4e-7), (0.0, 1e-3, 0.0), (5e-3, 0.0, 1e-6), (8e6, 1.5e5, 48.0), (3.0, 0.0, 0.0)],
)
def test_points_on_a_curve_give_its_coefficients(constant: float, linear: float, quadratic: float) -> None:
    curve = fit(LENGTHS, [constant + linear * n + quadratic * n * n for n in LENGTHS])
    assert (curve.constant, curve.linear, curve.quadratic) == pytest.approx(
        (constant, linear, quadratic), rel=1e-9, abs=1e-12
    )
    assert [bool(part) for part in (curve.constant, curve.linear, curve.quadratic)] == [
        bool(part) for part in (constant, linear, quadratic)
    ]
    assert curve.worst == pytest.approx(0, abs=1e-9)
    assert curve.r_squared == pytest.approx(1)
    assert curve.at(1000) == pytest.approx(constant + 1000 * linear + 1_000_000 * quadratic)


def test_no_part_is_negative() -> None:
    """A straight line that starts below zero is fitted without its constant."""
    curve = fit(LENGTHS, [n - 10 for n in LENGTHS])
    assert curve.constant == 0
    assert min(curve.linear, curve.quadratic) >= 0


def test_no_other_curve_without_negative_parts_fits_better() -> None:
    """Lawson and Hanson's algorithm, as scipy has it, ends at the same one: of any shape, with any noise."""
    generator = np.random.default_rng(1)
    n = np.array(LENGTHS, float)
    kept = set()
    for _ in range(200):
        values = np.exp(generator.normal(0, 0.5, len(n))) * n ** generator.uniform(-1, 2.5)
        curve = fit(LENGTHS, values)
        scaled = np.column_stack([n**power / n.max() ** power for power in range(3)]) / values[:, None]
        expected = nnls(scaled, np.ones(len(n)))[0] / n.max() ** np.arange(3)
        parts = (curve.constant, curve.linear, curve.quadratic)
        assert parts == pytest.approx(expected, rel=1e-6, abs=1e-9 * float(expected.max()))
        kept.add(tuple(map(bool, parts)))
    assert len(kept) >= 6  # of the seven choices of parts


def test_relative_errors_count_so_that_short_lengths_do_too() -> None:
    """Of 1, 1, 1.2 a constant c has residuals c - 1, c - 1, c / 1.2 - 1; (2 + 1/1.2) / (2 + 1/1.44) is the least."""
    curve = fit((3, 2, 1), [1.0, 1.0, 1.2])  # falls with the length, so that only the constant is left
    assert curve.constant == pytest.approx((2 + 1 / 1.2) / (2 + 1 / 1.44))
    assert (curve.linear, curve.quadratic) == (0, 0)
    assert curve.worst == pytest.approx(1 - curve.constant / 1.2)
    assert curve.r_squared < 0.01


def test_the_error_of_a_fit_to_noisy_points_is_reported() -> None:
    values = [1e-3 * n * (1.1 if n == 64 else 1) for n in LENGTHS]
    curve = fit(LENGTHS, values)
    assert 0.05 < curve.worst < 0.1
    assert curve.r_squared > 0.99


@pytest.mark.parametrize(
    ("lengths", "values"), [((16, 32), (1.0, 2.0)), ((16, 32, 32), (1.0, 2.0, 3.0)), ((1, 2, 3), (1.0, 0.0, 2.0))]
)
def test_what_cannot_be_fitted_is_refused(lengths: tuple[int, ...], values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="three different lengths"):
        fit(lengths, values)
