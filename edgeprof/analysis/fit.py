"""A curve over token lengths: value = a + b n + c n^2, none of a, b, c below zero.

a is what a run costs whatever its length, b n what every token costs (projections, the MLP), c n^2 what every pair of
tokens costs (attention). Time and memory can only add up, so a negative part would be noise: non-negative least
squares (Lawson & Hanson 1974, chapter 23). Values span orders of magnitude, so the residuals are relative ones;
otherwise the longest length alone would decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Fit(NamedTuple):
    """a + b n + c n^2, in the unit of the values, and how far it is from them."""

    constant: float
    linear: float
    quadratic: float
    worst: float  # the largest |fitted / value - 1|
    r_squared: float  # 1 - residual sum of squares / that around the mean, unweighted

    def at(self, length: float) -> float:
        return self.constant + self.linear * length + self.quadratic * length**2


def fit(lengths: Sequence[int], values: Sequence[float]) -> Fit:
    """The curve with the smallest sum of squared relative residuals.

    Args:
        lengths: token lengths, at least three different ones.
        values: one for each, above zero.

    Raises:
        ValueError: too few lengths, or a value that is not above zero.
    """
    import numpy as np
    from scipy.optimize import nnls

    if len(set(lengths)) < 3 or min(values) <= 0:
        raise ValueError("a curve takes three lengths and values above zero")
    y = np.asarray(values, float)
    longest = max(lengths)
    n = np.asarray(lengths, float) / longest  # columns of like size: n^2 alone would spoil the condition
    parts, _ = nnls(np.column_stack([n**0, n, n**2]) / y[:, None], np.ones_like(y))
    curve = Fit(float(parts[0]), float(parts[1] / longest), float(parts[2] / longest**2), 0.0, 0.0)
    fitted = np.array([curve.at(length) for length in lengths])
    spread = float(((y - y.mean()) ** 2).sum())
    return curve._replace(
        worst=float(np.abs(fitted / y - 1).max()),
        r_squared=1 - float(((y - fitted) ** 2).sum()) / spread if spread else 1.0,
    )
