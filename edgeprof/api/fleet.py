"""The devices of a user: what they are, whether they answer, their files and certificates; agent and scheduler."""

import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from edgeprof.api.option_ranges import require_seconds
from edgeprof.errors import EdgeprofError, UsageError
from edgeprof.fleet import certificates, inventory
from edgeprof.fleet.ask import ask
from edgeprof.fleet.dask_process import Connection, connection
from edgeprof.fleet.inventory import FleetDevice
from edgeprof.fleet.links import Link
from edgeprof.fleet.messages import Clean, Cleaned, Describe, Described
from edgeprof.fleet.opening import open_links
from edgeprof.fleet.several import of_each
from edgeprof.process import Progress, silent
from edgeprof.schema import Record

T = TypeVar("T")

TIMEOUT_S = 120.0
"""For a device to describe itself; the first time it proves each of its providers."""


class FleetDeviceState(Record, frozen=True, kw_only=True):
    """A line of `edgeprof fleet`."""

    name: str
    address: str
    notes: str = ""
    described: Described | None = None  # None: it did not answer
    error: str = ""


class CleanedDevice(Record, frozen=True, kw_only=True):
    """A line of `edgeprof fleet clean`."""

    name: str
    removed_bytes: int = 0
    kept_bytes: int = 0
    error: str = ""


def fleet_devices(
    on: Sequence[str] = (),
    *,
    fleet: Path | None = None,
    insecure: bool = False,
    timeout_s: float = TIMEOUT_S,
    progress: Progress = silent,
) -> list[FleetDeviceState]:
    """Ask devices what they are, all at once; one that does not answer is told with the reason.

    >>> (here,) = fleet_devices(["local"])
    >>> here.name, here.described is not None, here.error
    ('local', True, '')

    Args:
        on: names of the inventory, "local", "all", or ssh://user@host[:port]; default all.

    Raises:
        UnknownName, UsageError, MissingExtra: as `open_links`.
    """
    require_seconds("--timeout", timeout_s, 1)
    names = on or [inventory.ALL]

    def describe(device: FleetDevice, link: Link) -> FleetDeviceState:
        state = FleetDeviceState(name=device.name, address=device.address, notes=device.notes)
        try:
            return msgspec.structs.replace(state, described=ask(link, Describe(at_once=True), Described, timeout_s))
        except EdgeprofError as problem:
            return msgspec.structs.replace(state, error=str(problem))

    with open_links(names, fleet=fleet, insecure=insecure) as links:
        return _each(inventory.find(fleet).resolve(names), links, describe, progress)


def clean_fleet(
    names: Sequence[str] = (),
    *,
    keep_bytes: int = 0,
    fleet: Path | None = None,
    insecure: bool = False,
    timeout_s: float = TIMEOUT_S,
    progress: Progress = silent,
) -> list[CleanedDevice]:
    """Remove the files that devices keep, those not used for longest first, until each keeps at most `keep_bytes`.

    Raises:
        UnknownName, UsageError, MissingExtra: as `open_links`.
    """
    require_seconds("--timeout", timeout_s, 1)
    names = names or [inventory.ALL]

    def clean(device: FleetDevice, link: Link) -> CleanedDevice:
        try:
            done = ask(link, Clean(keep_bytes=keep_bytes), Cleaned, timeout_s)
        except EdgeprofError as problem:
            return CleanedDevice(name=device.name, error=str(problem))
        return CleanedDevice(name=device.name, removed_bytes=done.removed_bytes, kept_bytes=done.kept_bytes)

    with open_links(names, fleet=fleet, insecure=insecure) as links:
        return _each(inventory.find(fleet).resolve(names), links, clean, progress)


def _each(
    devices: Sequence[FleetDevice], links: Sequence[Link], work: Callable[[FleetDevice, Link], T], progress: Progress
) -> list[T]:
    """What `work` returns for each device, all at once."""
    progress("asking " + ", ".join(device.name for device in devices), 0.0)
    return of_each(list(zip(devices, links, strict=True)), lambda pair: work(*pair))


def fleet_certificates(
    names: Sequence[str], *, out: Path | None = None, fleet: Path | None = None, force: bool = False
) -> list[Path]:
    """As `certificates.make_certificates`, in the folder of the inventory."""
    folder = out or inventory.find(fleet).certificates
    return certificates.make_certificates(names, folder, force=force)


def fleet_scheduler(
    address: str | None = None,
    *,
    certs: Path | None = None,
    fleet: Path | None = None,
    insecure: bool = False,
    say: Callable[[str], None],
) -> None:
    """Run the scheduler that agents join, until it is ended.

    Args:
        address: default that of the inventory.
    """
    from edgeprof.fleet import scheduler

    known = inventory.find(fleet)
    address = address or known.scheduler or f"tls://{platform.node() or 'localhost'}:{inventory.DEFAULT_PORT}"
    scheduler.serve(connection(address, certs or known.certificates / certificates.CLIENT, insecure), say)


def fleet_agent(
    name: str | None = None,
    scheduler: str | None = None,
    *,
    certs: Path | None = None,
    fleet: Path | None = None,
    insecure: bool = False,
    say: Callable[[str], None],
) -> None:
    """Run the agent of this machine, until it is ended.

    Args:
        name: default the name of the host.
        scheduler: default that of the inventory.
    """
    from edgeprof.fleet import agent

    known = inventory.find(fleet)
    name = name or platform.node() or "agent"
    address = scheduler or known.scheduler
    if not address:
        raise UsageError("The scheduler is not known.", "Add --scheduler tls://HOST:8786, with the HOST it runs on.")
    reached: Connection = connection(address, certs or known.certificates / name, insecure)
    agent.serve(name, reached, say)
