"""`check_claims`: every claim of the background article, checked by formulas and, where it takes a device, by a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeprof import store, units
from edgeprof.analysis import claims, growth
from edgeprof.api.runs import Run, load_run
from edgeprof.errors import RunError, UsageError
from edgeprof.process import Progress, part, silent
from edgeprof.schema import CheckedClaim, Measurement

PRECISION = "fp32"
RUN_NAME = "claims"
ROUNDS, RUNS, MIN_TIME_S = 5, 5, 0.2  # short visits, and enough of them for an interval between processes


def check_claims(
    run: str | Path | None = None,
    *,
    measure: bool = False,
    models: Path = store.MODELS,
    out: Path = store.REPORTS,
    progress: Progress = silent,
) -> list[CheckedClaim]:
    """Check each claim of the background article, and write claims.md into the folder of the run that was used.

    >>> [claim.number for claim in check_claims("showcase") if claim.verdict == "wrong"]
    [11]

    Args:
        run: its name below `out`, or its folder; None means the latest with bert-base and gpt2 over enough lengths.
            Without any, measured claims are not checked, and no page is written.
        measure: export and measure what is missing first, in `run`, or in a run called "claims".
        models: exported models, for `measure`.
        out: the folder that holds the runs.
        progress: called with what is being done.

    Returns:
        One record for each claim, in order; `holds` is False where a verdict is no longer the recorded one.

    Raises:
        UnknownName: there is no such run.
        UsageError: the run lacks what a claim needs.
        EdgeprofError: an export or a measurement failed.
    """
    if measure:
        found: Run | None = _measured(run, models, out, progress)
    elif run is not None:
        found = _whole(load_run(run, out=out))
    else:
        found = _latest(out)
    if found is None:
        needed = " and ".join(growth.MODELS)
        return claims.check(None, why_not=f"no run in {out} holds {needed} at {growth.ENOUGH} lengths; add --measure")
    checked = claims.check(found.points, run=found.folder)
    from edgeprof.report.claims import write_claims

    started_at = min(measurement.outcome.started_at for measurement in found.measurements)
    write_claims(Path(found.folder), found.machine, checked, started_at=started_at)
    return checked


# --- a run that was made -------------------------------------------------------------------------------


def _latest(out: Path) -> Run | None:
    """The most recently measured run with enough points; runs that cannot be read are none."""
    for name in reversed(store.run_names(out) if out.is_dir() else []):
        try:
            if any(growth.lacking(growth.measured_lengths(store.load_measurements(out / name)))):
                continue  # told from the records alone: deriving points takes scipy, and most runs are not for this
            found = load_run(name, out=out)
        except RunError:
            continue
        if not any(growth.lacking(growth.measured_lengths(found.points))):
            return found
    return None


def _whole(found: Run) -> Run:
    missing = list(growth.lacking(growth.measured_lengths(found.points)))
    if missing:
        raise UsageError(
            f"Run '{Path(found.folder).name}' lacks {' and '.join(missing)}.",
            "Add --measure to measure what is missing.",
        )
    return found


# --- a run that is made --------------------------------------------------------------------------------


def _measured(run: str | Path | None, models: Path, out: Path, progress: Progress) -> Run:
    """A run with enough points: what it has stays as it is, only missing lengths are measured."""
    from edgeprof.api.profile import profile

    folder = Path(run) if run is not None and Path(run).is_dir() else store.run_folder(out, str(run or RUN_NAME))
    orders = growth.to_measure(growth.measured_lengths(_recorded(folder)))
    missing = [name for names in orders.values() for name in names]
    _export_missing(missing, models, part(progress, "export", 0, len(orders) + 1))
    for step, (lengths, names) in enumerate(orders.items(), 1):
        made = profile(
            names,
            seq=lengths,
            phase="prefill",
            precision=[PRECISION],
            rounds=ROUNDS,
            runs=RUNS,
            min_time_s=MIN_TIME_S,
            name=folder.name,
            models=models,
            out=folder.parent,
            progress=part(progress, "profile", step, len(orders) + 1),
        )
        for point in made.failed:
            if point.subject.model in names and point.load.tokens in lengths:
                at = units.counted(point.load.tokens, "token")
                raise RunError(f"{point.subject.model} could not be measured at {at}: {point.error}")
    return _whole(load_run(folder))


def _recorded(folder: Path) -> Sequence[Measurement]:
    return store.load_measurements(folder) if (folder / store.MEASUREMENTS_FILE).exists() else ()


def _export_missing(names: Sequence[str], models: Path, progress: Progress) -> None:
    """Random weights have the latency and memory of trained ones, and need no download."""
    from edgeprof.api.export import export

    missing = [name for name in names if not (models / name / PRECISION / store.ARTIFACT_FILE).exists()]
    if missing:
        export(missing, precision=[PRECISION], weights="random", out=models, progress=progress)
