"""Load runs from disk, measured on this machine or another."""

from collections.abc import Sequence
from pathlib import Path

from edgeprof import store
from edgeprof.analysis import cached, generation, memory_trials, roofline, statistics, sustained
from edgeprof.analysis.narrative.trust import trust
from edgeprof.api.kept_probe import ceilings_for
from edgeprof.errors import RunError, UnknownName, UsageError
from edgeprof.measure import canary
from edgeprof.schema import (
    GenerationPass,
    Host,
    KernelTime,
    Law,
    Machine,
    Measurement,
    MemoryPass,
    OperatorPass,
    Point,
    Record,
    Roofline,
    SustainedPass,
)

MOST_PERCENT = 99.999
"""That takes 660,000 runs."""


class Run(Record, frozen=True, kw_only=True):
    """A run: its folder, its machine (or machines), every visit, and the points derived from them.

    `operators` and `kernels` are present where operators were timed, in order of measurement.
    """

    folder: str
    machine: Machine  # of several devices, the first
    measurements: tuple[Measurement, ...]
    points: tuple[Point, ...]
    operators: tuple[OperatorPass, ...] = ()
    kernels: tuple[KernelTime, ...] = ()
    sustained: tuple[SustainedPass, ...] = ()
    generations: tuple[GenerationPass, ...] = ()
    rooflines: tuple[Roofline, ...] = ()  # of the points in `operators`, where a probe of the machine is kept
    memory: tuple[MemoryPass, ...] = ()
    hosts: tuple[Host, ...] = ()  # the devices of a run over several
    notes: tuple[str, ...] = ()  # requests that could not be measured; of a new run only

    @property
    def trust(self) -> str:
        """How good the times are, in a sentence."""
        return trust(self.points)

    @property
    def reached(self) -> list[str]:
        """What points reach of the ceilings of their device, a sentence for each; without a probe, how to get one."""
        if self.rooflines or not any(one.modules for one in self.operators):
            return list(map(roofline.sentence, self.rooflines))
        return ["What share of this device's ceilings the modules reach is not known yet. Run: edgeprof probe"]

    @property
    def endurance(self) -> list[str]:
        """What long runs showed, a sentence for each."""
        return list(map(sustained.sentence, self.sustained))

    @property
    def memory_trials(self) -> list[str]:
        """Where measured and predicted peaks differ, a sentence for each point that was tried."""
        return list(map(memory_trials.sentence, self.memory))

    @property
    def generated(self) -> list[str]:
        """What generations showed, a sentence for each."""
        return [generation.sentence(one, self.points) for one in self.generations]

    @property
    def by_machine(self) -> list[tuple[Machine, list[Point]]]:
        """The points of each machine; of a run on one machine, all."""
        if not self.hosts:
            return [(self.machine, list(self.points))]
        return [(host.machine, [one for one in self.points if one.place.host == host.name]) for host in self.hosts]

    @property
    def failed(self) -> list[Point]:
        return [point for point in self.points if point.status != "ok"]

    @property
    def lost(self) -> list[str]:
        """The devices that went away before all of their points were visited enough, by name."""
        newest = [visits[-1] for visits in statistics.visits_of_points(self.measurements)]
        return list(dict.fromkeys(one.place.host for one in newest if one.outcome.status == "lost"))


def load_run(run: str | Path | None = None, *, percentiles: Sequence[float] = (), out: Path = store.REPORTS) -> Run:
    """Load a run by its name below `out`, or by its folder; default the latest.

    >>> load_run("showcase").machine.cpu
    'AMD EPYC'

    Args:
        run: its name, or its folder.
        percentiles: of the latencies to give, in percent; each where the runs are enough to tell it.
        out: the folder that `profile` wrote into.

    Raises:
        UsageError: a percentile is not between 0 and 100.
        UnknownName: there is no such run.
        RunError: its records are damaged or do not belong together.
    """
    require_percentiles(percentiles)
    folder = _find(run, out)
    records = store.load_records(folder)
    if not records.measurements:
        raise RunError(f"{folder} has no {store.MEASUREMENTS_FILE} with records.", "Run: edgeprof profile --seq 512")
    found = ceilings_for(records.operators, folder)
    return Run(
        folder=str(folder),
        machine=records.hosts[0].machine
        if records.hosts
        else records.machine or Machine.unrecorded(records.measurements[0].machine_id),
        hosts=records.hosts,
        measurements=records.measurements,
        points=tuple(statistics.points(records.measurements, percentiles)),
        operators=records.operators,
        kernels=records.kernels,
        sustained=records.sustained,
        generations=records.generations,
        rooflines=tuple(roofline.rooflines(records.operators, found)) if found else (),
        memory=records.memory,
    )


def require_percentiles(percentiles: Sequence[float]) -> None:
    """Refuse what no latencies have: the 100th percentile of a sample is its worst, which any longer one exceeds."""
    for percent in percentiles:
        if not 0 < percent < MOST_PERCENT:
            raise UsageError(
                f"--percentiles takes numbers above 0 and below {MOST_PERCENT:g}, not {percent:g}.",
                "Example: --percentiles 50,90,99",
            )


def cache_checks(run: Run, laws: Sequence[Law], points: Sequence[Point]) -> list[cached.CacheCheck]:
    """What decode over depth shows of KV caches, on each device of a run with its own memory."""
    names = [host.name for host in run.hosts] or [""]
    return [
        check
        for name in names
        for check in cached.checks(
            [law for law in laws if law.key.place.host == name],
            [point for point in points if point.place.host == name],
            memory_bandwidth(run, name),
        )
    ]


def memory_bandwidth(run: Run, host: str = "") -> float | None:
    """Bytes per second that memory gave while a run was measured; None where its visits were too short to tell."""
    readings = [each.outcome.reading for each in run.measurements if each.place.host == host and each.outcome.reading]
    return canary.bytes_per_s(one for reading in readings for one in reading.canaries)


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
