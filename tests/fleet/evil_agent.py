"""A device that joins with a good certificate, and answers with pickles whose unpickling writes a file.

python evil_agent.py ADDRESS CERTIFICATES MARKER

The request says how: as a value, as an error, or as a message of Dask.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from distributed import Worker
from distributed.protocol import to_serialize
from distributed.protocol.serialize import ToPickle

from edgeprof.fleet import agent, dask_process
from edgeprof.fleet.dask_process import Connection

ADDRESS, CERTIFICATES, MARKER = sys.argv[1:]
asked: list[bytes] = []


class Evil(Exception):
    def __reduce__(self) -> Any:
        return exec, (f"import os; os.getpid() == {os.getpid()} or open({MARKER!r}, 'w').close()",)


class EvilWorker(Worker):  # type: ignore[misc]
    async def get_data(self, comm: Any, keys: Any, who: Any = None, serializers: Any = None) -> Any:
        value = ToPickle(Evil()) if asked[-1] == b"message" else to_serialize(Evil())
        await comm.write({"status": "OK", "data": dict.fromkeys(keys, value)}, serializers=["pickle"])
        await comm.read()
        return "OK"


def answer(_version: str, request: bytes) -> Any:
    asked.append(request)
    if request == b"error":
        raise Evil
    return b"a reply"


async def main() -> None:
    security = dask_process.security(Connection(ADDRESS, Path(CERTIFICATES)))
    agent.answer = answer
    resources = {agent.MACHINE: 1}
    worker = await EvilWorker(ADDRESS, name="three", nthreads=1, resources=resources, extensions={}, security=security)
    sys.stdout.write("has joined\n")
    sys.stdout.flush()
    await worker.finished()


asyncio.run(main())
