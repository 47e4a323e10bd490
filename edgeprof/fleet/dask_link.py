"""A device whose agent has joined a scheduler of Dask: asked by a child process that is its client."""

from functools import partial

import msgspec

from edgeprof.errors import DeviceLost, UsageError
from edgeprof.fleet.certificates import CLIENT
from edgeprof.fleet.dask_process import connection
from edgeprof.fleet.inventory import FILE, Inventory
from edgeprof.fleet.messages import Failed
from edgeprof.fleet.pipe_link import PipeLink, local_command


def dask_link(name: str, inventory: Inventory, insecure: bool) -> PipeLink:
    """A link to the agent that joined the scheduler of an inventory under a name; the first request connects.

    Raises:
        MissingExtra: Dask is not installed.
        UsageError: the inventory names no scheduler, or one that cannot be reached safely.
    """
    if not inventory.scheduler:
        raise UsageError(
            f"{name} is reached through a scheduler, and {inventory.file or FILE} names none.",
            f'Add a line at its top: scheduler = "tls://{this_host()}:8786"',
        )
    reached = connection(inventory.scheduler, inventory.certificates / CLIENT, insecure)
    words = [reached.address, name, str(reached.certificates or "")]
    return PipeLink(name, local_command("edgeprof.fleet.dask_client", *words), partial(_reason, name))


def this_host() -> str:
    import platform

    return platform.node() or "workstation"


def _reason(name: str, code: int, printed: str) -> DeviceLost:
    """What the client printed last: the reason, as a record."""
    last = printed.splitlines()[-1] if printed else ""
    try:
        failed = msgspec.json.decode(last, type=Failed)
    except msgspec.MsgspecError:
        return DeviceLost(f"{name}: the client of its scheduler ended with exit code {code}: {last or 'no reason'}.")
    return DeviceLost(failed.what, failed.next_step)
