"""Runs that were made, here or elsewhere."""

from pathlib import Path

from edgeprof import store
from edgeprof.analysis import statistics
from edgeprof.errors import RunError, UnknownName, UsageError
from edgeprof.schema import KernelTime, Machine, Measurement, OperatorPass, Point, Record


class Run(Record, frozen=True, kw_only=True):
    """A run: where it lies, what made it, every visit, and the points they add up to.

    `operators` and `kernels` are there where operators were profiled, in the order they were made.
    """

    folder: str
    machine: Machine
    measurements: tuple[Measurement, ...]
    points: tuple[Point, ...]
    operators: tuple[OperatorPass, ...] = ()
    kernels: tuple[KernelTime, ...] = ()
    notes: tuple[str, ...] = ()  # what was asked for and could not be measured; of a run just made

    @property
    def failed(self) -> list[Point]:
        return [point for point in self.points if point.status != "ok"]


def load_run(run: str | Path | None = None, *, out: Path = store.REPORTS) -> Run:
    """Read a run by its name below `out`, or by its folder; None means the latest.

    >>> load_run("showcase").machine.cpu
    'AMD EPYC'

    Raises:
        UnknownName: there is no such run.
        RunError: its records are damaged or do not belong together.
    """
    folder = _find(run, out)
    held = store.load_records(folder)
    if not held.measurements:
        raise RunError(f"{folder} holds no {store.MEASUREMENTS_FILE} with records.", "Run: edgeprof profile --seq 512")
    return Run(
        folder=str(folder),
        machine=held.machine or Machine.unrecorded(held.measurements[0].machine_id),
        measurements=held.measurements,
        points=tuple(statistics.points(held.measurements)),
        operators=held.operators,
        kernels=held.kernels,
    )


def _find(run: str | Path | None, out: Path) -> Path:
    names = store.run_names(out) if out.is_dir() else []
    if run is None:
        if not names:
            raise UsageError(f"There are no runs in {out} yet.", "Run: edgeprof profile --seq 512")
        return out / names[-1]
    if Path(run).is_dir():
        return Path(run)
    if Path(run).name == store.MEASUREMENTS_FILE and Path(run).is_file():
        return Path(run).parent
    if str(run) not in names:
        raise UnknownName("run", str(run), names)
    return out / str(run)
