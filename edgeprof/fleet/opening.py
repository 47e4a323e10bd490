"""Links to the devices of a run."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeprof.fleet.inventory import AGENT, LOCAL, FleetDevice, Inventory, find
from edgeprof.fleet.links import Link
from edgeprof.fleet.pipe_link import PipeLink, local_command
from edgeprof.fleet.ssh_link import ssh_link


@contextlib.contextmanager
def open_links(names: Sequence[str], *, fleet: Path | None = None, insecure: bool = False) -> Iterator[list[Link]]:
    """Links to devices, in the order of their names; all are closed when the block ends.

    Nothing is connected yet: the first request to a device does that, and raises DeviceLost where it is not there. A
    device that was lost is asked anew by the next request.

    Args:
        names: of the inventory, "local" (this machine), "all", or ssh://user@host[:port].
        fleet: the inventory; default ./fleet.toml, or the one of the user.
        insecure: agents may be asked without TLS.

    Raises:
        UnknownName: a name that is none of these.
        UsageError: the inventory is damaged, or lacks what an agent needs.
        MissingExtra: an agent is asked for, and Dask is not installed.
    """
    inventory = find(fleet)
    devices = inventory.resolve(names)
    with contextlib.ExitStack() as stack:
        links = []
        for device in devices:
            link = link_to(device, inventory, insecure)
            stack.callback(link.close)
            links.append(link)
        yield links


def link_to(device: FleetDevice, inventory: Inventory, insecure: bool = False) -> Link:
    if device.address == LOCAL:
        return PipeLink(LOCAL, local_command())
    if device.address == AGENT:
        from edgeprof.fleet.dask_link import dask_link

        return dask_link(device.name, inventory, insecure)
    return ssh_link(device)
