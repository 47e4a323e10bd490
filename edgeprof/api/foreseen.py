"""Predicted latencies for points that are about to be measured, where a probe of the device is kept."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from edgeprof.analysis.prediction import predicted_latency
from edgeprof.api.kept_probe import kept
from edgeprof.api.modules import Modules
from edgeprof.errors import EdgeprofError
from edgeprof.measure.schedule import Job
from edgeprof.process import Progress
from edgeprof.schema import EDITION, Probe


def foreseen(jobs: Sequence[Job], folder: Path, progress: Progress) -> list[Job]:
    """The jobs, those of the CPU provider with the latency that a probe of this machine predicts.

    Args:
        folder: of the run, which may have a probe of its own.
    """
    places = [job.key.place for job in jobs if job.target.is_cpu]
    seen = kept(places[0].machine_id, places[0].threads, folder) if places else None
    if seen is None or seen.edition < EDITION:
        return list(jobs)
    progress("predicting", None)
    modules = Modules()
    return [_with_latency(job, seen, modules) if job.target.is_cpu else job for job in jobs]


def _with_latency(job: Job, seen: Probe, modules: Modules) -> Job:
    """The job with a prediction; without one where the probe does not tell it."""
    precision, phase = job.key.subject.precision.recipe, job.key.load.phase
    with contextlib.suppress(EdgeprofError):
        latency = predicted_latency(modules.works(job), seen, precision=precision, phase=phase)
        return replace(job, facts=replace(job.facts, latency_predicted_s=latency.best_s))
    return job
