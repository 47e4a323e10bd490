"""Ask all agents of a scheduler at the same time, N times in turn: python many_requests.py ADDRESS N."""

import json
import sys
from importlib.metadata import version

import psutil

from edgeprof.fleet import dask_client, dask_process
from edgeprof.fleet.agent import MACHINE, answer
from edgeprof.fleet.dask_process import Connection

REQUEST = bytes(8000)  # as long as a visit


def main(address: str, count: int) -> None:
    dask_process.prepare()
    client = dask_client._connected(Connection(address, None))
    memory_bytes = psutil.Process().memory_info().rss  # of a process as behind every link
    agents = list(client.sync(client.scheduler.identity, n_workers=-1)["workers"])
    for _ in range(count):
        futures = [
            client.submit(answer, version("edgeprof"), REQUEST, workers=[at], resources={MACHINE: 1}, pure=False)
            for at in agents
        ]
        for future in futures:
            assert future.result()
    print(json.dumps({"memory_bytes": memory_bytes}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
