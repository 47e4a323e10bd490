"""Quantiles of two distributions, for devices that measure: scipy would be a quarter of what is installed there."""

import functools
import math
from statistics import NormalDist

NODES = 64
"""Of Gauss-Legendre quadrature: the integrand below is smooth, and this many give all digits of a double."""

STEPS = 50


@functools.cache
def student_t(probability: float, degrees: float) -> float:
    """The quantile of Student's t, by Newton's method on its distribution function.

    With t = sqrt(v) tan(a), that is the integral of cos(a)^(v - 1) (Abramowitz & Stegun 26.7.3 and 26.7.4 are its
    closed forms for whole v). It is concave, and the normal quantile is below this one, so every step stays below.

    >>> round(student_t(0.975, 2), 6), round(student_t(0.975, 1), 4)
    (4.302653, 12.7062)

    Args:
        probability: above 0.5, below 1.
        degrees: of freedom, 1 or more.
    """
    import numpy as np
    from numpy.polynomial.legendre import leggauss

    nodes, weights = leggauss(NODES)
    density = 2 / math.sqrt(math.pi) * math.exp(math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2))
    angle = math.atan(NormalDist().inv_cdf(probability) / math.sqrt(degrees))
    for _ in range(STEPS):
        within = density * angle / 2 * float(weights @ np.cos(angle * (nodes + 1) / 2) ** (degrees - 1))
        step = (2 * probability - 1 - within) / (density * math.cos(angle) ** (degrees - 1))
        angle += step
        if abs(step) <= 1e-15 * angle:
            break
    return math.sqrt(degrees) * math.tan(angle)


@functools.cache
def fair_coin(probability: float, tosses: int) -> int:
    """The least number of heads that is not exceeded with at least this probability.

    >>> [fair_coin(0.025, tosses) for tosses in (5, 6, 9, 20)]
    [0, 1, 2, 6]
    """
    import numpy as np

    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, tosses + 1)))])  # of factorials
    ways = np.exp(logs[-1] - logs - logs[::-1] - tosses * math.log(2))
    return int(np.searchsorted(np.cumsum(ways), probability))
