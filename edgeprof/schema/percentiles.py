"""How many runs it takes to tell a percentile."""

RISK = 0.01


def least_samples(percent: float) -> int:
    """The fewest samples that a percentile can be told from: the floor of MLPerf's early stopping.

    With p the share of samples on the longer side and q = 1 - p, the smallest n with

        P(Binomial(n, q) <= 1) = p^n + n q p^(n - 1) <= 1 %

    so that, at 99 % confidence, two samples or more lie beyond the percentile, and it is not the outermost one
    (MLPerf Inference Rules, appendix "Early Stopping": 64 queries for the 90th percentile, 662 for the 99th).

    >>> [least_samples(percent) for percent in (50, 90, 99, 99.9)]
    [11, 64, 662, 6636]

    Args:
        percent: above 0 and below 100.
    """
    longer = max(percent, 100 - percent) / 100
    beyond = 1 - longer

    def suffices(samples: int) -> bool:
        return longer**samples + samples * beyond * longer ** (samples - 1) <= RISK

    high = 2
    while not suffices(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high
