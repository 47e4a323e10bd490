"""`probe`: the ceilings of this device through onnxruntime, measured once and kept."""

from __future__ import annotations

import contextlib
import re
import time
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from edgeprof import store
from edgeprof.api.kept_probe import file_of, kept
from edgeprof.api.local_turn import LocalTurn
from edgeprof.api.option_ranges import require_positive
from edgeprof.errors import EdgeprofError, RunError, UsageError
from edgeprof.fleet.ask import ask
from edgeprof.fleet.messages import MeasureCeilings, Probed
from edgeprof.fleet.opening import open_links
from edgeprof.fleet.turn import client
from edgeprof.measure import machine as measure_machine
from edgeprof.measure import probe as measure_probe
from edgeprof.measure import surroundings
from edgeprof.process import Progress, silent
from edgeprof.schema import EDITION, Probe, encode


def probe(
    *,
    threads: int | None = None,
    ep: str = "cpu",
    force: bool = False,
    on: str = "",
    fleet: Path | None = None,
    insecure: bool = False,
    out: Path | None = None,
    progress: Progress = silent,
) -> Probe:
    """Measure what this device can do: products over shapes and precisions, attention, norms, memory, overhead.

    It takes about two minutes, and is kept for this machine, onnxruntime and number of threads.

    >>> seen = probe()
    >>> seen.threads == seen.machine.cores_allowed
    True
    >>> from edgeprof.api.kept_probe import ceilings
    >>> round(ceilings(seen).products["fp32"].value / 1e9)  # GMAC/s
    100

    Args:
        threads: of the runtime; default every core that this process may use.
        ep: the execution provider; "cpu" is the only one that can be probed.
        force: measure again, even where a probe is kept.
        on: a device somewhere else to probe instead of this machine, as in `profile`.
        fleet, insecure: as in `profile`.
        out: a file that receives the probe, as JSON.
        progress: called with the current step.

    Returns:
        Shapes with their times, memory of sessions, machine and versions.

    Raises:
        UsageError: another provider, or `threads` is not positive.
        EdgeprofError: onnxruntime does not run here.
        DeviceLost: the device does not answer.
    """
    if ep != "cpu":
        raise UsageError(f"'{ep}' cannot be probed.", "Use --ep cpu.")
    require_positive("--threads", [threads or 1])
    seen: Probe | None = None
    if on:
        seen = _elsewhere(on, threads, force, fleet, insecure, progress)
    elif not force:
        seen = _kept_here(threads)
    if seen is None:
        turn = LocalTurn(progress)
        with turn.take("measures its ceilings"):
            seen = ceilings_here(threads, force=force, progress=progress)
        seen = replace(seen, notes=(*seen.notes, *turn.notes))
    if out is not None:
        store.write_atomic(out, encode(seen))
    return seen


def _elsewhere(
    on: str, threads: int | None, force: bool, fleet: Path | None, insecure: bool, progress: Progress
) -> Probe:
    """The probe of a device somewhere else, kept here as well: its runs are held against it."""
    with open_links([on], fleet=fleet, insecure=insecure) as links:
        if len(links) > 1:
            raise UsageError(f"'{on}' is {len(links)} devices, and one is probed at a time.", "Name one of them.")
        progress(f"probing {links[0].name}", None)
        seen = ask(links[0], MeasureCeilings(threads=threads, force=force, client=client()), Probed).probe
    if not re.fullmatch("[0-9a-f]{12}", seen.machine.machine_id):  # it becomes the name of a file
        raise RunError(f"{links[0].name} gave no id of its machine.", "Install the same edgeprof on it.")
    _keep(seen)
    return seen


def _keep(seen: Probe) -> None:
    with contextlib.suppress(EdgeprofError):  # a folder that cannot be written: measured again next time
        store.write_atomic(file_of(seen.machine.machine_id, seen.threads), encode(seen))


def _kept_here(threads: int | None) -> Probe | None:
    """The probe of this machine that is kept; None where there is none, or an older edgeprof made it."""
    machine = measure_machine.describe()
    seen = kept(machine.machine_id, threads or machine.cores_allowed)
    return seen if seen and seen.edition >= EDITION else None


def ceilings_here(threads: int | None, *, force: bool = False, progress: Progress = silent) -> Probe:
    """The probe of this machine: the one that is kept, or, with `force`, a new one. Others are kept from working."""
    require_positive("--threads", [threads or 1])
    seen = None if force else _kept_here(threads)
    if seen is None:
        machine = measure_machine.describe()
        threads = threads or machine.cores_allowed
        spoils = surroundings.look(threads, progress)
        started_at, start = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
        times, canaries = measure_probe.measure(threads, progress)
        imports_bytes, memory = measure_probe.memory(threads)
        seen = Probe(
            edition=EDITION,
            machine=machine,
            provider="cpu",
            threads=threads,
            started_at=started_at,
            took_s=round(time.monotonic() - start, 1),
            imports_bytes=imports_bytes,
            window_bytes=measure_probe.window_bytes(),
            memory=tuple(memory),
            times=times,
            canaries=canaries,
            notes=(spoils,) if spoils else (),
        )
        _keep(seen)
    return seen
