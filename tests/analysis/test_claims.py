"""The claims: every number that a check finds, against what a person worked out, and the verdicts that follow."""

import re
from collections.abc import Callable

import pytest
from builders import length_runs

from edgeprof.analysis import claim_checks, claims, growth, statistics
from edgeprof.analysis.claim_checks import CONFIRMED, CORRECTED, NOT_SHOWN, WRONG, amount, in_unit_of, near, rounds_to
from edgeprof.schema import CheckedClaim, Measurement, Point


@pytest.fixture(scope="module")
def checked() -> dict[int, CheckedClaim]:
    return {claim.number: claim for claim in claims.check(None, why_not="no device")}


FOUND = {
    1: {"weights": 393_216**2, "macs": 393_216**2},
    2: {"weights": 589_824},
    3: {
        "rank of 4 x 16": 4,
        "rank of 16 x 4": 4,
        "rank of 12 x 12": 12,
        "rank of 20 x 32": 20,
        "rank of 32 x 20": 20,
        "params": 0,
    },
    4: {"Q, K, V": 1_769_472, "MLP": 4_718_592, "output projection": 589_824, "block": 7_087_872},
    5: {
        "layers": 12,
        "blocks": 12 * 7_087_872,
        "embeddings": (30_522 + 512 + 2) * 768,
        "pooler": 768 * 768 + 768,
        "params": 109_482_240,
    },
    6: {
        "blocks": 12 * 7_087_872,
        "embeddings": (50_257 + 1024) * 768,
        "token embedding": 38_597_376,
        "params": 124_439_808,
        "vocabulary": 50_257,
    },
    7: {
        "block at 512": 7_087_872,
        "block at 1024": 7_087_872,
        "position embedding grows by": 512 * 768,
        "share": 393_216 / 124_439_808,
    },
    8: {},
    9: {
        "patches": 196,
        "tokens": 197,
        "values": 768,
        "bare embeddings": 741_120,
        "embeddings": 741_120 + 768 + 768,
        "without head": 86_567_656 - 769_000,
        "params": 86_567_656,
    },
    10: {"bert-base block": 7_087_872, "vit-base block": 7_087_872},
    11: {"tokens": 2048, "width": 12_288, "params": 174_604_259_328},
    12: {"params": 3 * 589_824, "params of self-attention": 3 * 589_824, "scores": 51_200},
    13: {
        "mixer-dense weights": 393_216**2,
        "mixer-attention weights": 1_769_472,
        "mixer-pointwise weights": 589_824,
        "mixer-dense MACs": 393_216**2,
        "mixer-attention MACs": 3 * 512 * 589_824 + 2 * 512 * 512 * 768,
        "mixer-pointwise MACs": 512 * 589_824,
    },
    14: {"params": 900_000_000, "macs": 0},
    15: {
        "params with 1 head": 1_769_472,
        "params with 12 heads": 1_769_472,
        "macs with 1 head": 1_308_622_848,
        "macs with 12 heads": 1_308_622_848,
    },
}


@pytest.mark.parametrize("number", FOUND)
def test_the_numbers_of_each_check(number: int, checked: dict[int, CheckedClaim]) -> None:
    assert checked[number].numbers == pytest.approx(FOUND[number], rel=1e-12)


def test_every_claim_has_numbers_worked_out_by_hand() -> None:
    assert [claim.number for claim in claims.CLAIMS] == list(FOUND)


def test_the_recorded_verdicts_hold(checked: dict[int, CheckedClaim]) -> None:
    assert all(claim.holds for claim in checked.values())
    assert {claim.number for claim in checked.values() if claim.verdict == CORRECTED} == {1, 4, 5, 6}
    assert {claim.number for claim in checked.values() if claim.verdict == WRONG} == {11}
    assert {claim.number for claim in checked.values() if claim.verdict is None} == {8}


def test_a_correction_is_reported_where_there_is_one(checked: dict[int, CheckedClaim]) -> None:
    for claim in checked.values():
        assert bool(claim.correction) == (claim.verdict in (CORRECTED, WRONG))
    assert checked[1].correction == "It has 154.6 B weights. It needs 154.6 G MACs, 996 times fewer than 154 T."
    assert checked[4].correction.startswith("Q, K, V and MLP are 6.5 M; the other 0.6 M are an output projection")
    assert checked[5].correction.startswith("Blocks and embeddings are 108.9 M, and 109.5 M with the pooler (0.6 M)")
    assert checked[6].correction == "To the nearest million it is 85 M + 39 M = 124 M."
    assert "175 B parameters processes 2,048 tokens of width 12,288; 768 is the width" in checked[11].correction


def test_what_was_not_checked_says_why_and_speaks_against_nothing(checked: dict[int, CheckedClaim]) -> None:
    assert checked[8].found == ("no device",)
    assert checked[8].holds


def test_figures_that_are_checked_are_those_of_the_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def spy(claimed: str) -> tuple[float, float]:
        seen.append(claimed)
        return amount(claimed)

    monkeypatch.setattr(claim_checks, "amount", spy)
    for claim in claims.CLAIMS:
        seen.clear()
        if claim.how != "measured":
            claim.check(())
        assert [claimed for claimed in seen if claimed not in claim.text] == []


def test_no_number_is_typed_into_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another width gives other numbers, and verdicts that are no longer the recorded ones."""
    monkeypatch.setattr(claim_checks, "WIDTH", 192)
    result = {claim.number: claim for claim in claims.check(None)}
    assert "9,663,676,416 weights" in result[1].found[0]
    assert {number for number, claim in result.items() if not claim.holds} == {1}


def test_a_changed_verdict_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    row = claims.CLAIMS[1]._replace(recorded=WRONG)
    monkeypatch.setattr(claims, "CLAIMS", (row,))
    (claim,) = claims.check(None)
    assert (claim.verdict, claim.recorded, claim.holds) == (CONFIRMED, WRONG, False)


# --- claimed figures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "value", "digit"),
    [("154 B", 154e9, 1e9), ("7.1 M", 7_100_000, 100_000), ("0.74 M", 740_000, 10_000), ("50,257", 50_257, 1)],
)
def test_a_figure_and_its_last_digit(message: str, value: float, digit: float) -> None:
    assert amount(message) == pytest.approx((value, digit))


def test_what_is_no_figure_is_refused() -> None:
    with pytest.raises(ValueError, match="not a figure: many"):
        amount("many")


@pytest.mark.parametrize(
    ("value", "message", "rounds", "is_near"),
    [
        (85_054_464, "85 M", True, True),
        (124_439_808, "125 M", False, True),  # rounded up
        (154_618_822_656, "154 B", False, True),  # cut off
        (108_890_112, "110 M", False, False),
        (154_618_822_656, "154 T", False, False),
    ],
)
def test_how_well_a_figure_fits(value: float, message: str, rounds: bool, is_near: bool) -> None:
    assert (rounds_to(value, message), near(value, message)) == (rounds, is_near)


def test_a_number_in_the_digits_of_a_figure() -> None:
    assert in_unit_of(124_439_808, "125 M") == "124 M"
    assert in_unit_of(6_488_064, "7.1 M") == "6.5 M"
    assert in_unit_of(174_604_259_328, "175 B") == "175 B"


# --- measured ------------------------------------------------------------------------------------------


def points(*records: list[Measurement]) -> list[Point]:
    return statistics.points(record for part in records for record in part)


def test_growth_with_the_length_is_confirmed_and_fitted() -> None:
    result = growth.length_drives(points(length_runs.visits()))
    assert result.verdict == CONFIRMED
    assert result.numbers == pytest.approx(
        {
            f"{model}: {name} x": value
            for model in ("bert-base", "gpt2")
            for name, value in {
                "tokens": 16,
                "time": 0.258 / 0.018,
                "working memory": 30.6 / 6.6,
                "params": 1,
                "MACs": 16,
            }.items()
        }
    )
    for fitted in result.growths:
        assert [point.load.tokens for point in fitted.points] == list(length_runs.LENGTHS)
        middle = 1.01  # of three rounds 1 % apart
        assert fitted.latency_s.constant == pytest.approx(0.002 * middle)
        assert fitted.latency_s.linear == pytest.approx(0.001 * middle)
        assert fitted.working_bytes.constant == pytest.approx(5e6)
        assert fitted.working_bytes.linear == pytest.approx(1e5)
        assert fitted.working_bytes.quadratic == pytest.approx(0, abs=1e-6)
    assert result.lines[0] == (
        "bert-base from 16 to 256 tokens (16x): time 14x (18.2 ms to 261 ms), MACs 16x, "
        "working memory 4.6x (6.6 MB to 30.6 MB), parameters 1x"
    )
    assert re.match(r"bert-base: time = 2.02 ms \+ 1.01 ms n for n tokens, at most 0.0 % from", result.lines[1])
    assert re.match(r"bert-base: working memory = 5 MB \+ 100 kB n", result.lines[2])


@pytest.mark.parametrize(
    ("seconds", "working", "verdict", "message"),
    [
        (
            lambda n: 0.1,
            length_runs.line_bytes,
            NOT_SHOWN,
            "The time of gpt2 does not differ clearly at 16 times the tokens",
        ),
        (lambda n: 10 / n, length_runs.line_bytes, WRONG, "gpt2 takes 0.062x the time at 16 times the tokens"),
        (
            length_runs.line_s,
            lambda n: 5_000_000,
            CORRECTED,
            "The working memory of gpt2 does not grow: 1x at 16 times",
        ),
    ],
)
def test_one_model_that_does_not_grow_is_enough(
    seconds: Callable[[int], float], working: Callable[[int], int], verdict: str, message: str
) -> None:
    other = length_runs.visits(["gpt2"], seconds=seconds, working=working)
    result = growth.length_drives(points(length_runs.visits(["bert-base"]), other))
    assert result.verdict == verdict
    assert result.correction.startswith(message)


def test_a_claim_uses_only_the_points_it_is_about() -> None:
    records = length_runs.visits()
    others = [
        length_runs.visits(lengths=[512], precision="int8"),
        length_runs.visits(lengths=[1], phase="decode", past_tokens=512),
        length_runs.visits(lengths=[512], batch=4),
        length_runs.visits(lengths=[512], status="failed", reading=None),
        length_runs.visits(lengths=[512], emulated=True),
        length_runs.visits(lengths=[16, 512], threads=1),  # fewer lengths than with 2 threads
    ]
    for records_or_points in (sum(others, records), points(records, *others)):
        assert growth.measured_lengths(records_or_points) == dict.fromkeys(("bert-base", "gpt2"), length_runs.LENGTHS)
    assert {point.place.threads for line in growth.lines(points(records, *others)).values() for point in line} == {2}


def test_what_is_missing_is_named_and_can_be_measured() -> None:
    lengths = growth.measured_lengths(length_runs.visits(["bert-base"], [16, 64, 300]))
    assert list(growth.lacking(lengths)) == [
        "bert-base fp32 prefill at 5 token lengths (there is only 16, 64, 300)",
        "gpt2 fp32 prefill at 5 token lengths (there is none)",
    ]
    assert growth.to_measure(lengths) == {(32, 128, 256): ["bert-base"], (16, 32, 64, 128, 256): ["gpt2"]}
    assert growth.to_measure(growth.measured_lengths(length_runs.visits())) == {}


def test_too_few_lengths_are_no_growth() -> None:
    with pytest.raises(ValueError, match="two token lengths"):
        growth.length_drives(points(length_runs.visits(lengths=[16])))
