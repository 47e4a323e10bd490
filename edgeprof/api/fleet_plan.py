"""The devices of a run over several, as they describe themselves, and the points of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeprof.errors import EdgeprofError, RunError, UsageError
from edgeprof.fleet.ask import ANSWER_S, ask
from edgeprof.fleet.links import Link
from edgeprof.fleet.messages import Describe, Described, Look, Looked
from edgeprof.fleet.several import of_each
from edgeprof.fleet.turn import client
from edgeprof.measure.schedule import Job, on_target, place_of
from edgeprof.providers.resolve import options_by_name, resolve
from edgeprof.schema import Host, Record
from edgeprof.text import joined

VERSIONS = ("onnxruntime", "edgeprof")
"""Packages that have to agree for points of two devices to be compared strictly."""


class HostPlan(Record, frozen=True, kw_only=True):
    """A device of a run, and its points."""

    host: Host
    jobs: tuple[Job, ...]


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


def not_quiet(links: Sequence[Link], about: Sequence[Described], threads: int | None) -> list[str]:
    """What would spoil the times of the devices that are not quiet, a sentence for each."""

    def spoils(device: tuple[Link, Described]) -> str:
        link, one = device
        cores = threads or one.machine.cores_allowed
        return ask(link, Look(threads=cores, client=client()), Looked, ANSWER_S).spoils

    found = of_each(list(zip(links, about, strict=True)), spoils)
    return [f"{link.name}: {text}" for link, text in zip(links, found, strict=True) if text]


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
                refused[word] = _there(problem, host.name)
                notes.append(refused[word].what)
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


def _there(problem: EdgeprofError, name: str) -> EdgeprofError:
    """The refusal of a provider, and what to run on the device about it."""
    return EdgeprofError(problem.what, problem.next_step.replace("Run: ", f"Run on {name}: ", 1)).about(name)
