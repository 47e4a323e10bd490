"""Compare two recorded runs, or two models of one run, as they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeprof.analysis import compare as analysis
from edgeprof.analysis import statistics
from edgeprof.analysis.disturbance import Quiet
from edgeprof.api.comparison_record import differing_versions, from_rounds, in_order
from edgeprof.api.runs import Run, load_run
from edgeprof.api.why import named_side, side_of
from edgeprof.errors import RunError, UsageError
from edgeprof.schema import ComparedSide, Comparison, Goal, Machine, Measurement, Side

SHOWN = 3


def of_runs(
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
    machines = _machines(*loaded)
    if any(_different(*both) for both in machines):
        notes.append("These runs were made on different machines.")
    notes += dict.fromkeys(note for both in machines for note in differing_versions(*both))
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
        points=in_order(points),
        failed=tuple(failed),
        notes=tuple(notes),
        folder="",
    )


def of_one_run(run: Run, a: str, b: str | None, python: Path | None, goal: Goal) -> Comparison:
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
        (by_side[0][size][-1].key, by_side[1][size][-1].key): analysis.InTurn.of(
            by_side[0][size], by_side[1][size], quiet
        )
        for size in common
        if not by_side[0][size][-1].place.emulated
    }
    described = [ComparedSide(name=str(side), folder=run.folder, machine=run.machine) for side in both]
    compared = from_rounds(described, rounds, goal, (), "")
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
    differing = [both for both in _machines(*runs) if _different(*both)]
    if across_machines or not differing:
        return
    first, second = differing[0]
    described = [machine.cpu or f"machine {machine.machine_id}" for machine in (first, second)]
    cores = [f"{name}, {machine.cores_allowed} cores" for name, machine in zip(described, (first, second), strict=True)]
    raise RunError(
        f"The runs were made on different machines ({cores[0]}; {cores[1]}).",
        "Add --across-machines to compare them all the same.",
    )


def _machines(a: Run, b: Run) -> list[tuple[Machine, Machine]]:
    """The machines of two runs, of several devices those of one name."""
    if not a.hosts and not b.hosts:
        return [(a.machine, b.machine)]
    named = {host.name: host.machine for host in b.hosts}
    return [(host.machine, named[host.name]) for host in a.hosts if host.name in named]


def _different(a: Machine, b: Machine) -> bool:
    """Whether machines differ in more than the versions of what is installed."""
    if a.machine_id == b.machine_id:
        return False
    hardware = [(m.cpu, m.cpu_features, m.architecture, m.cores_allowed, m.governor) for m in (a, b)]
    return not a.cpu or hardware[0] != hardware[1]


def _measured_points(run: Run) -> str:
    labels = [point.key.label for point in run.points]
    more = f" and {len(labels) - SHOWN} more" if len(labels) > SHOWN else ""
    return f"{Path(run.folder).resolve().name} has {'; '.join(labels[:SHOWN])}{more}"
