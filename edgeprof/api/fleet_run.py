"""One run over several devices: points are planned here, visited there, and recorded here.

Every device has a thread of its own, which asks it for one visit after the other, by the same rules as on one machine
(`api.visits`). What comes back is put into a queue, and written by the one thread that began the run. A device that
goes away is asked again and again, while others work and for a while after; then its waiting points are lost.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from msgspec.structs import replace

from edgeprof import store
from edgeprof.analysis import statistics
from edgeprof.api import placement, visits
from edgeprof.api.fleet_plan import HostPlan, described, hosts_of, not_quiet, plans, version_note
from edgeprof.api.fleet_visit import Remote, unmeasured
from edgeprof.api.foreseen import foreseen
from edgeprof.errors import DeviceLost, EdgeprofError, RunError
from edgeprof.fleet.ask import ANSWER_S, ask
from edgeprof.fleet.links import Link
from edgeprof.fleet.messages import Describe, Described
from edgeprof.measure.schedule import Job
from edgeprof.process import Progress
from edgeprof.schema import Goal, Host, Measurement, Record

GIVE_UP_S = 60.0
"""A lost device is asked again for so long after the others are done."""

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Between two attempts to reach a lost device; the last one again and again."""


@runtime_checkable
class ByDevice(Protocol):
    """Progress with a line for each device."""

    def line(self, name: str) -> Progress:
        """What shows the progress of one device."""
        ...


class _Step(Record, frozen=True):
    name: str
    activity: str
    share: float | None


class _Ended(Record, frozen=True):
    name: str
    problem: str = ""  # not of the device: a fault of this program


def visit_hosts(
    folder: Path,
    every: Sequence[HostPlan],
    links: Sequence[Link],
    goal: Goal,
    recorded: Sequence[Measurement],
    least_share: float,
    progress: Progress,
) -> None:
    """Visit all points of all devices, the devices at the same time; records are appended as they come.

    However it ends, every link is closed, and no device is left working for it.
    """
    events: queue.SimpleQueue[Measurement | _Step | _Ended] = queue.SimpleQueue()
    shown = _shown(progress, [link.name for link in links])
    workers = _Workers(events, goal, least_share)
    append = partial(store.append_measurement, folder)
    try:
        for plan, link in zip(every, links, strict=True):
            workers.start(plan, link, [record for record in recorded if record.place.host == plan.host.name])
        waiting = len(links)
        while waiting:
            event = events.get()
            match event:
                case Measurement():
                    append(event)
                case _Step():
                    shown(event.name, event.activity, event.share)
                case _Ended():
                    waiting -= 1
                    workers.ended(event.name)
                    if event.problem:
                        raise EdgeprofError(f"{event.name}: {event.problem}", "Report it, with the command.")
    finally:
        workers.stop()
        while not events.empty():  # what ended meanwhile
            if isinstance(event := events.get(), Measurement):
                append(event)


class _Workers:
    """A thread for each device."""

    def __init__(self, events: queue.SimpleQueue[Measurement | _Step | _Ended], goal: Goal, least_share: float) -> None:
        self.events, self.goal, self.least_share = events, goal, least_share
        self.stopping = threading.Event()
        self.threads: dict[str, tuple[threading.Thread, Link]] = {}
        self.busy: set[str] = set()  # devices that are measuring
        self.last_done = 0.0  # when a device last had nothing to do any more

    def start(self, plan: HostPlan, link: Link, records: list[Measurement]) -> None:
        thread = threading.Thread(target=self._run, args=(plan, link, records), daemon=True, name=link.name)
        self.threads[link.name] = thread, link
        self.busy.add(link.name)
        thread.start()

    def ended(self, name: str) -> None:
        self._idle(name)

    def stop(self) -> None:
        """Close the links, which ends what devices work on, and wait for the threads."""
        self.stopping.set()
        for _, link in self.threads.values():
            link.close()
        for thread, _ in self.threads.values():
            thread.join(10.0)

    def _run(self, plan: HostPlan, link: Link, records: list[Measurement]) -> None:
        name, problem = plan.host.name, ""
        try:
            self._visit(plan, link, records)
        except EdgeprofError as failure:
            problem = "" if self.stopping.is_set() else str(failure)
        except Exception as failure:  # noqa: BLE001  (a thread's error would be lost)
            problem = "" if self.stopping.is_set() else f"{type(failure).__name__}: {failure}"
        self.events.put(_Ended(name, problem))

    def _visit(self, plan: HostPlan, link: Link, records: list[Measurement]) -> None:
        """Visit the points of a device; where it goes away, again as soon as it is back."""
        progress: Progress = lambda activity, share: self.events.put(_Step(link.name, activity, share))  # noqa: E731
        remote = Remote(link, plan.host.machine.machine_id, self.least_share, progress)

        def save(record: Measurement) -> None:
            records.append(record)
            self.events.put(record)

        while not self.stopping.is_set():
            try:
                visits.visit_points(plan.jobs, self.goal, records, remote, save, progress)
                progress("done", 1.0)
                return
            except DeviceLost as lost:
                self._idle(link.name)
                reason = self._back(plan.host, link, lost, lambda text: progress(text, remote.done))
            if self.stopping.is_set():
                return
            if reason:
                for visit in visits.unfinished(plan.jobs, self.goal, records):
                    save(unmeasured(visit, "lost", reason))
                progress(f"lost: {reason.what}", remote.done)
                return
            self.busy.add(link.name)

    def _back(self, host: Host, link: Link, lost: DeviceLost, tell: Callable[[str], None]) -> DeviceLost | None:
        """Wait until a lost device answers; the reason where that takes too long, or another machine answers."""
        since, pauses = time.monotonic(), _pauses()
        while self.busy or time.monotonic() < max(since, self.last_done) + GIVE_UP_S:
            tell(f"waiting: {lost.what}")
            if self.stopping.wait(next(pauses)):
                break
            try:
                there = ask(link, Describe(), Described, ANSWER_S).machine
            except DeviceLost as problem:
                lost = problem
                continue
            except EdgeprofError as problem:
                return DeviceLost(problem.what, problem.next_step)
            if there.machine_id == host.machine.machine_id:
                return None
            return DeviceLost(f"{host.name} came back as another machine, or with other versions.", "")
        return lost

    def _idle(self, name: str) -> None:
        if name in self.busy:
            self.last_done = time.monotonic()  # first, as others read it once nothing is busy
            self.busy.discard(name)


def _pauses() -> Iterator[float]:
    yield from PAUSES_S
    while True:
        yield PAUSES_S[-1]


def _shown(progress: Progress, names: Sequence[str]) -> Callable[[str, str, float | None], None]:
    """Shows the step of a device: on its own line, or together with all others as one."""
    if isinstance(progress, ByDevice):
        lines = {name: progress.line(name) for name in names}
        return lambda name, activity, share: lines[name](activity, share)
    shares = dict.fromkeys(names, 0.0)

    def show(name: str, activity: str, share: float | None) -> None:
        shares[name] = share if share is not None else shares[name]
        progress(f"{name}: {activity}", sum(shares.values()) / len(shares))

    return show


def save_table(folder: Path) -> None:
    with contextlib.suppress(RunError):  # no record yet
        store.save_table(folder, statistics.points(store.load_measurements(folder)))


def measure_on(
    links: Sequence[Link],
    jobs: Sequence[Job],
    *,
    folder: Path,
    goal: Goal,
    ep: Sequence[str],
    ep_option: Mapping[str, str],
    threads: int | None,
    least_share: float,
    precisions: Sequence[str],
    same_versions: bool,
    strict: bool,
    progress: Progress,
) -> list[str]:
    """Measure points on devices, as the run in a folder; return what there is to note.

    Args:
        links: to the devices, each under the name that it has in the run.
        jobs: the points, for the CPU provider of any machine.
        threads: of the runtime; default every core that each device allows.
        precisions: those requested by name.
        same_versions: whether VERSIONS have to agree.
        strict: whether all devices have to be quiet.

    Raises:
        UsageError, RunError, DeviceLost: nothing was measured.
    """
    progress("asking the devices", None)
    about = described(links)
    hosts = hosts_of(links, about)
    notes = version_note(hosts, same_versions)
    every = plans(jobs, hosts, about, ep, ep_option, threads, notes)
    placement.require_some([job for plan in every for job in plan.jobs], precisions)
    if goal.max_time_s or strict:
        progress("looking at the devices", None)
        spoilt = not_quiet(links, about, threads)
        if spoilt and strict:
            raise RunError(" ".join(spoilt), "Stop what runs beside it, or omit --strict.")
        notes += [f"{one} Expect noisy times." for one in spoilt]
    every = [replace(plan, jobs=tuple(foreseen(plan.jobs, folder, progress))) for plan in every]
    with store.run_over_hosts(folder, hosts) as recorded:
        done = [record for record in recorded if visits.placement_suffices(record, least_share)]
        try:
            visit_hosts(folder, every, links, goal, done, least_share, progress)
        finally:
            save_table(folder)
    return notes
