"""Calibration and evaluation see different samples: accuracy is told of data that a recipe was not fitted to."""

from typing import Literal

Part = Literal["calibration", "evaluation"]


def chosen(there: int, part: Part, count: int) -> list[int]:
    """Which of `there` samples a part gets: every second one, spread over them all where they are more than `count`.

    A single sample is in both.
    """
    mine = list(range(1 if part == "evaluation" and there > 1 else 0, there, 2))
    return mine if len(mine) <= count else [mine[index * len(mine) // count] for index in range(count)]


def halves(text: str, part: Part) -> str:
    """The first half of a text for calibration, the second for evaluation, cut where something ends."""
    middle, most = len(text) // 2, 2 * len(text) // 3
    breaks = (text.find(mark, middle, most) for mark in ("\n\n", "\n", ". ", " "))
    cut = next((at + 1 for at in breaks if at >= 0), middle)
    return (text[:cut] if part == "calibration" else text[cut:]).strip()
