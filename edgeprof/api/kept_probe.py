"""Probes that were kept: of a machine and a number of threads, in the cache or beside the records of a run."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from edgeprof import store
from edgeprof.analysis import roofline
from edgeprof.errors import EdgeprofError
from edgeprof.schema import Ceilings, OperatorPass, Probe, decode

PROBE_FILE = "probe.json"
"""In the folder of a run: the probe of the machine that measured it, put there by hand."""


def file_of(machine_id: str, threads: int) -> Path:
    return store.cache_folder() / f"probe-{machine_id}-{threads}.json"


def kept(machine_id: str, threads: int, folder: Path | None = None) -> Probe | None:
    """The probe of a machine and a number of threads; None where it was not probed, or by another edgeprof.

    Args:
        folder: of a run, which may have a probe of its own.
    """
    for file in (*([folder / PROBE_FILE] if folder else []), file_of(machine_id, threads)):
        if file.is_file():
            with contextlib.suppress(EdgeprofError):
                seen = decode(store.read_bytes(file), Probe, str(file))
                if (seen.machine.machine_id, seen.threads) == (machine_id, threads):
                    return seen
    return None


def ceilings(seen: Probe) -> Ceilings:
    """What a probe says in a few numbers.

    Raises:
        RunError: the probe failed in the work that a ceiling is read from.
    """
    return roofline.ceilings(seen)


def ceilings_for(operators: Sequence[OperatorPass], folder: Path) -> Ceilings | None:
    """The ceilings of the machine and threads of passes with modules; None where no good probe of it is kept."""
    places = [one.place for one in operators if one.modules]
    seen = kept(places[0].machine_id, places[0].threads, folder) if places else None
    with contextlib.suppress(EdgeprofError):
        return ceilings(seen) if seen else None
    return None
