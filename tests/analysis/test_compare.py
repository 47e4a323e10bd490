"""Ratios of A and B on simulated series whose truth is known, and when there are rounds enough."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from builders import records
from factories import reading, visit
from numpy.typing import NDArray

from edgeprof.analysis.compare import InTurn, Ratio, Together, enough, of_rounds, paired, ratio_of, recorded, unpaired
from edgeprof.analysis.disturbance import Quiet
from edgeprof.schema import Canaries, Goal, Measurement, Outcome, PairBlock, PairReading, PairVisit

Series = Callable[[np.random.Generator, int], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Logarithms of the levels of A and of B, which are the same but for noise."""

MOST_ROUNDS, COMPARISONS = 20, 1000
QUIET = Quiet({})

# --- the interval ------------------------------------------------------------------------------------------


def independent(generator: np.random.Generator, rounds: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = generator.normal(0, 0.04, (2, rounds))
    return a, b


def autocorrelated(generator: np.random.Generator, rounds: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The machine gets slower and faster over the rounds, by far more than visits of one round differ."""
    machine = np.cumsum(generator.normal(0, 0.1, rounds))
    a, b = machine + generator.normal(0, 0.03, (2, rounds))
    return a, b


def two_levels(generator: np.random.Generator, rounds: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = 0.3 * (generator.random((2, rounds)) < 0.3) + generator.normal(0, 0.02, (2, rounds))
    return a, b


def heavy_tailed(generator: np.random.Generator, rounds: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = 0.02 * generator.standard_t(2, (2, rounds))
    return a, b


def a_level_per_process(generator: np.random.Generator, rounds: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First deciles of the runs of a visit, around a level of its own."""
    level, runs = generator.normal(0, 0.15, (2, rounds)), generator.normal(0, 0.05, (2, rounds, 40))
    a, b = level + np.quantile(runs, 0.1, axis=2)
    return a, b


ALL = (independent, autocorrelated, two_levels, heavy_tailed, a_level_per_process)


def stopped(a: Sequence[float], b: Sequence[float], goal: Goal) -> Ratio:
    """The ratio at the first round at which its interval is narrow enough, or at the last."""
    for rounds in range(goal.rounds, len(a)):
        ratio = paired(a[:rounds], b[:rounds])
        if ratio.half_width <= goal.ci:
            return ratio
    return paired(a, b)


@pytest.mark.parametrize("truth", [1.0, 1.1])
@pytest.mark.parametrize("series", ALL, ids=lambda series: series.__name__)
def test_the_interval_of_paired_rounds_holds_the_truth_although_it_ends_them(series: Series, truth: float) -> None:
    generator, held = np.random.default_rng(3), 0
    for _ in range(COMPARISONS):
        a, b = series(generator, MOST_ROUNDS)
        ratio = stopped(np.exp(a).tolist(), (truth * np.exp(b)).tolist(), Goal(rounds=8))
        held += ratio.low <= truth <= ratio.high
    assert 0.95 <= held / COMPARISONS <= 0.98  # so of A and A, at most 5 % are called different


@pytest.mark.parametrize("series", [independent, two_levels, heavy_tailed, a_level_per_process])
def test_the_interval_of_two_runs_holds_the_truth(series: Series) -> None:
    generator, held = np.random.default_rng(4), 0
    for _ in range(COMPARISONS):
        a, b = series(generator, 10)
        ratio = unpaired(np.exp(a[:6]).tolist(), (1.1 * np.exp(b)).tolist())
        held += ratio.low <= 1.1 <= ratio.high
    assert 0.95 <= held / COMPARISONS <= 0.99


def test_a_slowdown_of_ten_percent_is_found_where_visits_differ_by_four() -> None:
    generator, found = np.random.default_rng(5), 0
    for _ in range(200):
        a, b = independent(generator, MOST_ROUNDS)
        found += stopped(np.exp(a).tolist(), (1.1 * np.exp(b)).tolist(), Goal(rounds=8)).verdict == "slower"
    assert found / 200 >= 0.9


# --- by hand -----------------------------------------------------------------------------------------------


def test_a_ratio_of_paired_rounds() -> None:
    """Ratios 2, 2 and 2 * 1.1 ** 3: mean of logs log(2.2); s = log(1.1) * sqrt(3); t(0.985, 2) = 5.643."""
    ratio = paired([1.0, 10.0, 1.0], [2.0, 20.0, 2 * 1.1**3])
    assert ratio.value == pytest.approx(2.2)
    assert ratio.high / ratio.value == pytest.approx(1.1**5.643, rel=1e-3)
    assert ratio.value / ratio.low == pytest.approx(1.1**5.643, rel=1e-3)
    assert ratio.verdict == "slower"


def test_a_ratio_of_eight_rounds_hardly_moves_with_one_of_them() -> None:
    """Seven rounds at 1.1 and one at 3: of the 36 means of pairs 28 are 1.1, seven sqrt(3.3), one 3. P(W = 0) = 1/256,
    P(W <= 2) = 3/256 = 0.0117, and so the third least and the third greatest."""
    ratio = paired([1.0] * 8, [1.1] * 7 + [3.0])
    assert ratio == pytest.approx((1.1, 1.1, 3.3**0.5))


def test_a_ratio_of_two_runs() -> None:
    """Equal variances and sizes: f = 2, s = log(1.1) / sqrt(2) each, and so log(1.1) / sqrt(2) of the difference."""
    ratio = unpaired([1.0, 1.1], [0.4, 0.44])
    assert ratio.value == pytest.approx(0.4)
    assert ratio.high / ratio.value == pytest.approx(1.1 ** (5.643 / 2**0.5), rel=1e-3)
    assert ratio.verdict == "faster"


def test_equal_runs_do_not_differ() -> None:
    assert unpaired([1.0, 1.0], [1.0, 1.0]) == paired([1.0, 1.0], [1.0, 1.0]) == (1.0, 1.0, 1.0)
    assert paired([1.0, 1.0], [1.0, 1.0]).verdict == "no difference shown"


# --- rounds ------------------------------------------------------------------------------------------------


def visits(*levels_s: float | None, slowdown: Sequence[float] = (), took_s: float = 1.0) -> list[Measurement]:
    """A visit for each level; None of one that failed. A canary of each is slow by a factor."""
    return [
        visit(
            number,
            level and reading(level, level, canaries=(Canaries(matrices_s=0.01 * factor, vector_s=0.01),)),
            took_s=took_s,
        )
        for number, (level, factor) in enumerate(zip(levels_s, slowdown or [1.0] * len(levels_s), strict=True))
    ]


def rounds_of(a: list[Measurement], b: list[Measurement]) -> InTurn:
    return InTurn.of(a, b, Quiet.of([*a, *b]))


GOAL = Goal(rounds=3, ci=0.03, max_time_s=20.0)


def test_there_are_rounds_until_the_interval_is_narrow_or_the_time_is_spent() -> None:
    steady, uneven = visits(1.0, 1.0, 1.001), visits(1.0, 1.2, 1.0)
    assert not enough(rounds_of(steady[:2], steady[:2]), GOAL), "fewer rounds than asked for"
    assert enough(rounds_of(steady, visits(1.0, 1.001, 1.0)), GOAL), "narrow"
    assert not enough(rounds_of(steady, uneven), GOAL), "wide, and there is time"
    assert enough(rounds_of(uneven, uneven), GOAL), "each is uneven, and their ratio is not"
    assert enough(rounds_of(visits(1.0, 1.0, 1.0, took_s=5.0), visits(1.0, 1.2, 1.0, took_s=5.0)), GOAL), (
        "time is spent"
    )


def test_disturbed_rounds_are_made_again_and_do_not_count() -> None:
    a = visits(1.0, 1.0, 1.0, 1.0)
    b = visits(1.1, 3.0, 1.1, 1.1, slowdown=[1, 3, 1, 1])
    assert not enough(rounds_of(a[:3], b[:3]), GOAL)
    assert enough(rounds_of(a, b), GOAL)
    point = of_rounds(a[0].key, b[0].key, rounds_of(a, b), GOAL)
    assert point and (point.ratio, point.b_rounds, point.note) == (pytest.approx(1.1), 3, "")


def test_a_point_that_was_always_disturbed_says_so() -> None:
    a = visits(*[1.0] * 6)
    b = visits(*[1.1] * 6, slowdown=[1, 1, 3, 3, 3, 3])
    assert [enough(rounds_of(a[:n], b[:n]), GOAL) for n in (5, 6)] == [False, True]
    point = of_rounds(a[0].key, b[0].key, rounds_of(a, b), GOAL)
    assert point and (point.b_rounds, point.note) == (6, "other work disturbed 4 of 6 rounds")


def test_what_fails_is_tried_once_and_gives_its_reason() -> None:
    a, b = visits(1.0), [records.changed(visit(0, None), error="out of memory")]
    rounds = rounds_of(a, b)
    assert (enough(rounds, GOAL), rounds.failure) == (True, "out of memory")
    assert of_rounds(a[0].key, b[0].key, rounds, GOAL) is None


def together(*blocks_of_rounds: Sequence[tuple[float, float]]) -> Together:
    """Rounds of blocks, each with the times of a run of A and one of B; none of a round that failed."""
    key = visit(0, None).key
    return Together(
        {
            number: PairVisit(
                key=key,
                b=key,
                round=number,
                settings_key="",
                outcome=Outcome(
                    status="ok" if blocks else "failed",
                    error="" if blocks else "out of memory",
                    started_at="",
                    reading=PairReading(blocks=tuple(PairBlock(load=0, a_s=(a,), b_s=(b,)) for a, b in blocks))
                    if blocks
                    else None,
                ),
            )
            for number, blocks in enumerate(blocks_of_rounds)
        }
    )


def test_what_slows_both_for_a_block_cancels() -> None:
    """Ratios of blocks 1.1, 1.1 and, where only one was slowed, 3: their median is 1.1 in either round."""
    rounds = together([(1.0, 1.1), (2.0, 2.2), (1.0, 3.0)], [(5.0, 5.5)])
    assert rounds.levels(GOAL) == ([1.0, 5.0], [2.2, 5.5])
    assert ratio_of(rounds, GOAL) == pytest.approx((1.1, 1.1, 1.1))
    assert not enough(rounds, GOAL), "fewer rounds than asked for"


def test_a_pair_that_fails_is_tried_once_and_gives_its_reason() -> None:
    assert (enough(together([]), GOAL), together([]).failure) == (True, "out of memory")
    assert together([(1.0, 1.0)]).failure == "fewer than two rounds have both"


# --- recorded ----------------------------------------------------------------------------------------------


def changed(run: list[Measurement], **fields: object) -> list[Measurement]:
    return [records.changed(one, **fields) for one in run]


def test_runs_are_compared_at_their_common_points() -> None:
    a, b = visits(1.0, 1.0, 1.0), visits(2.0, 2.0, 2.0)
    longer = changed(a, tokens=256)
    points, failed, alone = recorded([*a, *longer], changed(b, machine_id="elsewhere"))
    assert [(point.a.load.tokens, point.ratio, point.verdict) for point in points] == [
        (128, pytest.approx(2), "slower")
    ]
    assert (failed, [key.load.tokens for key in alone]) == ([], [256])


def test_runs_of_one_model_each_are_compared_at_their_common_sizes() -> None:
    a, b = visits(1.0, 1.0), changed(visits(0.5, 0.5), variant="after", precision="int8")
    ((point,), *_) = recorded(a, b)
    assert (point.b.subject.model, point.ratio) == ("after", pytest.approx(0.5))
    assert point.label == "prefill at 128 tokens"


def test_one_round_is_not_compared() -> None:
    points, failed, _ = recorded(visits(1.0), visits(1.0, 1.0))
    assert (points, len(failed)) == ([], 1)
    assert "two rounds or more" in failed[0]
