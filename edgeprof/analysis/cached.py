"""Whether a KV cache saves what it is for: the slope of decode time over depth, against what it would be without one.

    with a cache     one more cached token costs its scores and its share of the sum: its MACs, at the time per MAC of
                     the rest of a step, which reads a number of the weights for each, as attention does of the cache
    without a cache  one more token is computed anew in every step: the slope of the law of prefill at these lengths

A graph recomputes if the measured slope, with its whole interval, is over half of that without a cache; or if its
counted MACs grow with a cached token by over half of those of a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from edgeprof import units
from edgeprof.analysis.findings import by_series, measured, without_baselines
from edgeprof.schema import Law, Point, PointKey

HALF = 0.5


class CacheCheck(NamedTuple):
    """Seconds for one more cached token, measured and predicted, of one line in decode."""

    law: Law
    with_cache_s: float | None  # None: MACs are not known
    recomputed_s: float | None  # None: there is no law of prefill
    counted: float | None  # MACs for one more cached token, over those of a new one
    copied_bytes: float  # of the cache, by one step at the longest length; 0: it is written in place
    copy_s: float | None  # what that costs in this step; None: not known, or nothing is copied
    copy_of: str  # the file whose cache is written in place, which it was measured against; "": predicted

    @property
    def recomputes(self) -> bool:
        slow = self.recomputed_s is not None and self.law.linear.low > HALF * self.recomputed_s
        return slow or (self.counted is not None and self.counted > HALF)

    @property
    def real(self) -> bool:
        """Whether the measured slope is shown to be less than that without a cache."""
        return self.recomputed_s is not None and self.law.linear.high < HALF * self.recomputed_s


def checks(laws: Sequence[Law], points: Iterable[Point], bytes_per_s: float | None = None) -> list[CacheCheck]:
    """A check for every law of decode.

    Args:
        laws: of lines of these points.
        bytes_per_s: what the memory gives; predicts what copies cost.
    """
    lines = {
        key: line for key, line in by_series(measured(without_baselines(points))).items() if key.load.phase == "decode"
    }
    known = {law.key: law for law in laws}
    decoding = [law for law in laws if law.key in lines and lines[law.key][0].load.source_tokens is None]
    return [_check(law, known, lines, bytes_per_s) for law in decoding]


def _check(
    law: Law, known: dict[PointKey, Law], lines: dict[PointKey, list[Point]], bytes_per_s: float | None
) -> CacheCheck:
    line = lines[law.key]
    prefill = known.get(replace(law.key, load=replace(law.key.load, phase="prefill")))
    short, long = law.lengths[0], law.lengths[-1]
    macs = [point.facts.macs for point in line if point.facts.macs]
    per_token, of_new = 0.0, 0.0
    if len(macs) == len(line):
        per_token = (macs[-1] - macs[0]) / (long - short)
        of_new = macs[0] - per_token * short
    copied = line[-1].facts.cache_copied_bytes
    other = _in_place(law, known, lines) if copied else None
    copy_s = 2 * copied / bytes_per_s if copied and bytes_per_s else None  # read and written
    if other:
        copy_s = law.curve.at(long) - other.curve.at(long)
    return CacheCheck(
        law=law,
        with_cache_s=law.curve.constant * per_token / of_new if of_new > 0 else None,
        recomputed_s=prefill.curve.linear + prefill.curve.quadratic * (short + long) if prefill else None,
        counted=per_token / of_new if of_new > 0 else None,
        copied_bytes=copied,
        copy_s=copy_s,
        copy_of=other.key.subject.model if other else "",
    )


def _in_place(law: Law, known: dict[PointKey, Law], lines: dict[PointKey, list[Point]]) -> Law | None:
    """The law of the same model in a file whose cache is written in place, measured at the same depths."""
    mine = lines[law.key][-1].facts
    for key, line in lines.items():
        facts, other = line[-1].facts, known.get(key)
        if other is None or facts.cache_copied_bytes or other.lengths != law.lengths:
            continue
        alike = replace(key, subject=replace(key.subject, model=law.key.subject.model)) == law.key
        if alike and (facts.params, facts.family) == (mine.params, mine.family):
            return other
    return None


def sentence(check: CacheCheck) -> str:
    """What a cached token costs in decode, against the predictions; and what copies of the cache cost."""
    law = check.law
    depth = f"{law.lengths[0]:,} to {law.lengths[-1]:,}"
    slope = f"{_or_zero(law.curve.linear)} ({_or_zero(law.linear.low)} to {units.duration(law.linear.high)})"
    doubt = f", {units.counted(len(law.not_steady), 'point')} not steady" if law.not_steady else ""
    cost = f"each cached token adds {slope} to a step (depths {depth}{doubt})"
    name = f"{law.key.subject.model} {law.key.subject.precision}"
    on = f" on {law.key.place.label}" if law.key.place.label else ""
    return f"{name}{on}, decode: {cost}; {_judged(check)}.{_copies(check)}"


def _judged(check: CacheCheck) -> str:
    expected = [
        f"{units.duration(value)} {text}"
        for value, text in ((check.with_cache_s, "with a cache"), (check.recomputed_s, "without one"))
        if value is not None
    ]
    against = f"predicted are {' and '.join(expected)}" if expected else "nothing can be predicted"
    if check.recomputes:
        return f"{against}: it computes earlier tokens again in every step, so its KV cache saves nothing"
    if check.real:
        return f"{against}: the KV cache is real"
    if check.recomputed_s is None:
        return f"{against}; to test the cache by time, measure prefill at four lengths too"
    return f"{against}: whether the KV cache is real is not shown"


def _copies(check: CacheCheck) -> str:
    if not check.copied_bytes:
        return ""
    copied = f" Its cache grows: a step at {check.law.lengths[-1]:,} tokens copies {units.size(check.copied_bytes)}"
    if check.copy_s is None:
        return f"{copied}."
    if check.copy_of:
        if check.copy_s <= 0:
            return f"{copied}; against {check.copy_of}, whose cache is written in place, no cost is shown."
        return (
            f"{copied}, which costs {units.duration(check.copy_s)}: measured against {check.copy_of}, written in place."
        )
    return f"{copied}, about {units.duration(check.copy_s)} at the memory bandwidth of this run (predicted)."


def _or_zero(value: float) -> str:
    return units.duration(value) if value else "0"
