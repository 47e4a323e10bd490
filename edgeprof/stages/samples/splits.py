"""Calibration and evaluation use different samples: accuracy is measured on data that a recipe was not fitted to."""

from typing import Literal

Part = Literal["calibration", "evaluation"]


def chosen(available: int, part: Part, count: int) -> list[int]:
    """Indices of the samples of a part: every second one, or `count` of those at even distances.

    A single sample is in both parts.

    >>> chosen(5, "calibration", 9), chosen(5, "evaluation", 9), chosen(10, "calibration", 2)
    ([0, 2, 4], [1, 3], [0, 4])
    """
    own = list(range(1 if part == "evaluation" and available > 1 else 0, available, 2))
    return own if len(own) <= count else [own[index * len(own) // count] for index in range(count)]


def halves(text: str, part: Part) -> str:
    """The first half of a text for calibration, the second for evaluation, cut after a paragraph or sentence."""
    middle, most = len(text) // 2, 2 * len(text) // 3
    breaks = (text.find(mark, middle, most) for mark in ("\n\n", "\n", ". ", " "))
    cut = next((at + 1 for at in breaks if at >= 0), middle)
    return (text[:cut] if part == "calibration" else text[cut:]).strip()
