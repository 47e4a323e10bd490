"""A curve over token lengths: value = a + b n + c n^2, none of a, b, c below zero.

a is the fixed cost of a run, b n the cost of tokens (projections, the MLP), c n^2 the cost of pairs of tokens
(attention). Time and memory only add up, so a negative term would be noise: the fit is non-negative least squares
(Lawson & Hanson 1974, chapter 23), here by trying every choice of powers. Values span orders of magnitude, so residuals
are relative; with plain ones the longest length alone would decide.

Where the error of each value is known, residuals are weighted by it, and intervals of the coefficients follow from a
parametric bootstrap (Efron & Tibshirani 1993, 6.5): the curve plus noise of that error is fitted again and again. If
values lie farther from the curve than their errors explain, the errors are scaled up until they do (Birge 1932).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from edgeprof.schema import Curve

if TYPE_CHECKING:
    import numpy as np

DRAWS = 400
"""Fits of a bootstrap: its 2.5 % and 97.5 % quantiles rest on the ten outermost."""


def fit(lengths: Sequence[int], values: Sequence[float], *, errors: Sequence[float] = (), powers: int = 2) -> Curve:
    """Fit the curve with the smallest sum of squared relative residuals; R^2 is of the plain residuals.

    Args:
        lengths: token lengths, more different ones than `powers`.
        values: one for each, above zero.
        errors: the relative standard error of each value, which its residual is divided by; default equal ones.
        powers: 1 fits a line, without c.

    Raises:
        ValueError: too few lengths, or a value that is not above zero.
    """
    import numpy as np

    if len(set(lengths)) <= powers or min(values) <= 0:
        raise ValueError(f"a curve needs {('two', 'three')[powers - 1]} different lengths and values above zero")
    y = np.asarray(values, float)
    columns, longest = _columns(lengths, powers)
    (parts,) = _parts(columns, y[None], _weights(errors, len(y)))
    fitted = columns @ parts
    spread = float(((y - y.mean()) ** 2).sum())
    constant, linear, quadratic = _in_tokens(parts, longest)
    return Curve(
        constant=constant,
        linear=linear,
        quadratic=quadratic,
        worst=float(np.abs(fitted / y - 1).max()),
        r_squared=1 - float(((y - fitted) ** 2).sum()) / spread if spread else 1.0,
    )


def draws(
    curve: Curve,
    lengths: Sequence[int],
    values: Sequence[float],
    errors: Sequence[float],
    *,
    powers: int = 2,
    seed: int = 0,
) -> np.ndarray:
    """Coefficients (DRAWS x 3) of fits to the curve plus noise: what other measurements of the same would have given.

    Args:
        curve: fitted to these values with these errors.
        errors: relative standard errors, above zero.
        seed: of the noise; curves that are compared need different ones.
    """
    import numpy as np

    columns, longest = _columns(lengths, powers)
    fitted = np.array([curve.at(length) for length in lengths])
    free = len(lengths) - sum(map(bool, (curve.constant, curve.linear, curve.quadratic)))
    chi_squared = float((((np.asarray(values) - fitted) / fitted / np.asarray(errors)) ** 2).sum())
    noise = np.asarray(errors) * math.sqrt(max(1.0, chi_squared / max(free, 1)))
    generator, weights = np.random.default_rng(seed), _weights(errors, len(fitted))
    several = fitted * np.maximum(1 + noise * generator.standard_normal((DRAWS, len(fitted))), 0.01)
    return np.array([_in_tokens(parts, longest) for parts in _parts(columns, several, weights)])


def _columns(lengths: Sequence[int], powers: int) -> tuple[np.ndarray, int]:
    """The powers of the lengths over the longest: similar magnitudes keep the condition number low."""
    import numpy as np

    longest = max(lengths)
    n = np.asarray(lengths, float) / longest
    return np.column_stack([n**power for power in range(powers + 1)]), longest


def _weights(errors: Sequence[float], count: int) -> np.ndarray:
    import numpy as np

    return 1 / np.asarray(errors, float) if errors else np.ones(count)


def _parts(columns: np.ndarray, values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The term of each power at the longest length, for every row of values.

    Of the least squares fits of every choice of powers, the best that has no term below zero.
    """
    import numpy as np

    scaled, count = columns * (weights / values)[..., None], columns.shape[1]
    best, least = np.zeros((len(values), count)), np.full(len(values), np.inf)
    for chosen in (list(some) for size in range(1, count + 1) for some in combinations(range(count), size)):
        q, r = np.linalg.qr(scaled[..., chosen])
        parts = np.zeros_like(best)
        parts[:, chosen] = np.linalg.solve(r, (weights @ q)[..., None])[..., 0]
        squares = (((scaled @ parts[..., None])[..., 0] - weights) ** 2).sum(axis=1)
        better = (parts >= 0).all(axis=1) & (squares < least)
        best[better], least[better] = parts[better], squares[better]
    best[best < 1e-9 * best.sum(axis=1, keepdims=True)] = 0.0  # rounding, not growth
    return best


def _in_tokens(parts: np.ndarray, longest: int) -> tuple[float, float, float]:
    constant, linear, quadratic = (float(part / longest**power) for power, part in enumerate([*parts, 0.0][:3]))
    return constant, linear, quadratic
