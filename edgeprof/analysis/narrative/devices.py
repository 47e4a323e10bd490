"""Sentences that compare the devices of a run, where two of them measured the same file at the same load."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from edgeprof import units
from edgeprof.analysis import findings
from edgeprof.analysis.findings import Estimate
from edgeprof.analysis.narrative import PhasePoints
from edgeprof.schema import Point


class Pair(NamedTuple):
    """The same file at the same load, on the same provider of two devices."""

    base: Point
    point: Point

    @property
    def ratio(self) -> Estimate:
        """How many times as long the point takes. The rounds of two devices are not made at the same time."""
        return findings.latency(self.point).over(findings.latency(self.base))


def devices(scope: PhasePoints) -> str:
    """Compare each device with the fastest one."""
    known: dict[str, dict[object, Point]] = {}
    for point in scope.points:
        if point.place.host:
            subject = point.subject
            same = (subject.digest, subject.model, subject.precision, point.place.provider, point.load)
            known.setdefault(point.place.host, {})[same] = point
    if len(known) < 2:
        return ""
    fastest = min(known, key=lambda host: _level(known, host))
    pairs = {
        host: [Pair(known[fastest][same], point) for same, point in mine.items() if same in known[fastest]]
        for host, mine in known.items()
        if host != fastest
    }
    return " ".join(_sentence(scope, fastest, host, of_host) for host, of_host in pairs.items() if of_host)


def _level(known: dict[str, dict[object, Point]], host: str) -> float:
    """The median, over the points that another device has too, of the time over the other's; 1 without any."""
    ratios = [
        findings.latency(point).over(findings.latency(other[same])).value
        for name, other in known.items()
        for same, point in known[host].items()
        if name != host and same in other
    ]
    return statistics.median(ratios) if ratios else 1.0


def _sentence(scope: PhasePoints, fastest: str, host: str, pairs: Sequence[Pair]) -> str:
    """The largest model at its longest length, and the range over all points."""
    shown = max(pairs, key=lambda pair: (pair.point.facts.params, findings.is_base(pair.point), pair.point.load.length))
    model = f"{shown.point.subject.model} {shown.point.subject.precision}"
    where = f"the {scope.phase} of {model} at {scope.tokens(shown.point)}"
    ratio = shown.ratio
    if not ratio.clear:
        return f"No clear difference between {host} and {fastest} in {where}: {findings.UNCLEAR}."
    text = (
        f"{host} takes {units.ratio(ratio.value)} the time of {fastest} for {where} "
        f"(95 % interval {units.number(ratio.low)} to {units.number(ratio.high)})"
    )
    if len(pairs) < 2:
        return f"{text}."
    least, most = (units.ratio(end(pair.ratio.value for pair in pairs)) for end in (min, max))
    spread = f"{least} to {most}" if least != most else f"about {least}"
    return f"{text}; {spread} over {len(pairs)} points."
