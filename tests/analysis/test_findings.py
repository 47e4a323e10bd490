"""Findings on points made by hand."""

from math import e

import pytest
from builders import records
from factories import MB, point
from msgspec.structs import replace

from edgeprof.analysis.findings import (
    Estimate,
    comparisons,
    counted_growth,
    latency,
    length_growth,
    measured,
    per_token,
    predicted_ratio,
    reference_points,
    size_growth,
    speed,
    whole_growth,
)
from edgeprof.schema import Point


def test_the_interval_of_a_ratio_holds_one_exactly_when_the_intervals_overlap() -> None:
    ratio = Estimate(4, 3, 5).over(Estimate(2, 1.5, 2.5))
    assert ratio == Estimate(2, 3 / 2.5, 5 / 1.5)
    assert ratio.clear  # 3..5 and 1.5..2.5 are apart
    assert not Estimate(4, 2, 6).over(Estimate(2, 1.5, 2.5)).clear  # 2..6 and 1.5..2.5 are not


def in_rounds(seconds: float, levels_s: dict[int, float]) -> Point:
    """A point with a wide interval."""
    return point(latency=replace(records.latency(seconds, spread=0.9), levels_s=levels_s))


def test_what_slows_a_round_cancels_in_a_ratio_of_rounds() -> None:
    # Rounds differ by factors of two, the two points by 2 e^-0.01, 2 and 2 e^0.01 in each: 2, with the interval
    # e^(5.643 x 0.01 / sqrt 3) = 1.0331 up and down (t for 98.5 % and two degrees of freedom: 5.643, Student's tables).
    base = in_rounds(4.0, {0: 2.0, 1: 4.0, 2: 8.0, 3: 9.0})
    faster = in_rounds(2.0, {0: e**0.01, 1: 2.0, 2: 4 / e**0.01})
    assert not latency(base).over(latency(faster)).clear
    assert speed(base, faster) == pytest.approx((2.0, 2 / 1.0331, 2 * 1.0331), rel=1e-4)
    two = in_rounds(2.0, {0: 1.0, 1: 2.0})
    assert speed(base, two) == latency(base).over(latency(two)), "two rounds in common are too few"


def test_length_growth_starts_at_a_quarter_of_the_longest() -> None:
    line = [point(t, tokens=n) for n, t in ((16, 0.010), (64, 0.040), (128, 0.100), (256, 0.200), (512, 0.410))]
    growth = length_growth(line)
    assert growth
    assert (growth.short.load.tokens, growth.long.load.tokens, growth.lengths) == (128, 512, 4)
    assert growth.time.value == pytest.approx(4.1)
    assert growth.power == pytest.approx(1.0178, abs=1e-4)  # ln 4.1 / ln 4 = 1.41099 / 1.38629


def test_growth_needs_two_lengths() -> None:
    assert length_growth([point(0.1)]) is None
    assert whole_growth([point(0.1)]) is None
    assert length_growth([]) is None


def test_what_a_cached_token_costs() -> None:
    # 26 ms at 900 and 19 ms at 200 cached tokens: 7 ms over 700 tokens, 10 us each.
    line = [point(t, phase="decode", tokens=1, past_tokens=n) for n, t in ((200, 0.019), (900, 0.026))]
    growth = whole_growth(line)
    assert growth
    assert growth.per_token_s == pytest.approx(10e-6)


def test_time_per_token_counts_the_whole_batch() -> None:
    assert per_token(point(0.8, tokens=100, batch=4)).value == pytest.approx(0.002)


def test_a_law_needs_three_sizes() -> None:
    # Ten times the parameters, 100 times the time, twice: a power of 2.
    sizes = [point(t, variant=str(n), params=n) for n, t in ((10**6, 0.001), (10**7, 0.1), (10**8, 10.0))]

    def seconds(p: object) -> float | None:
        return p.latency.median_s  # type: ignore[attr-defined,no-any-return]

    law = size_growth(sizes, seconds)
    assert law
    assert law.power == pytest.approx(2)
    assert (law.params, law.ratio) == (100, pytest.approx(10_000))
    two = size_growth(sizes[:2], seconds)
    assert two
    assert (two.power, two.params) == (None, 10)
    assert size_growth(sizes[:1], seconds) is None


def test_reference_length_is_the_one_most_lines_have() -> None:
    def line(variant: str, *lengths: int) -> list:
        return [point(0.1, variant=variant, tokens=n) for n in lengths]

    chosen = reference_points([*line("a", 128, 512), *line("b", 128, 512), *line("vit", 122, 485)])
    assert sorted(p.load.tokens for p in chosen) == [485, 512, 512]  # all lines have both: the longer
    chosen = reference_points([*line("a", 128, 512), *line("b", 128), *line("vit", 122, 485)])
    assert sorted(p.load.tokens for p in chosen) == [122, 128, 128]  # only at 128 are all three
    chosen = reference_points([*line("a", 16), *line("b", 16), *line("far", 512)])
    assert [p.subject.model for p in chosen] == ["a", "b"]  # lengths are never mixed
    assert reference_points([]) == []


def test_precisions_are_compared_at_the_same_point_only() -> None:
    base, quick = point(0.4), point(0.1, precision="int8")
    elsewhere = point(0.1, precision="int8", tokens=64)
    (result,) = comparisons([base, quick, elsewhere])
    assert (result.base, result.point) == (base, quick)
    assert result.speed.value == pytest.approx(4)


def test_memory_whose_peak_is_loading() -> None:
    usual, loading = point(0.1).memory, point(0.1, memory_peak_bytes=900 * MB).memory
    assert usual
    assert loading
    assert not usual.peak_at_load  # 60 + 400 + 140 = 600
    assert loading.peak_at_load


def test_failed_and_emulated_points_are_not_measured() -> None:
    fine = point(0.1)
    assert measured([fine, point(), point(0.1, emulated=True)]) == [fine]


def test_how_far_a_prediction_is_off() -> None:
    assert predicted_ratio(point(0.1, memory_predicted_bytes=70 * MB)) == 2  # 140 MB working
    assert predicted_ratio(point(0.1)) is None
    assert predicted_ratio(point(0.1, memory=None, memory_predicted_bytes=70 * MB)) is None


@pytest.mark.parametrize(
    ("values", "shape", "ratio"),
    [
        ([(10, 7), (100, 7), (1000, 7)], "flat", 1),
        ([(10, 70), (100, 700), (1000, 7000)], "linear", 100),
        ([(1000, 3e6), (10, 300)], "quadratic", 10_000),  # in any order
        ([(10, 70), (100, 700), (1000, 70_000)], None, 1000),  # linear, then quadratic
        ([(10, 10 * 90 + 100), (1000, 1000 * 90 + 1000**2)], None, 1090),
        ([(10, 1), (100, 1000)], None, 1000),  # a cube has no name here
        ([(10, 100), (100, 10)], None, 0.1),
        ([(0, 5), (10, 0), (20, 2), (40, 4)], "linear", 2),  # nothing has no logarithm
    ],
)
def test_the_shape_of_a_formula(values: list[tuple[int, float]], shape: str | None, ratio: float) -> None:
    growth = counted_growth(values)
    assert growth
    assert (growth.shape, growth.ratio) == (shape, pytest.approx(ratio))


def test_one_length_has_no_shape() -> None:
    assert counted_growth([(10, 7)]) is None
    assert counted_growth([]) is None
