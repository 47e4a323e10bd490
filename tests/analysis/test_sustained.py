"""Cold and sustained speed, and the moment of throttling, of series with a known truth."""

from builders import records

from edgeprof.analysis.sustained import of, sentence
from edgeprof.schema import Outcome, Spell, SustainedPass, SustainedReading


def passed(*medians_s: float) -> SustainedPass:
    """A spell of 10 seconds for each median."""
    spells = tuple(Spell(end_s=10.0 * n, runs=100, median_s=median) for n, median in enumerate(medians_s, 1))
    outcome = Outcome(status="ok", reading=SustainedReading(spells=spells), started_at="2026-03-01T12:00:00Z")
    return SustainedPass(key=records.key(), settings_key="s", outcome=outcome)


def test_a_device_that_throttles() -> None:
    one = passed(0.10, 0.10, 0.12, 0.10, 0.13, 0.14, 0.15, 0.15)
    assert one.outcome.reading
    found = of(one.outcome.reading)
    assert (found.cold_s, found.sustained_s, found.slower_after_s) == (0.10, 0.15, 40.0)
    assert sentence(one).endswith(
        ": 100 ms cold, 150 ms sustained over 80 s (67 % of the cold speed); slower from 40 s on."
    )


def test_a_device_that_does_not() -> None:
    one = passed(0.10, 0.12, 0.10, 0.104, 0.10, 0.10, 0.103, 0.103)
    assert one.outcome.reading and of(one.outcome.reading).slower_after_s is None
    assert sentence(one).endswith("(97 % of the cold speed); no lasting slowdown.")


def test_a_long_run_that_failed_says_why() -> None:
    outcome: Outcome[SustainedReading] = Outcome(
        status="failed", error="It crashed.", started_at="2026-03-01T12:00:00Z"
    )
    assert sentence(SustainedPass(key=records.key(), settings_key="s", outcome=outcome)).endswith("failed: It crashed.")
