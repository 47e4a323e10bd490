"""`compare`: two models, one model in two environments, or two recorded runs, with the interval of each ratio."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path

from msgspec.structs import replace

from edgeprof import report, store
from edgeprof.analysis import compare as analysis
from edgeprof.analysis import statistics
from edgeprof.analysis.disturbance import Quiet
from edgeprof.api.profile import ProfileRequest, jobs_of, require_positive, require_seconds
from edgeprof.api.runs import Run, load_run
from edgeprof.api.sizing import PhaseChoice
from edgeprof.api.targets import one_model, parts_of, renamed
from edgeprof.api.why import common_lengths, named_side, side_of
from edgeprof.errors import RunError, UsageError
from edgeprof.measure import machine as measure_machine
from edgeprof.measure.environment import environment
from edgeprof.measure.launch import measure
from edgeprof.measure.schedule import SETTLED, Job, Visit, of_job
from edgeprof.process import LOCAL, Executor, Progress, silent
from edgeprof.schema import (
    CPU,
    Artifact,
    ComparedPoint,
    ComparedSide,
    Comparison,
    Goal,
    Machine,
    Measurement,
    PointKey,
    Side,
    StoppingRule,
)
from edgeprof.text import joined

LENGTHS = (16, 128, 512)
ROUNDS, MAX_TIME_S = 8, 60.0
SHOWN = 3


def compare(
    a: str,
    b: str | None = None,
    *,
    python: Path | None = None,
    seq: Sequence[int] = (),
    phase: PhaseChoice = "both",
    batch: Sequence[int] = (),
    dim: Mapping[str, int] | None = None,
    input: Mapping[str, Path] | None = None,
    threads: int | None = None,
    rounds: int = ROUNDS,
    ci: float = 0.03,
    max_time_s: float = MAX_TIME_S,
    runs: int = 5,
    min_time_s: float = 0.5,
    timeout_s: float = 300.0,
    across_machines: bool = False,
    run: str | Path | None = None,
    name: str | None = None,
    models: Path = store.MODELS,
    out: Path = store.REPORTS,
    progress: Progress = silent,
) -> Comparison:
    """Compare B with A: the ratio of their times at every common point, and whether it differs from 1.

    Two models are measured in turn, A B or B A in every round, each visit in its own process; the ratio and its
    interval come from these pairs (`edgeprof.analysis.compare`). Recorded runs are compared as they are.

    >>> quick = {"seq": [16], "rounds": 2, "max_time_s": 0, "runs": 2, "min_time_s": 0}
    >>> comparison = compare("bert-tiny:fp32", "bert-tiny:int8", **quick)
    >>> [(point.label, point.b_rounds) for point in comparison.points]
    [('prefill at 16 tokens', 2)]

    Args:
        a, b: exported names with a precision ("gpt2:int8"), artifact folders, or .onnx files; or two runs, by their
            names or folders. Without B, A is compared with itself in the environment of `python`.
        python: measure B with this interpreter, and so with the onnxruntime of its environment.
        seq: token lengths; default a few that both models support.
        phase, batch, dim, input, threads, runs, min_time_s, timeout_s: as `profile`.
        rounds: of A and B at least, two or more; with fewer than eight the interval is too narrow at times.
        ci: a point is visited until the 95 % interval of its ratio is this share of it up and down,
        max_time_s: or until its visits, of A and B, have taken so many seconds; 0: `rounds` rounds.
        across_machines: compare runs of different machines, too.
        run: use an existing run that has both A and B, in the same rounds, and measure nothing.
        name: of the comparison; an existing one is resumed. Default: a name derived from A and B.
        models, out: folders to read artifacts from and to write the comparison into.
        progress: called with the current step.

    Returns:
        The comparison. Its folder holds comparison.json, comparison.md, index.html, and the runs of A and B if they
        were measured.

    Raises:
        UsageError: A or B is neither a model nor a run, or one of each; raised before anything is measured.
        RunError: runs of different machines, or nothing in common.
    """
    require_positive("--rounds", [rounds])
    if rounds < 2:
        raise UsageError("An interval takes two rounds or more.", "Example: --rounds 8")
    goal = Goal(rounds=rounds, ci=ci, max_time_s=max_time_s)
    are_runs = [_is_run(one, out) for one in (a, b) if one is not None]
    if run is not None:
        compared = _of_one_run(load_run(run, out=out), a, b, python, goal)
    elif any(are_runs):
        compared = _of_runs(a, b, python, across_machines, are_runs, out)
    else:
        pair = _artifacts(a, b, python, models)
        sides = _sides(pair, python)
        require_positive("--runs", [runs])
        require_positive("--threads", [threads or 1])
        for option, value, least in (("--min-time", min_time_s, 0), ("--timeout", timeout_s, 1)):
            require_seconds(option, value, least)
        require_seconds("--max-time", max_time_s, 0)
        request = ProfileRequest(
            seq=tuple(sorted(set(seq or (() if dim or input else common_lengths(pair, phase, LENGTHS))))),
            batch=tuple(sorted(set(batch))),
            phase=phase,
            machine_id="",
            threads=threads or sides[0].machine.cores_allowed,
            targets=(CPU,),
            compile=False,
            stopping=StoppingRule(min_runs=runs, min_time_s=min_time_s, max_time_s=max(60.0, min_time_s)),
            timeout_s=timeout_s,
            dims=dict(dim or {}),
            files=dict(input or {}),
        )
        folder = _folder(out, name or _name(*(side.name for side in sides)))
        compared = _measured(sides, request, goal, folder, progress)
    if not compared.folder:
        folder = _folder(out, name or _name(compared.a.name, compared.b.name))
        compared = replace(compared, folder=str(folder))
    report.write_comparison(Path(compared.folder), compared)
    return compared


def _name(a: str, b: str) -> str:
    """The same name each time, so that a comparison is resumed."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"compare-{a}-{b}")


def _folder(out: Path, name: str) -> Path:
    folder = store.run_folder(out, name)
    if (folder / store.MEASUREMENTS_FILE).exists():
        raise UsageError(f"{name} is a run, whose pages a comparison would replace.", "Choose another --name.")
    return folder


def _is_run(target: str, out: Path) -> bool:
    """Whether a target is a run; of a model of the same name, name the precision as well."""
    path = Path(target)
    if path.is_dir():
        return (path / store.MEASUREMENTS_FILE).is_file()
    return path.name == store.MEASUREMENTS_FILE or (out.is_dir() and target in store.run_names(out))


# --- measured in turn ----------------------------------------------------------------------------------


class _Measured:
    """A side that is measured: what, where, and its visits so far."""

    def __init__(self, artifact: Artifact, executor: Executor, machine: Machine, name: str) -> None:
        self.artifact, self.executor, self.machine, self.name = artifact, executor, machine, name
        self.records: list[Measurement] = []


def _artifacts(a: str, b: str | None, python: Path | None, models: Path) -> list[Artifact]:
    """A and B, under different names unless they are one model in two environments."""
    if b is None and python is None:
        raise UsageError(
            "There is nothing to compare A with.", "Name B, or another environment: --python other/.venv/bin/python"
        )
    first, second = (parts_of(one_model(target, models))[0] for target in (a, a if b is None else b))
    if first.location == second.location:
        return [first, second]
    return renamed([first, second])


def _sides(pair: Sequence[Artifact], python: Path | None) -> list[_Measured]:
    here = measure_machine.describe()
    executor, there = environment(python) if python else (LOCAL, here)
    names = [f"{artifact.name} {artifact.precision}" for artifact in pair]
    versions = [machine.versions.get("onnxruntime", "unknown") for machine in (here, there)]
    if versions[0] != versions[1]:
        names = [f"{name} (onnxruntime {version})" for name, version in zip(names, versions, strict=True)]
    elif names[0] == names[1]:
        names = [f"{names[0]} (A)", f"{names[1]} (B)"]
    return [
        _Measured(artifact, *where, name)
        for artifact, where, name in zip(pair, [(LOCAL, here), (executor, there)], names, strict=True)
    ]


def _measured(
    sides: Sequence[_Measured], request: ProfileRequest, goal: Goal, folder: Path, progress: Progress
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
        try:
            _visit(pairs, sides, goal, folder, progress)
        finally:
            for place in "ab":
                if (folder / place / store.MEASUREMENTS_FILE).exists():
                    store.save_table(folder / place, statistics.points(store.load_measurements(folder / place)))
    described = [
        ComparedSide(name=side.name, folder=str(folder / place), machine=side.machine)
        for side, place in zip(sides, "ab", strict=True)
    ]
    quiet = _quiet(sides)
    rounds = {(x.key, y.key): _rounds((x, y), sides, quiet) for x, y in pairs}
    return _from_rounds(
        described, rounds, goal, dict.fromkeys([*notes, *_versions(*(s.machine for s in sides))]), folder
    )


def _from_rounds(
    sides: Sequence[ComparedSide],
    rounds: Mapping[tuple[PointKey, PointKey], analysis.Rounds],
    goal: Goal,
    notes: Sequence[str] | Mapping[str, object],
    folder: Path | str,
) -> Comparison:
    points = {keys: analysis.of_rounds(*keys, visits, goal) for keys, visits in rounds.items()}
    return Comparison(
        a=sides[0],
        b=sides[1],
        paired=True,
        points=_sorted([point for point in points.values() if point]),
        failed=tuple(f"{keys[0].label}: {rounds[keys].failure}" for keys, point in points.items() if point is None),
        notes=tuple(notes),
        folder=str(folder),
    )


def _visit(
    pairs: Sequence[tuple[Job, Job]], sides: Sequence[_Measured], goal: Goal, folder: Path, progress: Progress
) -> None:
    """Visit A and B of every point until its ratio is known, round by round; each visit is saved as soon as it ends."""
    for number in count():
        quiet = _quiet(sides)
        rounds = {pair[0].key: _rounds(pair, sides, quiet) for pair in pairs}
        waiting = [(index, pair) for index, pair in enumerate(pairs) if not analysis.enough(rounds[pair[0].key], goal)]
        if not waiting:
            return
        done = sum(_share(one, goal) for one in rounds.values()) / len(pairs)
        random.Random(number).shuffle(waiting)
        for index, pair in waiting:
            progress(f"round {number + 1}, {len(waiting)} of {len(pairs)} points: {pair[1].key.label}", done)
            for of_side in _order(number, index):
                _visit_once(pair[of_side], sides[of_side], number, goal, folder / "ab"[of_side])


def _order(number: int, index: int) -> Sequence[int]:
    """A before B or after it: at random, and the other way round in the next round."""
    b_first = random.Random(1000 * index + number // 2).random() < 0.5
    return (1, 0) if b_first != bool(number % 2) else (0, 1)


def _visit_once(job: Job, side: _Measured, number: int, goal: Goal, folder: Path) -> None:
    """Visit a job, unless a comparison that is resumed did so in this round."""
    if any(one.round == number and one.outcome.status in SETTLED for one in of_job(job, side.records)):
        return
    record = measure(Visit(job=job, round=number, goal=goal), side.executor)
    store.append_measurement(folder, record)
    side.records.append(record)


def _rounds(pair: tuple[Job, Job], sides: Sequence[_Measured], quiet: Quiet) -> analysis.Rounds:
    a, b = (of_job(job, side.records) for job, side in zip(pair, sides, strict=True))
    return analysis.Rounds.of(a, b, quiet)


def _quiet(sides: Sequence[_Measured]) -> Quiet:
    return Quiet.of([record for side in sides for record in side.records])


def _share(rounds: analysis.Rounds, goal: Goal) -> float:
    """How much of a point is done, if it takes all the time that it may."""
    if analysis.enough(rounds, goal):
        return 1.0
    parts = [rounds.tried / goal.rounds, rounds.spent_s / goal.max_time_s if goal.max_time_s else 1.0]
    return min(*parts, 1.0)


def _sorted(points: Sequence[ComparedPoint]) -> tuple[ComparedPoint, ...]:
    def order(point: ComparedPoint) -> tuple[object, ...]:
        subject, load = point.a.subject, point.a.load
        return subject.model, str(subject.precision), -len(load.phase), load.batch, load.length

    return tuple(sorted(points, key=order))


# --- recorded ------------------------------------------------------------------------------------------


def _of_runs(
    a: str, b: str | None, python: Path | None, across_machines: bool, are_runs: Sequence[bool], out: Path
) -> Comparison:
    if python is not None:
        raise UsageError("A run is compared as it was recorded, so --python has no use.", "Name a model, or omit it.")
    if b is None or not all(are_runs):
        run, other = (a, b) if are_runs[0] else (b, a)
        what = f"{run} is a run, and {other} is not." if other else f"{run} is a run, and nothing is named beside it."
        raise UsageError(what, "Name two runs, or two models.")
    loaded = [load_run(one, out=out) for one in (a, b)]
    _require_same_machine(loaded, across_machines)
    points, failed, alone = analysis.recorded(*(run.measurements for run in loaded))
    names = [Path(run.folder).resolve().name for run in loaded]
    if not points:
        raise RunError(
            f"Runs {names[0]} and {names[1]} have no point that can be compared.",
            failed[0]
            if failed
            else f"{_measured_points(loaded[0])}; {_measured_points(loaded[1])}. "
            "Profile the same models, precisions, phases and --seq with the same --threads.",
        )
    notes = ["These runs were made at different times: what changed between them besides is part of the ratios."]
    if len(loaded[0].measurements) and _different(*(run.machine for run in loaded)):
        notes.append("These runs were made on different machines.")
    notes += _versions(*(run.machine for run in loaded))
    if alone:
        labels = [key.label for key in alone]
        more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
        notes.append(f"In one run only: {'; '.join(labels[:SHOWN])}{more}.")
    sides = [
        ComparedSide(name=name, folder=run.folder, machine=run.machine) for name, run in zip(names, loaded, strict=True)
    ]
    return Comparison(
        a=sides[0],
        b=sides[1],
        paired=False,
        points=_sorted(points),
        failed=tuple(failed),
        notes=tuple(notes),
        folder="",
    )


def _of_one_run(run: Run, a: str, b: str | None, python: Path | None, goal: Goal) -> Comparison:
    """Two models of one run, whose rounds visited both."""
    if b is None or python is not None:
        raise UsageError(
            "--run measures nothing: it compares two models of one run.", "Name A and B, without --python."
        )
    both = [named_side(target, run) for target in (a, b)]
    if both[0] == both[1]:
        raise UsageError("A and B are the same.", "Name two models of the run, or two precisions of one.")
    quiet = Quiet.of(run.measurements)
    by_side: list[dict[object, list[Measurement]]] = [_by_size(run, side) for side in both]
    common = [size for size in by_side[0] if size in by_side[1]]
    rounds = {
        (by_side[0][size][-1].key, by_side[1][size][-1].key): analysis.Rounds.of(
            by_side[0][size], by_side[1][size], quiet
        )
        for size in common
        if not by_side[0][size][-1].place.emulated
    }
    described = [ComparedSide(name=str(side), folder=run.folder, machine=run.machine) for side in both]
    compared = _from_rounds(described, rounds, goal, (), "")
    if not compared.points:
        raise RunError(
            f"Run '{Path(run.folder).name}' has no point with two rounds of both.",
            compared.failed[0] if compared.failed else "Profile both at the same --seq, with --rounds 3 or more.",
        )
    return compared


def _by_size(run: Run, side: Side) -> dict[object, list[Measurement]]:
    """The visits of a side that count, by load and place."""
    visits = statistics.visits_of_points(run.measurements)
    wanted = {point.key.lasting for point in run.points if side_of(point) == side}
    return {(key.load, key.place): one for one in visits if (key := one[-1].key.lasting) in wanted}


def _require_same_machine(runs: Sequence[Run], across_machines: bool) -> None:
    first, second = (run.machine for run in runs)
    if across_machines or first.machine_id == second.machine_id or not _different(first, second):
        return
    described = [machine.cpu or f"machine {machine.machine_id}" for machine in (first, second)]
    cores = [f"{name}, {machine.cores_allowed} cores" for name, machine in zip(described, (first, second), strict=True)]
    raise RunError(
        f"The runs were made on different machines ({cores[0]}; {cores[1]}).",
        "Add --across-machines to compare them all the same.",
    )


def _different(a: Machine, b: Machine) -> bool:
    """Whether machines differ in more than the versions of what is installed."""
    if a.machine_id == b.machine_id:
        return False
    hardware = [(m.cpu, m.cpu_features, m.architecture, m.cores_allowed, m.governor) for m in (a, b)]
    return not a.cpu or hardware[0] != hardware[1]


def _versions(a: Machine, b: Machine) -> list[str]:
    """The versions that differ, in a sentence."""
    differing = [
        f"{name} {a.versions[name]} in A, {b.versions[name]} in B"
        for name in a.versions
        if name in b.versions and a.versions[name] != b.versions[name]
    ]
    return [f"Versions: {'; '.join(differing)}."] if differing else []


def _measured_points(run: Run) -> str:
    labels = [point.key.label for point in run.points]
    more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
    return f"{Path(run.folder).resolve().name} has {'; '.join(labels[:SHOWN])}{more}"
