"""Spells of a long run, by a clock that only runs advance; and one real run."""

from pathlib import Path

import pytest

from edgeprof.measure.sustained_worker import spells


class Clock:
    """Nanoseconds that pass while something runs."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_spells_of_a_second_until_the_time_is_over(tmp_path: Path) -> None:
    clock = Clock()

    def run() -> None:
        clock.now_ns += 250_000_000 if clock.now_ns < 2e9 else 500_000_000

    seen = list(spells(run, 4.0, clock, tmp_path))
    assert [(one.end_s, one.runs, one.median_s) for one in seen] == [
        (1.0, 4, 0.25), (2.0, 4, 0.25), (3.0, 2, 0.5), (4.0, 2, 0.5)
    ]  # fmt: skip
    assert all(one.temperature_c is None and one.clock_mhz is None for one in seen)


def test_the_hottest_sensor_and_the_fastest_core_are_told(tmp_path: Path) -> None:
    for name, text in {
        "sys/class/thermal/thermal_zone0/temp": "41500\n",
        "sys/class/thermal/thermal_zone1/temp": "63250\n",
        "sys/class/thermal/thermal_zone2/temp": "asleep\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1800000\n",
        "sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "2400000\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    clock = Clock()

    def run() -> None:
        clock.now_ns += 1_000_000_000

    (seen,) = spells(run, 1.0, clock, tmp_path)
    assert (seen.temperature_c, seen.clock_mhz) == (pytest.approx(63.25), pytest.approx(2400.0))
