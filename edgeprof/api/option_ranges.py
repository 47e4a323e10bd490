"""Ranges of numbers that options of several commands take."""

from collections.abc import Sequence

from edgeprof.errors import UsageError

MAX_SECONDS = 1_000_000  # eleven days
MAX_COUNT = 10**9


def require_positive(option: str, values: Sequence[int]) -> None:
    for value in values:
        if not 1 <= value <= MAX_COUNT:
            raise UsageError(f"{option} must be 1 to {MAX_COUNT:,}.", f"Example: {option} 3")


def require_seconds(option: str, value: float, least: float) -> None:
    if not least <= value <= MAX_SECONDS:  # true of NaN, too
        raise UsageError(
            f"{option} must be {least:g} to {MAX_SECONDS:,} seconds, not {value:g}.", f"Example: {option} 60"
        )
