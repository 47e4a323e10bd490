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
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

from msgspec.structs import replace

from edgeprof import store
from edgeprof.analysis import statistics
from edgeprof.api import placement, visits
from edgeprof.api.foreseen import foreseen
from edgeprof.errors import DeviceLost, EdgeprofError, RunError, UsageError
from edgeprof.fleet.ask import ask
from edgeprof.fleet.links import Link
from edgeprof.fleet.messages import Describe, Described, Measured
from edgeprof.fleet.messages import Measure as MeasureRequest
from edgeprof.fleet.send import Files, ask_with_files, content_of_job, measured_visit, named_visit
from edgeprof.fleet.several import of_each
from edgeprof.measure.launch import ENDS
from edgeprof.measure.schedule import Job, Visit, on_target, place_of
from edgeprof.process import Progress
from edgeprof.providers.resolve import options_by_name, resolve
from edgeprof.schema import Goal, Host, Measurement, Outcome, PointKey, Record, Status
from edgeprof.text import joined

ANSWER_S = 900.0
"""A device may work for others first, and prepare a graph: it answers within this time, and that of its visits."""

GIVE_UP_S = 60.0
"""A lost device is asked again for so long after the others are done."""

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Between two attempts to reach a lost device; the last one again and again."""

VERSIONS = ("onnxruntime", "edgeprof")
"""Packages that have to agree for points of two devices to be compared strictly."""


@runtime_checkable
class ByDevice(Protocol):
    """Progress with a line for each device."""

    def line(self, name: str) -> Progress:
        """What shows the progress of one device."""
        ...


class HostPlan(Record, frozen=True, kw_only=True):
    """A device of a run, and its points."""

    host: Host
    jobs: tuple[Job, ...]


# --- planning ------------------------------------------------------------------------------------------


def described(links: Sequence[Link]) -> list[Described]:
    """What the devices say of themselves, asked at the same time.

    Raises:
        DeviceLost: one of them does not answer.
    """
    return of_each(links, lambda link: ask(link, Describe(), Described, ANSWER_S))


def hosts_of(links: Sequence[Link], about: Sequence[Described]) -> list[Host]:
    return [
        Host(name=link.name, machine=one.machine, packages=one.packages) for link, one in zip(links, about, strict=True)
    ]


def version_note(hosts: Sequence[Host], same_versions: bool) -> list[str]:
    """The versions that differ between devices, in a sentence.

    Raises:
        RunError: they have to be the same, and one of VERSIONS is not.
    """
    notes = []
    for package in VERSIONS:
        of_hosts: dict[str, list[str]] = {}
        for host in hosts:
            version = host.machine.versions.get(package, host.packages.get(package, "unknown"))
            of_hosts.setdefault(version, []).append(host.name)
        if len(of_hosts) > 1:
            told = joined([f"{version} on {joined(names)}" for version, names in of_hosts.items()])
            notes.append(f"{package} differs between devices: {told}.")
    if notes and same_versions:
        raise RunError(" ".join(notes), "Install the same versions on all, or omit --same-versions.")
    return notes


def plans(
    jobs: Sequence[Job],
    hosts: Sequence[Host],
    about: Sequence[Described],
    ep: Sequence[str],
    ep_option: Mapping[str, str],
    threads: int | None,
    notes: list[str],
) -> list[HostPlan]:
    """The points of every device: those of `jobs`, on each requested provider that is ready there.

    Raises:
        UsageError: a provider is unknown or has no such option.
        EdgeprofError: a requested provider is ready on none of the devices.
    """
    words = list(dict.fromkeys(ep))
    options = options_by_name(words, ep_option)
    refused: dict[str, EdgeprofError] = {}
    every: list[HostPlan] = []
    accepted: set[str] = set()
    for host, one in zip(hosts, about, strict=True):
        targets = []
        for word in words:
            try:
                targets += resolve([word], options=options[word], elsewhere=one.providers)
            except UsageError:
                raise
            except EdgeprofError as problem:
                refused[word] = problem.about(host.name)
                notes.append(problem.what)
            else:
                accepted.add(word)
        unique = {target.provider: target for target in targets}.values()
        cores = threads or one.machine.cores_allowed
        places = [(target, place_of(target, host.machine.machine_id, cores, host.name)) for target in unique]
        every.append(HostPlan(host=host, jobs=tuple(on_target(job, *place) for job in jobs for place in places)))
    for word, refusal in refused.items():
        if word not in accepted:
            raise refusal
    return every


# --- a device ------------------------------------------------------------------------------------------


class Remote:
    """Measures on a device; sends it the files of a point before the first visit."""

    def __init__(self, link: Link, machine_id: str, least_share: float, progress: Progress) -> None:
        self.link, self.machine_id, self.least_share, self.progress = link, machine_id, least_share, progress
        self.files: dict[PointKey, Files] = {}
        self.done = 0.0

    def of_visit(self, visit: Visit, done: float) -> Visit:
        self.done = done
        return visit

    def measure(self, visit: Visit) -> Measurement:
        """The record of a visit. Whatever goes wrong costs this visit, unless the device is gone.

        Raises:
            DeviceLost: the device does not answer.
        """
        try:
            return self._measured(visit)
        except DeviceLost:
            raise
        except EdgeprofError as problem:
            status: Status = next((status for kind, status in ENDS.items() if isinstance(problem, kind)), "failed")
            return unmeasured(visit, status, problem)

    def _measured(self, visit: Visit) -> Measurement:
        job = visit.job
        files = self.files.setdefault(job.key, content_of_job(job))
        request = MeasureRequest(visit=named_visit(visit, files), files=files.content, least_share=self.least_share)
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


# --- the run -------------------------------------------------------------------------------------------


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
            self.busy.discard(name)
            self.last_done = time.monotonic()


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
    progress: Progress,
) -> list[str]:
    """Measure points on devices, as the run in a folder; return what there is to note.

    Args:
        links: to the devices, each under the name that it has in the run.
        jobs: the points, for the CPU provider of any machine.
        threads: of the runtime; default every core that each device allows.
        precisions: those requested by name.
        same_versions: whether VERSIONS have to agree.

    Raises:
        UsageError, RunError, DeviceLost: nothing was measured.
    """
    progress("asking the devices", None)
    about = described(links)
    hosts = hosts_of(links, about)
    notes = version_note(hosts, same_versions)
    every = plans(jobs, hosts, about, ep, ep_option, threads, notes)
    placement.require_some([job for plan in every for job in plan.jobs], precisions)
    every = [replace(plan, jobs=tuple(foreseen(plan.jobs, folder, progress))) for plan in every]
    with store.run_over_hosts(folder, hosts) as recorded:
        done = [record for record in recorded if visits.placement_suffices(record, least_share)]
        try:
            visit_hosts(folder, every, links, goal, done, least_share, progress)
        finally:
            save_table(folder)
    return notes
