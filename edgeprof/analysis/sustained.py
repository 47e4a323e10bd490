"""What a device gives after minutes of work, against what it gives cold."""

from __future__ import annotations

import statistics
from typing import NamedTuple

from edgeprof import units
from edgeprof.schema import SustainedPass, SustainedReading

COLD_S = 10.0
"""The beginning of a run, in which a device is cold."""

SLOWER = 1.05
"""A level this much slower than cold, to the end of the run, is a lasting slowdown: heat, clocks, or other work."""


class Sustained(NamedTuple):
    cold_s: float  # a run, at the beginning
    sustained_s: float  # a run, in the last quarter
    slower_after_s: float | None  # None: never

    @property
    def kept(self) -> float:
        """The share of the cold speed that lasts."""
        return self.cold_s / self.sustained_s


def of(reading: SustainedReading) -> Sustained:
    """Cold and sustained level, and when the first gave way to the second.

    Cold is the least median of the spells in the first ten seconds, sustained the median of those in the last quarter.
    A slowdown lasts from the first spell after which every one is at least 5 % slower than cold.
    """
    spells = reading.spells
    cold = min(spell.median_s for spell in spells if spell.end_s <= max(COLD_S, spells[0].end_s))
    last = [spell.median_s for spell in spells if spell.end_s >= 0.75 * spells[-1].end_s]
    slow = len(spells)
    while slow and spells[slow - 1].median_s > SLOWER * cold:
        slow -= 1
    after = None if slow == len(spells) else spells[slow - 1].end_s if slow else 0.0
    return Sustained(cold, statistics.median(last), after)


def sentence(one: SustainedPass) -> str:
    """What a long run of a point showed."""
    reading = one.outcome.reading
    if reading is None:
        return f"{one.key.label}: {one.outcome.status}: {one.outcome.error}"
    found, minutes = of(reading), units.duration(reading.spells[-1].end_s)
    levels = f"{units.duration(found.cold_s)} cold, {units.duration(found.sustained_s)} sustained over {minutes}"
    if found.slower_after_s is None:
        return f"{one.key.label}: {levels} ({units.percent(found.kept)} of the cold speed); no lasting slowdown."
    began = f"slower from {units.duration(found.slower_after_s)} on"
    return f"{one.key.label}: {levels} ({units.percent(found.kept)} of the cold speed); {began}."
