"""`probe`: the ceilings of this device through onnxruntime, measured once and kept."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path

from edgeprof import store
from edgeprof.api.kept_probe import file_of, kept
from edgeprof.api.profile import require_positive
from edgeprof.errors import EdgeprofError, UsageError
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
        out: a file that receives the probe, as JSON.
        progress: called with the current step.

    Returns:
        Shapes with their times, memory of sessions, machine and versions.

    Raises:
        UsageError: another provider, or `threads` is not positive.
        EdgeprofError: onnxruntime does not run here.
    """
    if ep != "cpu":
        raise UsageError(f"'{ep}' cannot be probed.", "Use --ep cpu.")
    require_positive("--threads", [threads or 1])
    machine = measure_machine.describe()
    threads = threads or machine.cores_allowed
    seen = None if force else kept(machine.machine_id, threads)
    if seen is None or seen.edition < EDITION:
        spoils = surroundings.look(threads, progress)
        started_at, start = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
        times, canaries = measure_probe.measure(threads, progress)
        imports_bytes, memory = measure_probe.memory(threads)
        seen = Probe(
            edition=EDITION,
            machine=machine,
            provider=ep,
            threads=threads,
            started_at=started_at,
            took_s=round(time.monotonic() - start, 1),
            imports_bytes=imports_bytes,
            memory=tuple(memory),
            times=times,
            canaries=canaries,
            notes=(spoils,) if spoils else (),
        )
        with contextlib.suppress(EdgeprofError):  # a folder that cannot be written: measured again next time
            store.write_atomic(file_of(machine.machine_id, threads), encode(seen))
    if out is not None:
        store.write_atomic(out, encode(seen))
    return seen
