"""Laws and crossovers of series whose truth is known."""

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
from builders.records import changed
from factories import point

from edgeprof.analysis.fit import draws, fit
from edgeprof.analysis.laws import laws, sentence
from edgeprof.schema import Point

LENGTHS = (16, 32, 64, 128, 256, 512)


def line(
    constant: float,
    linear: float,
    quadratic: float = 0.0,
    *,
    spread: float = 0.01,
    lengths: Sequence[int] = LENGTHS,
    **fields: Any,
) -> list[Point]:
    return [point(constant + linear * n + quadratic * n * n, spread, tokens=n, **fields) for n in lengths]


def decoded(constant: float, linear: float, **fields: Any) -> list[Point]:
    return [point(constant + linear * n, phase="decode", tokens=1, past_tokens=n, **fields) for n in LENGTHS]


def test_a_law_has_the_coefficients_of_its_line_and_predicts_the_held_out_length() -> None:
    (law,) = laws(line(2e-3, 1e-4, 4e-7)).laws
    assert (law.curve.constant, law.curve.linear, law.curve.quadratic) == pytest.approx((2e-3, 1e-4, 4e-7), rel=1e-6)
    assert law.linear.low < 1e-4 < law.linear.high
    assert (law.held_out, law.lengths) == (512, LENGTHS)
    assert law.held_out_error == pytest.approx(0, abs=1e-6)


def test_what_a_law_without_the_longest_length_misses_is_its_held_out_error() -> None:
    """Flat up to 64, twice as slow at 128: the law without 128 predicts half of it."""
    points = [point(1e-3, tokens=n) for n in (16, 32, 48, 64)] + [point(2e-3, tokens=128)]
    (law,) = laws(points).laws
    assert law.held_out_error == pytest.approx(-0.5)


def test_decode_has_a_line_over_its_cached_tokens() -> None:
    (law,) = laws(decoded(5e-3, 2e-6)).laws
    assert (law.curve.constant, law.curve.linear, law.curve.quadratic) == pytest.approx((5e-3, 2e-6, 0), rel=1e-6)
    assert (law.quadratic.low, law.quadratic.high) == (0, 0)


def test_three_lengths_have_no_law_and_unsteady_points_are_named() -> None:
    assert laws(line(1e-3, 1e-5, lengths=LENGTHS[:3])).laws == ()
    (law,) = laws(
        [changed(each, verdict="noisy" if each.load.length == 64 else "steady") for each in line(1e-3, 1e-5)]
    ).laws
    assert law.not_steady == (64,)


@pytest.mark.parametrize("truth", [(2e-3, 1e-4, 4e-7), (1e-2, 2e-5, 1e-7), (5e-3, 1e-4)])
def test_intervals_hold_the_true_coefficients_as_often_as_they_say(truth: tuple[float, ...]) -> None:
    """Errors of 2 % at each length, 150 times; 95 % are 142.5, with a standard deviation of 2.7."""
    generator, powers, inside = random.Random(1), len(truth) - 1, [0] * len(truth)
    errors = [0.02] * len(LENGTHS)
    for _ in range(150):
        clean = [sum(part * n**power for power, part in enumerate(truth)) for n in LENGTHS]
        values = [value * math.exp(generator.gauss(0, 0.02)) for value in clean]
        curve = fit(LENGTHS, values, errors=errors, powers=powers)
        drawn = draws(curve, LENGTHS, values, errors, powers=powers)
        for index, part in enumerate(truth):
            low, high = sorted(drawn[:, index])[9], sorted(drawn[:, index])[-10]
            inside[index] += bool(low <= part <= high)
    assert all(count >= 133 for count in inside), inside


def test_points_farther_from_a_curve_than_their_errors_widen_the_intervals() -> None:
    values = [1e-3 * n * (1.2 if n == 64 else 1) for n in LENGTHS]
    errors = [0.005] * len(LENGTHS)
    off = fit(LENGTHS, values, errors=errors)
    on = fit(LENGTHS, [1e-3 * n for n in LENGTHS], errors=errors)
    wide = draws(off, LENGTHS, values, errors)[:, 1].std()
    narrow = draws(on, LENGTHS, [1e-3 * n for n in LENGTHS], errors)[:, 1].std()
    assert wide > 5 * narrow


# --- crossovers ----------------------------------------------------------------------------------------


def test_a_crossover_is_where_two_laws_are_equal() -> None:
    """1 + 0.02 n = 3 + 0.01 n at 200 tokens."""
    (found,) = laws([*line(1e-3, 2e-5), *line(3e-3, 1e-5, precision="int8")]).crossovers
    assert found.tokens == pytest.approx(200, rel=0.01)
    assert found.low and found.high
    assert 150 < found.low < 200 < found.high < 250
    assert (str(found.faster.subject.precision), found.shown) == ("int8", True)
    assert sentence(found).startswith(
        "bert-base, prefill: int8 is faster than fp32 from 200 tokens on (95 % interval 1"
    )


def test_lines_that_do_not_cross_say_who_is_faster() -> None:
    (found,) = laws([*line(2e-3, 2e-5), *line(1e-3, 1e-5, precision="int8")]).crossovers
    assert found.tokens is None
    assert sentence(found) == (
        "bert-base, prefill: int8 is faster than fp32 from 16 to 512 tokens; a crossover is not in the measured range."
    )


def test_equal_lines_show_no_difference() -> None:
    (found,) = laws([*line(2e-3, 2e-5, spread=0.1), *line(2.001e-3, 2e-5, spread=0.1, provider="webgpu")]).crossovers
    assert not found.shown
    assert "cpu" in sentence(found)
    assert "webgpu" in sentence(found)


def test_an_interval_is_open_where_the_measured_range_ends() -> None:
    """The lines are equal at 500 of 512 tokens, and their errors are 5 %."""
    (found,) = laws([*line(1e-3, 2e-5, spread=0.05), *line(6e-3, 1e-5, precision="int8", spread=0.05)]).crossovers
    assert found.tokens == pytest.approx(500, rel=0.01)
    assert found.low
    assert found.high is None
    assert "above 512" in sentence(found)


def test_other_threads_batches_and_models_are_not_compared() -> None:
    lines = [line(1e-3, 1e-5), line(2e-3, 1e-5, precision="int8", threads=4), line(1e-3, 1e-5, variant="gpt2")]
    assert laws([each for one in lines for each in one]).crossovers == ()
