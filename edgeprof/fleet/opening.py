"""Links to the devices of a run."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeprof.fleet.dask_link import DaskLink, SharedClient, shared_client
from edgeprof.fleet.inventory import AGENT, LOCAL, find
from edgeprof.fleet.links import Link
from edgeprof.fleet.pipe import local_command
from edgeprof.fleet.pipe_link import PipeLink
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
    with contextlib.ExitStack() as stack:
        links: list[Link] = []
        shared: SharedClient | None = None
        for device in inventory.resolve(names):
            link: Link
            if device.address == AGENT:
                if shared is None:
                    shared = shared_client(device.name, inventory, insecure)
                    stack.callback(shared.close)
                link = DaskLink(device.name, shared)
            elif device.address == LOCAL:
                link = PipeLink(LOCAL, local_command())
            else:
                link = ssh_link(device)
            links.append(stack.enter_context(contextlib.closing(link)))
        yield links
