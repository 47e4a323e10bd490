"""`write_report`: figures and pages for a run."""

from pathlib import Path

from edgeprof import report, store
from edgeprof.analysis.sentences import sentences
from edgeprof.api.runs import load_run
from edgeprof.process import Progress, silent


def write_report(run: str | Path | None = None, *, out: Path = store.REPORTS, progress: Progress = silent) -> Path:
    """Draw the figures of a run and write index.html, report.md and measurements.csv beside its records.

    Args:
        run: its name below `out`, or its folder; None means the latest.
        out: the folder that `profile` wrote into.
        progress: called with what is being done.

    Returns:
        The path of index.html.

    Raises:
        UnknownName: there is no such run.
        RunError: the run is empty or damaged.
    """
    found = load_run(run, out=out)
    folder = Path(found.folder)
    store.save_table(folder, found.points)
    started_at = min((measurement.started_at for measurement in found.measurements), default="")
    return report.write(
        folder,
        found.machine,
        found.points,
        sentences(found.points),
        started_at=started_at,
        progress=progress,
    )
