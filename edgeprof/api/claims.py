"""`check_claims`: check every claim of the background article, by formulas or by a measured run."""

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
ROUNDS, RUNS, MIN_TIME_S = 5, 5, 0.2  # short visits, enough for an interval between processes


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
        run: its name below `out`, or its folder; default the latest with bert-base and gpt2 at enough lengths.
            Without one, measured claims are not checked, and no page is written.
        measure: first export and measure the missing points, in `run` or in a run called "claims".
        models: exported models, for `measure`.
        out: the folder of the runs.
        progress: called with the current step.

    Returns:
        One record for each claim, in order; `holds` is False where a verdict differs from the recorded one.

    Raises:
        UnknownName: there is no such run.
        UsageError: the run lacks points that a claim needs.
        EdgeprofError: an export or a measurement failed.
    """
    if measure:
        checked_run: Run | None = _measured(run, models, out, progress)
    elif run is not None:
        checked_run = _complete(load_run(run, out=out))
    else:
        checked_run = _latest(out)
    if checked_run is None:
        needed = " and ".join(growth.MODELS)
        return claims.check(None, why_not=f"no run in {out} has {needed} at {growth.ENOUGH} lengths; add --measure")
    checked = claims.check(checked_run.points, run=checked_run.folder)
    from edgeprof.report.claims import write_claims

    started_at = min(measurement.outcome.started_at for measurement in checked_run.measurements)
    write_claims(Path(checked_run.folder), checked_run.machine, checked, started_at=started_at)
    return checked


# --- an existing run -----------------------------------------------------------------------------------


def _latest(out: Path) -> Run | None:
    """The latest run with enough points; runs that cannot be read are skipped."""
    for name in reversed(store.run_names(out) if out.is_dir() else []):
        try:
            if any(growth.lacking(growth.measured_lengths(store.load_measurements(out / name)))):
                continue  # decided from records alone: most runs are unrelated
            latest = load_run(name, out=out)
        except RunError:
            continue
        if not any(growth.lacking(growth.measured_lengths(latest.points))):
            return latest
    return None


def _complete(run: Run) -> Run:
    """The run, if it has the points that the claims need.

    Raises:
        UsageError: points are missing.
    """
    missing = list(growth.lacking(growth.measured_lengths(run.points)))
    if missing:
        raise UsageError(
            f"Run '{Path(run.folder).name}' lacks {' and '.join(missing)}.",
            "Add --measure to measure the missing points.",
        )
    return run


# --- a new run -----------------------------------------------------------------------------------------


def _measured(run: str | Path | None, models: Path, out: Path, progress: Progress) -> Run:
    """A run with enough points; only missing lengths are measured."""
    from edgeprof.api.profile import profile

    folder = Path(run) if run is not None and Path(run).is_dir() else store.run_folder(out, str(run or RUN_NAME))
    missing_lengths = growth.to_measure(growth.measured_lengths(_recorded(folder)))
    missing = [name for names in missing_lengths.values() for name in names]
    _export_missing(missing, models, part(progress, "export", 0, len(missing_lengths) + 1))
    for step, (lengths, names) in enumerate(missing_lengths.items(), 1):
        measured = profile(
            names,
            seq=lengths,
            phase="prefill",
            precision=[PRECISION],
            rounds=ROUNDS,
            max_time_s=0,
            runs=RUNS,
            min_time_s=MIN_TIME_S,
            name=folder.name,
            models=models,
            out=folder.parent,
            progress=part(progress, "profile", step, len(missing_lengths) + 1),
        )
        for point in measured.failed:
            if point.subject.model in names and point.load.tokens in lengths:
                at = units.counted(point.load.tokens, "token")
                raise RunError(f"{point.subject.model} could not be measured at {at}: {point.error}")
    return _complete(load_run(folder))


def _recorded(folder: Path) -> Sequence[Measurement]:
    return store.load_measurements(folder) if (folder / store.MEASUREMENTS_FILE).exists() else ()


def _export_missing(names: Sequence[str], models: Path, progress: Progress) -> None:
    """Export missing models with random weights: same latency and memory as trained ones, no download."""
    from edgeprof.api.export import export

    missing = [name for name in names if not (models / name / PRECISION / store.ARTIFACT_FILE).exists()]
    if missing:
        export(missing, precision=[PRECISION], weights="random", out=models, progress=progress)
