"""A look at the machine before anything is measured: what would spoil the numbers. It takes a second and a half.

Run as a module, this file is the process that does the fixed work.
"""

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeprof import process, units
from edgeprof.measure import canary, machine
from edgeprof.measure.machine import ROOT
from edgeprof.process import Progress
from edgeprof.schema import Canaries, Record

LOOK_S = 1.0
LOAD_LIMIT = 0.1
"""Share of the processor that others use, above which they are in the way."""

SPREAD_LIMIT = 1.25
"""The slowest of a few readings of a canary over the median, above which the machine is not its own."""

READINGS = 5
SLOW_GOVERNORS = ("powersave", "conservative", "ondemand", "schedutil")


class LookRequest(Record, frozen=True, kw_only=True):
    threads: int


class Look(Record, frozen=True, kw_only=True):
    canaries: tuple[Canaries, ...]


def look(threads: int, progress: Progress) -> str:
    """What will spoil the numbers, in one sentence; "" where nothing was seen."""
    import psutil

    progress("looking at the machine", None)
    load = psutil.cpu_percent(LOOK_S) / 100
    seen = process.call("edgeprof.measure.surroundings", LookRequest(threads=threads), Look).canaries
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    on_battery = battery is not None and battery.power_plugged is False
    found = list(reasons(load, seen, on_battery=on_battery, threads=threads))
    return f"This machine is not quiet: {'; '.join(found)}." if found else ""


def reasons(
    load: float, seen: Sequence[Canaries], *, on_battery: bool, threads: int, root: Path = ROOT
) -> Iterator[str]:
    """The reasons why times may vary.

    Args:
        load: share of the processor that was busy while this process waited.
        seen: readings of the canaries, in turn.
        root: where the file tree of the system starts.
    """
    if load > LOAD_LIMIT:
        yield f"other processes use {units.percent(load)} of the processor"
    for what, values in (("cores", [one.matrices_s for one in seen]), ("memory", [one.vector_s for one in seen])):
        slowest = max(values) / statistics.median(values)
        if slowest > SPREAD_LIMIT:
            yield f"the speed of the {what} varies by {slowest:.1f}x from moment to moment"
    if on_battery:
        yield "it runs on its battery"
    clock = machine.governor(root)
    if clock in SLOW_GOVERNORS:
        yield f"its clock follows the load (governor {clock})"
    cores = physical_cores(root)
    if cores and threads > cores:
        yield f"{threads} threads share {units.counted(cores, 'physical core')}"


def physical_cores(root: Path = ROOT) -> int:
    """Physical cores among those that this process may use; 0 where the system does not tell."""
    cpus = (root / f"sys/devices/system/cpu/cpu{number}" for number in machine.cpus_allowed())
    files = (folder / "topology/thread_siblings_list" for folder in cpus)
    return len({file.read_text() for file in files if file.exists()})


# --- in the child --------------------------------------------------------------------------------------


def run(request: LookRequest, _progress: Progress) -> Look:
    canary.read(request.threads)  # the first wakes the clocks
    return Look(canaries=tuple(canary.read(request.threads) for _ in range(READINGS)))


if __name__ == "__main__":
    process.serve(run, LookRequest)
