"""Make the visits of a run: as many of each point as it takes, then passes for operators, generation, long runs.

Whatever is measured is saved as soon as it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from edgeprof import store, units
from edgeprof.analysis import repetition, statistics
from edgeprof.analysis.disturbance import Quiet
from edgeprof.analysis.verdict import enough, taken_s
from edgeprof.api import baselines, placement
from edgeprof.api.local_turn import LocalTurn
from edgeprof.api.modules import Modules
from edgeprof.measure import matmul_speed
from edgeprof.measure.launch import (
    measure,
    measure_generation,
    measure_memory,
    measure_operators,
    measure_sustained,
    memory_job,
    operator_job,
    sustained_job,
)
from edgeprof.measure.schedule import Job, Prepared, Visit, of_job, plan, plan_passes
from edgeprof.process import Progress
from edgeprof.schema import Goal, Measurement, PointKey


class Measurer(Protocol):
    """Where visits are made: this machine, or a device somewhere else."""

    def of_visit(self, visit: Visit, done: float) -> Visit:
        """The visit with its job prepared; `done` is the share of all visits that are complete."""
        ...

    def measure(self, visit: Visit) -> Measurement:
        """The record of a prepared visit."""
        ...


def visit_points(
    jobs: Sequence[Job],
    goal: Goal,
    done: Sequence[Measurement],
    measurer: Measurer,
    save: Callable[[Measurement], None],
    progress: Progress,
) -> None:
    """Visit every point until it was visited enough, round by round; each visit is saved as soon as it ends."""
    records, share = list(done), 0.0
    for number in count():
        waiting = _waiting(jobs, number, goal, records)
        if not waiting:
            return
        visits = plan(waiting, number, records, goal)
        step = (1 - share) / _rounds_left(waiting, number, goal, records) / max(len(visits), 1)
        for planned in visits:
            stretch = repetition.stretch(of_job(planned.job, records)) if number >= goal.rounds else 1.0
            visit = measurer.of_visit(replace(planned, stretch=stretch), share)
            progress(f"round {number + 1}, {len(waiting)} of {len(jobs)} points: {visit.job.key.label}", share)
            record = measurer.measure(visit)
            save(record)
            records.append(record)
            share += step


def placement_suffices(record: Measurement, least_share: float) -> bool:
    """Whether a recorded visit satisfies the required share of placement."""
    share = record.receipt.share
    return share is None or share >= least_share or record.outcome.status == "unsupported"


def unfinished(jobs: Sequence[Job], goal: Goal, records: Sequence[Measurement]) -> list[Visit]:
    """The next visit of every point that was not visited enough."""
    left: dict[PointKey, Visit] = {}
    for number in range(goal.rounds):
        for visit in plan(jobs, number, records, goal):
            left.setdefault(visit.job.key, visit)
    for job in _waiting([job for job in jobs if job.key not in left], goal.rounds, goal, records):
        later = max((record.round for record in of_job(job, records)), default=0) + 1
        left[job.key] = Visit(job=job, round=max(later, goal.rounds), goal=goal)
    return list(left.values())


def _waiting(jobs: Sequence[Job], number: int, goal: Goal, records: Sequence[Measurement]) -> list[Job]:
    """The points that need another visit in a round."""
    if number < goal.rounds:
        return list(jobs)
    quiet = Quiet.of(records)
    visits = {job.key: of_job(job, records) for job in jobs}
    return [
        job
        for job in jobs
        if not enough(visits[job.key], statistics.point(visits[job.key], quiet).latency, goal, quiet)
    ]


def _rounds_left(waiting: Sequence[Job], number: int, goal: Goal, records: Sequence[Measurement]) -> float:
    """The number of rounds still to come, if every point takes all the time that it may."""
    left = [1.0, float(goal.rounds - number)]
    for job in waiting:
        times = [taken_s(visit) for visit in of_job(job, records)]
        if times and sum(times):
            left.append((goal.max_time_s - sum(times)) / (sum(times) / len(times)))
    return max(left)


class Preparation:
    """Measures on this machine; prepares each point for its provider, once, at its first visit."""

    def __init__(self, least_share: float, progress: Progress) -> None:
        self.least_share, self.progress = least_share, progress
        self.turn = LocalTurn(progress)
        self.known: dict[PointKey, Prepared | None] = {}

    def of_visit(self, visit: Visit, done: float) -> Visit:
        return replace(visit, job=self.of(visit.job, done))

    def measure(self, visit: Visit) -> Measurement:
        with self.turn.take(f"measures {visit.job.key.label}"):
            return measure(visit)

    def of(self, job: Job, done: float) -> Job:
        if job.key not in self.known:
            if not job.target.is_cpu:
                self.progress(f"{'checking' if job.target.is_baseline else 'placing'} {job.key.label}", done)
            self.known[job.key] = self._prepared(job).prepared
        return replace(job, prepared=self.known[job.key])

    def _prepared(self, job: Job) -> Job:
        if job.target.is_cpu:
            return job
        with self.turn.take(f"prepares {job.key.label}"):
            return baselines.checked(job) if job.target.is_baseline else placement.prepared(job, self.least_share)


def profile_operators(jobs: Sequence[Job], preparation: Preparation, folder: Path, progress: Progress) -> None:
    """Time the operators of each point without a pass, separately from the timed visits."""
    passes = plan_passes(list(map(operator_job, jobs)), store.load_operators(folder))
    modules = Modules()
    for index, job in enumerate(passes):
        progress(f"operators of {job.key.label}", index / len(passes))
        prepared = preparation.of(job, index / len(passes))
        with preparation.turn.take(f"times the operators of {job.key.label}"):
            record = measure_operators(prepared)
        store.append_operators(folder, modules.added(record, prepared))
    place = jobs[0].key.place
    products = matmul_speed.to_measure(place.threads, store.load_kernels(folder))
    with preparation.turn.take("measures a matrix product"):
        for index, kernel in enumerate(matmul_speed.measure_kernels(products, place.threads, place.machine_id), 1):
            progress("matrix product in fp32 and int8", index / len(products))
            store.append_kernel(folder, kernel)


def sustain(jobs: Sequence[Job], duration_s: float, preparation: Preparation, folder: Path, progress: Progress) -> None:
    """Run each point without such a pass for a long time, one after the other."""
    passes = plan_passes([sustained_job(job, duration_s) for job in jobs], store.load_sustained(folder))
    for index, job in enumerate(passes):
        progress(f"{units.duration(duration_s)} of {job.key.label}", index / len(passes))
        prepared = preparation.of(job, index / len(passes))
        with preparation.turn.take(f"measures {job.key.label} for {units.duration(duration_s)}"):
            store.append_sustained(folder, measure_sustained(prepared))


def try_memory(jobs: Sequence[Job], preparation: Preparation, folder: Path, progress: Progress) -> None:
    """Take the memory of each point apart by trials, where it is predicted and there was no such pass yet."""
    passes = plan_passes([memory_job(job) for job in jobs if job.facts.memory], store.load_memory(folder))
    for index, job in enumerate(passes):
        progress(f"memory of {job.key.label}", index / len(passes))
        prepared = preparation.of(job, index / len(passes))
        with preparation.turn.take(f"takes the memory of {job.key.label} apart"):
            if job.facts.memory:
                store.append_memory(folder, measure_memory(prepared, job.facts.memory))


def generate_tokens(jobs: Sequence[Job], preparation: Preparation, folder: Path, progress: Progress) -> None:
    """Generate at each point without such a pass."""
    passes = plan_passes(jobs, store.load_generations(folder))
    for index, job in enumerate(passes):
        progress(f"{job.stopping.min_runs} tokens of {job.key.label}", index / len(passes))
        prepared = preparation.of(job, index / len(passes))
        with preparation.turn.take(f"generates with {job.key.label}"):
            store.append_generation(folder, measure_generation(prepared))
