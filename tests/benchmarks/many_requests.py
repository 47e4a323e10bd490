"""Ask agents of a scheduler at the same time, N times in turn, as a command does: many_requests.py ADDRESS AGENTS N.

Prints the memory of this process and of the one behind its links: with all links idle, and the most of all the time.
"""

import json
import sys
from pathlib import Path

import psutil

from edgeprof.fleet.dask_link import DaskLink, SharedClient
from edgeprof.fleet.dask_process import Connection
from edgeprof.fleet.several import of_each

REQUEST = bytes(8000)  # as long as a visit


def main(address: str, agents: int, times: int) -> None:
    shared, own = SharedClient(Connection(address)), psutil.Process()
    links = [DaskLink(f"agent{number}", shared) for number in range(agents)]
    links[0].ask(REQUEST)  # starts the process
    (client,) = own.children()
    idle = {"idle_bytes": _bytes(own), "client_idle_bytes": _bytes(client)}
    for _ in range(times):
        of_each(links, lambda link: link.ask(REQUEST))
    most = {"most_bytes": _most_bytes(own), "client_most_bytes": _most_bytes(client)}
    shared.close()
    print(json.dumps(idle | most))


def _bytes(process: psutil.Process) -> int:
    return int(process.memory_info().rss)


def _most_bytes(process: psutil.Process) -> int:
    """The highest resident set of a process so far."""
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    (line,) = (line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
