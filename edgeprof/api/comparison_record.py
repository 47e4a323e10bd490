"""What both ways of comparing make of their points: the record of a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edgeprof.analysis import compare as analysis
from edgeprof.schema import ComparedPoint, ComparedSide, Comparison, Goal, Machine, PointKey


def from_rounds(
    sides: Sequence[ComparedSide],
    rounds: Mapping[tuple[PointKey, PointKey], analysis.Rounds],
    goal: Goal,
    notes: Iterable[str],
    folder: Path | str,
) -> Comparison:
    """A comparison of points that were visited in the same rounds."""
    points = {keys: analysis.of_rounds(*keys, visits, goal) for keys, visits in rounds.items()}
    return Comparison(
        a=sides[0],
        b=sides[1],
        paired=True,
        points=in_order([point for point in points.values() if point]),
        failed=tuple(f"{keys[0].label}: {rounds[keys].failure}" for keys, point in points.items() if point is None),
        notes=tuple(notes),
        folder=str(folder),
    )


def in_order(points: Sequence[ComparedPoint]) -> tuple[ComparedPoint, ...]:
    """Points by model and precision, prefill before decode, the shortest first."""

    def order(point: ComparedPoint) -> tuple[object, ...]:
        subject, load = point.a.subject, point.a.load
        return subject.model, str(subject.precision), -len(load.phase), load.batch, load.length

    return tuple(sorted(points, key=order))


def differing_versions(a: Machine, b: Machine) -> list[str]:
    """The versions that differ, in a sentence."""
    differing = [
        f"{name} {a.versions[name]} in A, {b.versions[name]} in B"
        for name in a.versions
        if name in b.versions and a.versions[name] != b.versions[name]
    ]
    return [f"Versions: {'; '.join(differing)}."] if differing else []
