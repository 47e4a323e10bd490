"""Positions of text: labels at line ends that do not overlap, and ticks at round numbers."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple


def spread(preferred: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions as close to the preferred ones as possible, at least `gap` apart, within low..high.

    Least squares: neighbours that are too close form a block at the mean of their preferred positions, until no two
    blocks overlap (pool adjacent violators). The gap shrinks where there is not enough space.

    Returns:
        Positions in the order of `preferred`.
    """
    if not preferred:
        return []
    order = sorted(range(len(preferred)), key=lambda index: preferred[index])
    gap = min(gap, (high - low) / max(len(preferred) - 1, 1))
    # With the gaps subtracted, positions must only not decrease, which is the problem that pooling solves.
    blocks: list[tuple[float, int]] = []  # mean, members
    for place, index in enumerate(order):
        mean, members = preferred[index] - place * gap, 1
        while blocks and blocks[-1][0] > mean:
            other, more = blocks.pop()
            mean, members = (mean * members + other * more) / (members + more), members + more
        blocks.append((mean, members))
    ceiling = high - (len(preferred) - 1) * gap
    pooled = [min(max(mean, low), ceiling) for mean, members in blocks for _ in range(members)]
    positions = [0.0] * len(preferred)
    for place, index in enumerate(order):
        positions[index] = pooled[place] + place * gap
    return positions


class Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float

    def touches(self, other: "Box") -> bool:
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )

    def contains(self, x: float, y: float) -> bool:
        return self.left < x < self.right and self.bottom < y < self.top


def first_free(
    boxes: Sequence[Box], within: Box, occupied: Sequence[Box], points: Iterable[tuple[float, float]]
) -> int | None:
    """Index of the first box that lies within the outer one, overlaps no occupied box and contains no point."""
    points = list(points)
    for index, box in enumerate(boxes):
        lies_within = box.left >= within.left and box.bottom >= within.bottom and box.right <= within.right
        if lies_within and not any(map(box.touches, occupied)) and not any(box.contains(*point) for point in points):
            return index
    return None


def along(corners: Sequence[tuple[float, float]], step: float) -> list[tuple[float, float]]:
    """Points on a polyline, about `step` apart."""
    points = list(corners)
    for (x0, y0), (x1, y1) in pairwise(corners):
        count = math.ceil(math.hypot(x1 - x0, y1 - y0) / step)
        points += [(x0 + (x1 - x0) * i / count, y0 + (y1 - y0) * i / count) for i in range(1, count)]
    return points


def octaves(low: float, high: float, most: int) -> list[float]:
    """Powers of two within low..high, at most `most`: every one, every second, ..."""
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    step = max(1, math.ceil((last - first + 1) / max(most, 1)))
    return [2.0**exponent for exponent in range(first, last + 1, step)]


_STEPS = (
    (1.0,),
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 2.0, 3.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
)


def decades(low: float, high: float, most: int) -> list[float]:
    """Round numbers within low..high, for a logarithmic scale with space for `most` evenly spaced ticks.

    Uses the finest of a few patterns whose ticks are far enough apart. A range too narrow for three ticks of any
    pattern gets evenly spaced round numbers, unless they crowd at its upper end; a range too wide for every decade
    gets every second or third.
    """
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high))
    apart = (high / low) ** (1 / most)
    stride = math.ceil(math.log10(apart))
    if stride > 1:
        return [10.0**exponent for exponent in range(math.ceil(math.log10(low)), last + 1) if exponent % stride == 0]
    best: list[float] = []
    for steps in _STEPS:
        ticks = [step * 10.0**exponent for exponent in range(first, last + 1) for step in steps]
        inside = [tick for tick in ticks if low <= tick <= high]
        if all(after / before >= apart for before, after in pairwise(inside)):
            best = inside
    even = _even(low, high)
    crowded = any(after / before < apart for before, after in pairwise(even))
    return best if len(best) >= 3 or (crowded and len(best) >= 2) else even


def _even(low: float, high: float) -> list[float]:
    rough = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(rough))
    step = min((unit * factor for factor in (1, 2, 2.5, 5, 10)), key=lambda step: abs(step - rough))
    return [step * index for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
