"""Agents in one process, which answer at once: python many_agents.py ADDRESS COUNT."""

import asyncio
import sys
import tempfile
from typing import cast

from edgeprof.fleet import agent, dask_process
from edgeprof.fleet.dask_process import Connection
from edgeprof.fleet.pipe_link import PipeLink

REPLY = bytes(4000)  # as long as the record of a visit


class _Work:
    def ask(self, _request: bytes) -> bytes:
        return REPLY

    def stop(self) -> None:
        pass


async def main(address: str, count: int) -> None:
    work, connection = cast(PipeLink, _Work()), Connection(address, None)
    agent._work.append(work)
    with tempfile.TemporaryDirectory() as folder:
        workers = [await agent._join(f"agent{number}", connection, work, folder) for number in range(count)]
        print(f"{count} agents", flush=True)
        await workers[0].finished()


if __name__ == "__main__":
    dask_process.prepare()
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
