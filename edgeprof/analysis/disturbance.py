"""Whether other work disturbed a visit: by the kernel's count of waiting threads, and by the canaries.

A visit is off if its canaries were slower, before it or after it, than they usually are: their first decile over the
run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from edgeprof.schema import Canaries, Measurement

CONTENTION_LIMIT = 0.03
"""Share of a visit's time that threads wait for a core, above which it measures other work, not the model."""

JUDGED_FROM_S = 0.15  # in shorter visits a single wake-up of another process is a large share

CANARY_LIMIT = 1.5
"""Time of a canary over the usual one, above which a visit is disturbed.

By experiment (`tests/benchmarks/estimators.py`): beside other work in bursts, medians of the visits left vary a quarter
to a half as much as those of all. At 1.2 they vary hardly less, and fewer are left; at 2 some vary more.
"""


class Quiet(NamedTuple):
    """What the canaries of a run take while nothing else runs: by machine and threads."""

    usual: dict[tuple[str, str, int], Canaries]

    @classmethod
    def of(cls, records: Iterable[Measurement]) -> Quiet:
        seen: dict[tuple[str, str, int], list[Canaries]] = {}
        for record in records:
            seen.setdefault(_where(record), []).extend(_canaries(record))
        return cls(
            {
                where: Canaries(
                    matrices_s=_first_decile(one.matrices_s for one in canaries),
                    vector_s=_first_decile(one.vector_s for one in canaries),
                )
                for where, canaries in seen.items()
                if canaries
            }
        )

    def slowdown(self, record: Measurement) -> float:
        """The slowest canary of a visit over the usual one; 1 where there is none."""
        usual = self.usual.get(_where(record))
        ratios = [
            ratio
            for one in _canaries(record)
            if usual
            for ratio in (one.matrices_s / usual.matrices_s, one.vector_s / usual.vector_s)
        ]
        return max(ratios, default=1.0)


def disturbed(record: Measurement, quiet: Quiet) -> bool:
    """Whether other work disturbed a visit, as far as it was long enough to decide."""
    reading = record.outcome.reading
    if record.place.emulated or reading is None:
        return False
    waited = reading.contention is not None and reading.contention > CONTENTION_LIMIT
    return (waited and sum(reading.latencies_s) >= JUDGED_FROM_S) or quiet.slowdown(record) > CANARY_LIMIT


def _where(record: Measurement) -> tuple[str, str, int]:
    return record.place.host, record.machine_id, record.place.threads


def _canaries(record: Measurement) -> Iterator[Canaries]:
    if record.outcome.reading:
        yield from record.outcome.reading.canaries


def _first_decile(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 10]
