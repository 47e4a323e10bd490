"""Where text goes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprof.report.labels import Box, along, decades, first_free, octaves, spread


def test_labels_with_room_stay_where_they_want_to_be() -> None:
    assert spread([0.9, 0.1, 0.5], 0.1, 0, 1) == pytest.approx([0.9, 0.1, 0.5])


def test_labels_that_are_too_close_share_the_push() -> None:
    # Two that both want 0.5, a gap of 0.2: 0.1 down and 0.1 up.
    assert spread([0.5, 0.5], 0.2, 0, 1) == pytest.approx([0.4, 0.6])


def test_labels_stay_inside() -> None:
    assert spread([1.0, 1.0, 1.0], 0.25, 0, 1) == pytest.approx([0.5, 0.75, 1.0])
    assert spread([0.0] * 5, 0.5, 0, 1) == pytest.approx([0, 0.25, 0.5, 0.75, 1.0])  # no room: the gap shrinks
    assert spread([], 0.1, 0, 1) == []


@given(st.lists(st.floats(-0.5, 1.5), max_size=30), st.floats(0.001, 0.2))
def test_labels_never_overlap_and_keep_their_order(preferred: list[float], gap: float) -> None:
    result = spread(preferred, gap, 0, 1)
    if len(preferred) > 1:
        gap = min(gap, 1 / (len(preferred) - 1))
    ordered = sorted(result)
    assert all(after - before >= gap - 1e-9 for before, after in pairwise(ordered))
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in result)
    pairs = sorted(zip(preferred, result, strict=True))
    assert all(one[1] <= other[1] + 1e-9 for one, other in pairwise(pairs) if one[0] < other[0])


def test_token_ticks_are_powers_of_two() -> None:
    assert octaves(15, 530, 10) == [16, 32, 64, 128, 256, 512]
    assert octaves(15, 530, 3) == [16, 64, 256]
    assert octaves(100, 120, 3) == []


@pytest.mark.parametrize(
    ("low", "high", "most", "expected"),
    [
        (0.8, 1200, 9, [1, 3, 10, 30, 100, 300, 1000]),
        (0.8, 1200, 4, [1, 10, 100, 1000]),
        (9, 210, 9, [10, 20, 30, 50, 100, 200]),  # ticks may be a factor of (210 / 9)^(1/9) = 1.42 apart
        (9, 210, 6, [10, 20, 50, 100, 200]),  # a factor of 1.69 apart: 20 and 30 are too close
        (9, 210, 4, [10, 30, 100]),  # 2.2
        (4e6, 4e8, 3, [1e7, 1e8]),  # a factor of 4.6: even ticks (100, 200, 300, 400 million) would crowd
        (5e5, 2e16, 9, [1e6, 1e8, 1e10, 1e12, 1e14, 1e16]),  # 10.6 decades, 9 ticks: only every second one fits
    ],
)
def test_value_ticks_are_round(low: float, high: float, most: int, expected: list[float]) -> None:
    assert decades(low, high, most) == pytest.approx(expected)


def test_a_narrow_range_gets_even_ticks() -> None:
    assert decades(440, 960, 9) == pytest.approx([500, 600, 700, 800, 900])


def test_a_name_takes_the_first_place_that_is_free() -> None:
    above, below = Box(0, 1, 4, 2), Box(0, -2, 4, -1)
    within = Box(-1, -5, 9, 9)
    assert first_free([above, below], within, [], []) == 0
    assert first_free([above, below], within, [Box(3, 1.5, 5, 3)], []) == 1
    assert first_free([above, below], within, [], [(2, 1.5)]) == 1
    assert first_free([above, below], Box(1, -5, 9, 9), [], []) is None


def test_points_along_a_line() -> None:
    assert along([(0, 0), (4, 0)], 1) == [(0, 0), (4, 0), (1, 0), (2, 0), (3, 0)]
