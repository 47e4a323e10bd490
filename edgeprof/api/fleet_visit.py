"""A visit of a point on a device: its files are sent there, and its record comes back."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from msgspec.structs import replace

from edgeprof.errors import DeviceLost, EdgeprofError, RunError
from edgeprof.fleet.ask import ANSWER_S
from edgeprof.fleet.links import Link
from edgeprof.fleet.messages import Measure, Measured
from edgeprof.fleet.send import Files, ask_with_files, content_of_job, measured_visit, named_visit
from edgeprof.fleet.turn import client
from edgeprof.measure.launch import status_of
from edgeprof.measure.schedule import Visit
from edgeprof.process import Progress
from edgeprof.schema import Measurement, Outcome, PointKey, Status

MOST_LOSSES = 3
"""A device that goes away so often in a row at one point, and comes back each time, is not lost by chance."""


class Remote:
    """Measures on a device; sends it the files of a point before the first visit."""

    def __init__(self, link: Link, machine_id: str, least_share: float, progress: Progress) -> None:
        self.link, self.machine_id, self.least_share, self.progress = link, machine_id, least_share, progress
        self.files: dict[PointKey, Files] = {}
        self.losses: Counter[PointKey] = Counter()  # of the device, in a row
        self.done = 0.0

    def of_visit(self, visit: Visit, done: float) -> Visit:
        self.done = done
        return visit

    def measure(self, visit: Visit) -> Measurement:
        """The record of a visit. Whatever goes wrong costs this visit, unless the device is gone.

        Raises:
            DeviceLost: the device does not answer; at this point fewer than MOST_LOSSES times so far.
        """
        key = visit.job.key
        try:
            record = self._measured(visit)
        except DeviceLost as lost:
            self.losses[key] += 1
            if self.losses[key] < MOST_LOSSES:
                raise
            return unmeasured(visit, "lost", lost)
        except EdgeprofError as problem:
            record = unmeasured(visit, status_of(problem), problem)
        del self.losses[key]
        return record

    def _measured(self, visit: Visit) -> Measurement:
        job = visit.job
        if job.key not in self.files:
            self.files[job.key] = content_of_job(job)
        files = self.files[job.key]
        named = named_visit(visit, files)
        request = Measure(visit=named, files=files.content, least_share=self.least_share, client=client())
        timeout_s = ANSWER_S + 4 * (job.timeout_s or 0.0)  # a provider's graph is also placed, compared and compiled
        shown: Progress = lambda activity, _: self.progress(activity, self.done)  # noqa: E731
        reply = ask_with_files(self.link, request, files, Measured, shown, timeout_s)
        return self._accepted(reply.measurement, visit)

    def _accepted(self, record: Measurement, visit: Visit) -> Measurement:
        """The record of a visit under the key that it has here.

        Raises:
            DeviceLost: another machine answers under this name now.
            RunError: the record is of something else.
        """
        name, job = self.link.name, visit.job
        if record.machine_id != self.machine_id:
            raise DeviceLost(f"{name} is another machine now, or has other versions.", "Choose another --name.")
        if (record.subject, record.load, record.round) != (job.key.subject, job.key.load, visit.round):
            raise RunError(f"{name} replied with a record of another point.", "Install the same edgeprof on it.")
        return replace(measured_visit(record, visit), key=job.key, stopping=job.stopping, goal=visit.goal)


def unmeasured(visit: Visit, status: Status, problem: EdgeprofError) -> Measurement:
    """The record of a visit that did not come about."""
    job = visit.job
    return Measurement(
        key=job.key,
        round=visit.round,
        facts=job.facts,
        stopping=job.stopping,
        goal=visit.goal,
        memory_limit=job.memory_limit,
        settings_key=job.settings_key,
        outcome=Outcome(
            status=status,
            error=" ".join(str(problem).split()),
            started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )
