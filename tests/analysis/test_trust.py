"""How good the numbers of a run are, in a sentence."""

from factories import point

from edgeprof.analysis.narrative.trust import caveat, trust
from edgeprof.schema import Point, Steadiness


def judged(verdict: Steadiness, spread: float) -> Point:
    return point(0.1, spread, verdict=verdict)


def test_steady_points() -> None:
    points = [judged("steady", 0.01), judged("steady", 0.025)]
    assert trust(points) == "All 2 points are steady: 95 % intervals of +/- 2.5 % or less."
    assert caveat(points) == ""


def test_points_that_are_not_steady_are_counted_by_their_verdict() -> None:
    points = [judged("steady", 0.01), judged("noisy", 0.4), judged("disturbed", 0.1), judged("noisy", 0.2)]
    assert trust(points) == (
        "1 of 4 points is steady; 2 noisy (interval wider than asked for), 1 disturbed (other work on the machine). "
        "The widest 95 % interval is +/- 40.0 %."
    )
    assert caveat(points) == " (3 of these 4 points not steady)"


def test_points_that_failed_are_left_out() -> None:
    assert trust([point(None)]) == ""
