"""A curve over token lengths: value = a + b n + c n^2, none of a, b, c below zero.

a is the fixed cost of a run, b n the cost of tokens (projections, the MLP), c n^2 the cost of pairs of tokens
(attention). Time and memory only add up, so a negative term would be noise: the fit is non-negative least squares
(Lawson & Hanson 1974, chapter 23). Values span orders of magnitude, so residuals are relative; with plain ones the
longest length alone would decide.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgeprof.schema import Curve


def fit(lengths: Sequence[int], values: Sequence[float]) -> Curve:
    """Fit the curve with the smallest sum of squared relative residuals; R^2 is of the plain residuals.

    Args:
        lengths: token lengths, at least three different ones.
        values: one for each, above zero.

    Raises:
        ValueError: too few lengths, or a value that is not above zero.
    """
    import numpy as np
    from scipy.optimize import nnls

    if len(set(lengths)) < 3 or min(values) <= 0:
        raise ValueError("a curve needs three different lengths and values above zero")
    y = np.asarray(values, float)
    longest = max(lengths)
    n = np.asarray(lengths, float) / longest  # similar magnitudes keep the condition number low
    columns = np.column_stack([n**0, n, n**2])
    parts, _ = nnls(columns / y[:, None], np.ones_like(y))
    parts[parts < 1e-9 * parts.sum()] = 0.0  # rounding, not growth: each is its term at the longest length
    fitted = columns @ parts
    spread = float(((y - y.mean()) ** 2).sum())
    return Curve(
        constant=float(parts[0]),
        linear=float(parts[1] / longest),
        quadratic=float(parts[2] / longest**2),
        worst=float(np.abs(fitted / y - 1).max()),
        r_squared=1 - float(((y - fitted) ** 2).sum()) / spread if spread else 1.0,
    )
