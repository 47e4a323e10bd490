"""Statistics against numbers computed by hand; the computation stands beside each."""

import math

import pytest
from factories import MB, reading, visit
from scipy.stats import binom

from edgeprof.analysis.statistics import interval_between_rounds, interval_within_round, points
from edgeprof.schema.percentiles import least_samples


def test_median_is_the_median_of_round_medians() -> None:
    # Round medians 2, 3 and 10: their median is 3. The pooled median would be 3.5, the mean 5.
    (point,) = points([visit(0, reading(1, 2, 9)), visit(1, reading(3, 3, 4)), visit(2, reading(10, 10, 10, 10))])
    assert point.latency.median_s == 3
    assert point.latency.samples == 10
    assert point.rounds == 3


def test_p90_is_over_the_latencies_of_all_rounds() -> None:
    # 1..10 pooled, type 7: position 0.9 * 9 = 8.1 counted from 0, so 9 + 0.1 * (10 - 9) = 9.1.
    (point,) = points([visit(0, reading(1, 3, 5, 7, 9)), visit(1, reading(2, 4, 6, 8, 10))])
    assert point.latency.p90_s == pytest.approx(9.1)


def test_p90_is_shown_from_64_runs_on() -> None:
    (few,) = points([visit(0, reading(*[1.0] * 63))])
    (enough,) = points([visit(0, reading(*[1.0] * 63)), visit(1, reading(1.0))])
    assert few.latency and enough.latency
    assert (few.latency.shown_p90_s, enough.latency.shown_p90_s) == (None, 1.0)


def test_a_percentile_that_the_runs_cannot_tell_says_how_many_it_takes() -> None:
    """100 runs of 1 to 100 ms: type 7, position 0.9 * 99 = 89.1 counted from 0, so 90.1; p99 takes 662."""
    (point,) = points([visit(0, reading(*range(1, 101)))], percentiles=[50, 90, 99])
    assert point.latency
    told = [(one.percent, one.value_s, one.least_samples) for one in point.latency.percentiles]
    assert told == [(50, pytest.approx(50.5), 11), (90, pytest.approx(90.1), 64), (99, None, 662)]
    assert point.latency.percentiles[-1].missing == "- (takes 662 runs)"


def test_samples_that_a_percentile_takes_are_the_least() -> None:
    """The rule, by another tool: two or more samples beyond the percentile with 99 % confidence."""
    for percent in (10, 50, 75, 90, 97, 99):
        beyond = min(percent, 100 - percent) / 100
        least = least_samples(percent)
        assert binom.cdf(1, least, beyond) <= 0.01 < binom.cdf(1, least - 1, beyond)


def test_interval_between_rounds_is_a_t_interval_over_logarithms() -> None:
    # Medians 1, 2, 4: logs 0, ln 2, 2 ln 2; mean ln 2, standard deviation ln 2.
    # t(0.975, 2) = 4.302653; half width 4.302653 * 0.693147 / sqrt(3) = 1.721873; e^1.721873 = 5.5950.
    low, high = interval_between_rounds([1, 2, 4])
    assert low == pytest.approx(2 / 5.5950, rel=1e-4)
    assert high == pytest.approx(2 * 5.5950, rel=1e-4)


def test_two_rounds_have_one_degree_of_freedom() -> None:
    # Medians 1 and e^0.02: mean of logs 0.01, s = 0.02 / sqrt(2); t(0.975, 1) = 12.7062, half 12.7062 * 0.01.
    low, high = interval_between_rounds([1, math.exp(0.02)])
    assert math.log(low) == pytest.approx(0.01 - 0.127062, abs=1e-6)
    assert math.log(high) == pytest.approx(0.01 + 0.127062, abs=1e-6)


def test_interval_is_widened_to_contain_the_median() -> None:
    # 31 rounds at 1 and 9 at 1/2: the mean of logs is -9/40 * 0.693 = -0.156, s = 0.293, t(0.975, 39) = 2.023,
    # half 0.094: the interval ends at e^-0.062 = 0.94, below the median of 1.
    (point,) = points(visit(number, reading(1.0 if number < 31 else 0.5)) for number in range(40))
    assert point.latency.median_s == 1.0
    assert interval_between_rounds([1.0] * 31 + [0.5] * 9).high == pytest.approx(0.94, abs=0.005)
    assert point.latency.ci_high_s == 1.0


@pytest.mark.parametrize(
    ("count", "first", "last"),
    [
        (5, 1, 5),  # P(B < 1) = 1/32 = 0.031 > 0.025: 5 latencies cannot reach 95 %, so all of them
        (6, 1, 6),  # 1/64 = 0.016
        (9, 2, 8),  # (1 + 9) / 512 = 0.0195; with 36 more, 0.0898
        (10, 2, 9),  # (1 + 10) / 1024 = 0.0107; with 45 more, 0.0547
        (20, 6, 15),  # the table in Conover: 6 and 15
    ],
)
def test_interval_of_one_round_is_of_order_statistics(count: int, first: int, last: int) -> None:
    assert interval_within_round([float(value) for value in range(count, 0, -1)]) == (first, last)


def test_one_round_uses_the_interval_within_it() -> None:
    (point,) = points([visit(0, reading(*range(1, 11)))])
    assert (point.latency.ci_low_s, point.latency.median_s, point.latency.ci_high_s) == (2, 5.5, 9)


def test_the_newest_visit_of_a_round_counts_whatever_its_timestamp() -> None:
    old = visit(0, reading(1.0), started_at="2026-03-02T00:00:00Z")
    new = visit(0, reading(2.0), started_at="2026-03-01T00:00:00Z")
    (point,) = points([old, visit(1, reading(2.0)), new])
    assert point.latency.median_s == 2.0
    assert point.rounds == 2


def test_visits_of_an_older_artifact_or_of_other_settings_do_not_count() -> None:
    stale = [visit(number, reading(9.0), digest="old") for number in range(3)]
    other = [visit(number, reading(8.0), settings_key="old") for number in range(3)]
    (point,) = points([*stale, *other, visit(0, reading(1.0)), visit(1, reading(1.0))])
    assert point.latency.median_s == 1.0
    assert point.rounds == 2


def test_memory_is_split() -> None:
    # Runtime: median of 60, 62, 61. Weights: median of 100, 104, 96. Working: median of 40, 0 (never negative), 10.
    rounds = [
        (60, 160, 170, 200),
        (62, 166, 210, 150),
        (61, 157, 160, 167),
    ]
    (point,) = points(
        visit(
            number,
            reading(
                1.0,
                memory_imports_bytes=imports * MB,
                memory_loaded_bytes=loaded * MB,
                memory_load_peak_bytes=load_peak * MB,
                memory_run_peak_bytes=run_peak * MB,
            ),
        )
        for number, (imports, loaded, load_peak, run_peak) in enumerate(rounds)
    )
    assert point.memory.runtime_bytes == 61 * MB
    assert point.memory.weights_bytes == 100 * MB
    assert point.memory.working_bytes == 10 * MB
    assert point.memory.peak_bytes == 210 * MB  # while the second round loaded


def test_mapped_weights_that_the_runs_were_first_to_touch_have_a_part_of_their_own() -> None:
    """Resident 60, loaded 160 of which 40 map files, peak 200; 55 map files at the end: the runs touched 15."""
    seen = reading(
        1.0,
        memory_imports_bytes=60 * MB,
        memory_loaded_bytes=160 * MB,
        memory_loaded_file_bytes=40 * MB,
        memory_load_peak_bytes=160 * MB,
        memory_run_peak_bytes=200 * MB,
        memory_run_file_bytes=55 * MB,
    )
    (point,) = points([visit(0, seen)])
    memory = point.memory
    assert (memory.weights_bytes, memory.weights_touched_bytes, memory.working_bytes) == (100 * MB, 15 * MB, 25 * MB)
    assert memory.resident_bytes == 175 * MB and not memory.peak_at_load


def test_a_point_without_success_says_why() -> None:
    (point,) = points([visit(0, None, error="first"), visit(1, None, status="timeout", error="No answer.")])
    assert (point.status, point.error, point.rounds, point.latency) == ("timeout", "No answer.", 0, None)
    assert point.memory is None


def test_one_success_is_enough_and_failures_are_reported() -> None:
    (point,) = points([visit(0, reading(1.0)), visit(1, None, error="killed"), visit(2, reading(1.0))])
    assert point.status == "ok"
    assert point.rounds == 2
    assert point.error == "1 of 3 rounds: killed"


def test_points_are_kept_apart_and_sorted() -> None:
    records = [
        visit(0, reading(1.0), variant="bert-large", params=335_141_888),
        visit(0, reading(1.0), tokens=512),
        visit(0, reading(1.0), precision="int8"),
        visit(0, reading(1.0), tokens=64),
        visit(0, reading(1.0), machine_id="other"),
        visit(0, reading(1.0), threads=1),
    ]
    result = [
        (p.subject.model, p.subject.precision.recipe, p.place.threads, p.load.tokens, p.machine_id)
        for p in points(records)
    ]
    assert result == [
        ("bert-base", "fp32", 1, 128, "m"),
        ("bert-base", "fp32", 2, 64, "m"),
        ("bert-base", "fp32", 2, 128, "other"),
        ("bert-base", "fp32", 2, 512, "m"),
        ("bert-base", "int8", 2, 128, "m"),
        ("bert-large", "fp32", 2, 128, "m"),
    ]


def test_no_records_no_points() -> None:
    assert points([]) == []
