"""The stopping rule and the warm-up, on a clock that only moves when a run says so."""

from collections.abc import Iterable, Iterator

import pytest

from edgeprof.measure.sampling import time_runs, warm_up
from edgeprof.schema import StoppingRule


class Script:
    """Runs that take the given times, the last one for ever after; and the clock that sees them."""

    def __init__(self, seconds: Iterable[float]) -> None:
        self.now_ns = 0
        self.runs = 0
        self._durations = self._forever(seconds)

    @staticmethod
    def _forever(seconds: Iterable[float]) -> Iterator[float]:
        last = 0.0
        for last in seconds:
            yield last
        while True:
            yield last

    def run(self) -> None:
        self.runs += 1
        self.now_ns += round(next(self._durations) * 1e9)

    def clock(self) -> int:
        return self.now_ns


def test_timing_goes_on_until_both_minima_are_met() -> None:
    slow = Script([0.5])
    assert time_runs(slow.run, StoppingRule(min_runs=4, min_time_s=1.0), slow.clock) == (0.5,) * 4
    fast = Script([0.25])
    assert time_runs(fast.run, StoppingRule(min_runs=2, min_time_s=1.0), fast.clock) == (0.25,) * 4


def test_timing_ends_when_the_maximum_has_passed() -> None:
    script = Script([5.0])
    assert time_runs(script.run, StoppingRule(min_runs=10, min_time_s=1.0, max_time_s=12.0), script.clock) == (5.0,) * 3


def test_every_latency_is_kept_in_order_to_the_nanosecond() -> None:
    script = Script([0.000102347, 0.3, 0.1])
    assert time_runs(script.run, StoppingRule(min_runs=3, min_time_s=0.0), script.clock) == (0.000102347, 0.3, 0.1)


@pytest.mark.parametrize(
    ("seconds", "runs"),
    [
        ([0.1], 10),  # steady at once: two windows of 5 runs
        ([0.2] * 5 + [0.1], 15),  # the second window is faster, the third is not
        ([0.100] * 5 + [0.0985], 10),  # 1.5 % faster is steady
        ([0.100] * 5 + [0.0975], 15),  # 2.5 % faster is not
        ([0.1] * 5 + [0.15], 10),  # slower is steady: nothing is left to settle
        ([0.001], 200),  # windows last 0.1 s, however short the runs
        ([5.0], 1),  # one run is all that a very slow model is given
        ([1.0], 3),
        ([0.4], 8),  # 3.2 s: the limit, reached within the second window
        ([1.0 * 0.9**step for step in range(100)], 4),  # never steady: 1 + 0.9 + 0.81 + 0.729 s passes the limit
    ],
)
def test_warm_up_ends_when_windows_stop_getting_faster(seconds: list[float], runs: int) -> None:
    script = Script(seconds)
    assert warm_up(script.run, script.clock) == runs == script.runs
