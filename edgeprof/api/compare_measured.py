"""Compare two models, or one in two environments: measured in turn, round by round."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from msgspec.structs import replace

from edgeprof import store
from edgeprof.analysis import compare as analysis
from edgeprof.analysis import statistics
from edgeprof.analysis.disturbance import Quiet
from edgeprof.api.comparison_record import differing_versions, from_rounds
from edgeprof.api.local_turn import LocalTurn
from edgeprof.api.points import ProfileRequest, jobs_of
from edgeprof.api.targets import one_model, parts_of, renamed
from edgeprof.errors import UsageError
from edgeprof.measure import machine as measure_machine
from edgeprof.measure.environment import environment
from edgeprof.measure.launch import measure, measure_pair, pair_settings
from edgeprof.measure.schedule import SETTLED, Job, Visit, of_job
from edgeprof.process import LOCAL, Executor, Progress
from edgeprof.schema import Artifact, ComparedSide, Comparison, Goal, Machine, Measurement, PairVisit, PointKey
from edgeprof.text import joined

SHOWN = 3

ALONE = 3
"""Rounds that also visit A and B alone, each in its own process."""


class Measured:
    """A side that is measured: what, where, and its visits so far."""

    def __init__(self, artifact: Artifact, executor: Executor, machine: Machine, name: str) -> None:
        self.artifact, self.executor, self.machine, self.name = artifact, executor, machine, name
        self.records: list[Measurement] = []


def artifacts(a: str, b: str | None, python: Path | None, models: Path) -> list[Artifact]:
    """A and B, under different names unless they are one model in two environments."""
    if b is None and python is None:
        raise UsageError(
            "There is nothing to compare A with.", "Name B, or another environment: --python other/.venv/bin/python"
        )
    first, second = (parts_of(one_model(target, models))[0] for target in (a, a if b is None else b))
    if first.location == second.location:
        return [first, second]
    return renamed([first, second])


def sides_of(pair: Sequence[Artifact], python: Path | None) -> list[Measured]:
    here = measure_machine.describe()
    executor, there = environment(python) if python else (LOCAL, here)
    names = [f"{artifact.name} {artifact.precision}" for artifact in pair]
    versions = [machine.versions.get("onnxruntime", "unknown") for machine in (here, there)]
    if versions[0] != versions[1]:
        names = [f"{name} (onnxruntime {version})" for name, version in zip(names, versions, strict=True)]
    elif names[0] == names[1]:
        names = [f"{names[0]} (A)", f"{names[1]} (B)"]
    return [
        Measured(artifact, *where, name)
        for artifact, where, name in zip(pair, [(LOCAL, here), (executor, there)], names, strict=True)
    ]


def measured(
    sides: Sequence[Measured], request: ProfileRequest, goal: Goal, folder: Path, progress: Progress
) -> Comparison:
    notes: list[str] = []
    jobs: list[dict[object, Job]] = []
    for side in sides:
        progress(f"counting: {side.name}", None)
        requested = replace(request, machine_id=side.machine.machine_id)
        jobs.append({job.key.load: job for job in jobs_of(side.artifact, requested, notes)})
    pairs = [(jobs[0][load], jobs[1][load]) for load in jobs[0] if load in jobs[1]]
    if not pairs:
        sizes = [joined([job.key.load.label for job in of_side.values()][:SHOWN]) or "no phase" for of_side in jobs]
        raise UsageError(
            f"A and B have no size in common: {sizes[0]}, and {sizes[1]}.", "Use --seq with lengths that both support."
        )
    with contextlib.ExitStack() as stack:
        for side, place in zip(sides, "ab", strict=True):
            side.records = stack.enter_context(store.run_in_progress(folder / place, side.machine))
        turn = LocalTurn(progress)
        visits = Visits(sides, goal, folder, turn)
        try:
            visits.make(pairs, progress)
        finally:
            for place in "ab":
                if (folder / place / store.MEASUREMENTS_FILE).exists():
                    store.save_table(folder / place, statistics.points(store.load_measurements(folder / place)))
    described = [
        ComparedSide(name=side.name, folder=str(folder / place), machine=side.machine)
        for side, place in zip(sides, "ab", strict=True)
    ]
    notes += turn.notes
    rounds = {(a.key, b.key): visits.rounds((a, b)) for a, b in pairs}
    return from_rounds(
        described, rounds, goal, dict.fromkeys([*notes, *differing_versions(*(s.machine for s in sides))]), folder
    )


class Visits:
    """Visits of A and B until the ratio of every point is known, round by round; each is saved as soon as it ends.

    Where both run in one environment and fit into memory, the ratio comes from visits of both, and a few rounds visit
    each alone, for its own times and memory.
    """

    def __init__(self, sides: Sequence[Measured], goal: Goal, folder: Path, turn: LocalTurn) -> None:
        self.sides, self.goal, self.folder, self.turn = sides, goal, folder, turn
        self.together = store.load_pairs(folder)

    def make(self, pairs: Sequence[tuple[Job, Job]], progress: Progress) -> None:
        for number in count():
            rounds = {pair[0].key: self.rounds(pair) for pair in pairs}
            waiting = [(index, pair) for index, pair in enumerate(pairs) if not self._enough(pair, rounds)]
            if not waiting:
                return
            done = sum(_share(one, self.goal) for one in rounds.values()) / len(pairs)
            random.Random(number).shuffle(waiting)
            for index, pair in waiting:
                progress(f"round {number + 1}, {len(waiting)} of {len(pairs)} points: {pair[1].key.label}", done)
                if not self._shared(pair) or number < ALONE:
                    for of_side in _order(number, index):
                        self._alone(pair[of_side], self.sides[of_side], number, self.folder / "ab"[of_side])
                if self._shared(pair):
                    self._both(pair, number)

    def rounds(self, pair: tuple[Job, Job]) -> analysis.Rounds:
        if self._shared(pair):
            return analysis.Together({visit.round: visit for visit in self._of(pair)})
        a, b = (of_job(job, side.records) for job, side in zip(pair, self.sides, strict=True))
        return analysis.InTurn.of(a, b, Quiet.of([record for side in self.sides for record in side.records]))

    def _enough(self, pair: tuple[Job, Job], rounds: Mapping[PointKey, analysis.Rounds]) -> bool:
        return analysis.enough(rounds[pair[0].key], self.goal)

    def _shared(self, pair: tuple[Job, Job]) -> bool:
        """Whether both run in one process."""
        needed = sum(job.facts.memory_predicted_bytes or 0 for job in pair)
        machine = self.sides[0].machine
        fits = needed < min(machine.memory_bytes, machine.memory_limit_bytes or machine.memory_bytes) / 2
        return fits and all(side.executor is LOCAL for side in self.sides)

    def _of(self, pair: tuple[Job, Job]) -> list[PairVisit]:
        a, b = pair
        same = (a.key.lasting, b.key.lasting, pair_settings(a, b))
        return [one for one in self.together if (one.key.lasting, one.b.lasting, one.settings_key) == same]

    def _both(self, pair: tuple[Job, Job], number: int) -> None:
        """Visit both, unless a comparison that is resumed did so in this round."""
        if any(one.round == number and one.outcome.status in SETTLED for one in self._of(pair)):
            return
        with self.turn.take(f"compares {pair[1].key.label}"):
            record = measure_pair(*pair, number)
        store.append_pair(self.folder, record)
        self.together.append(record)

    def _alone(self, job: Job, side: Measured, number: int, folder: Path) -> None:
        """Visit a job, unless a comparison that is resumed did so in this round."""
        if any(one.round == number and one.outcome.status in SETTLED for one in of_job(job, side.records)):
            return
        with self.turn.take(f"measures {job.key.label}"):
            record = measure(Visit(job=job, round=number, goal=self.goal), side.executor)
        store.append_measurement(folder, record)
        side.records.append(record)


def _order(number: int, index: int) -> Sequence[int]:
    """A before B or after it: at random, and the other way round in the next round."""
    b_first = random.Random(1000 * index + number // 2).random() < 0.5
    return (1, 0) if b_first != bool(number % 2) else (0, 1)


def _share(rounds: analysis.Rounds, goal: Goal) -> float:
    """How much of a point is done, if it takes all the time that it may."""
    if analysis.enough(rounds, goal):
        return 1.0
    parts = [rounds.tried / goal.rounds, rounds.spent_s / goal.max_time_s if goal.max_time_s else 1.0]
    return min(*parts, 1.0)
