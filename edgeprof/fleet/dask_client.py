"""The process behind all links to agents of one scheduler: reads requests, has Dask bring them there, writes replies.

It works on any number of requests at once, in one thread; each has a number, and one that is taken back, or whose
agent goes away, is nothing to the others. Where the scheduler cannot be reached, or goes away, it writes the reason and
ends. When its standard input closes it ends at once: the scheduler then takes back all of its requests, and the
agents stop working on them.
"""

import asyncio
import contextlib
import os
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import msgspec

from edgeprof.errors import DeviceLost, RunError
from edgeprof.fleet import dask_process, frames
from edgeprof.fleet.agent import MACHINE, answer, takes_machine
from edgeprof.fleet.dask_messages import Answered, Ask, Ended, Lost, TakeBack, ToClient, ToLinks
from edgeprof.fleet.dask_process import Connection

LOST_CODE = 3

CONNECTIONS = 64
"""To the scheduler, beside the one that requests take: for finding agents and fetching replies."""


class SchedulerLost(DeviceLost):
    """No request that is in progress will have a reply."""


def main(address: str, certificates: str) -> None:
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    loop = asyncio.new_event_loop()
    messages: asyncio.Queue[bytes] = asyncio.Queue()
    threading.Thread(target=_read, args=(loop, messages), daemon=True).start()
    dask_process.prepare()
    connection = Connection(address, Path(certificates) if certificates else None)
    loop.run_until_complete(DaskClient(connection, replies).serve(messages))


def _read(loop: asyncio.AbstractEventLoop, messages: "asyncio.Queue[bytes]") -> None:
    with contextlib.suppress(RunError):
        while (message := frames.read_frame(sys.stdin.buffer)) is not None:
            loop.call_soon_threadsafe(messages.put_nowait, message)
    os._exit(0)


class DaskClient:
    """Asks agents through their scheduler.

    Args:
        replies: where they are written.
    """

    def __init__(self, connection: Connection, replies: BinaryIO) -> None:
        self._connection, self._replies = connection, replies
        self._working: dict[int, asyncio.Task[None]] = {}
        self._dask: Any = None

    async def serve(self, messages: "asyncio.Queue[bytes]") -> None:
        try:
            self._dask = await connected(self._connection)
        except DeviceLost as lost:
            self._end(lost)
        while True:
            match msgspec.msgpack.decode(await messages.get(), type=ToClient):
                case Ask(number=number) as asked:
                    self._working[number] = asyncio.create_task(self._answer(asked))
                case TakeBack(number=number):
                    if task := self._working.pop(number, None):
                        task.cancel()

    async def _answer(self, asked: Ask) -> None:
        try:
            reply = await self._reply(asked.agent, asked.request)
        except asyncio.CancelledError:
            if asked.number in self._working:  # it was not taken back: Dask gave up
                self._end(SchedulerLost(*self._scheduler_gone))
            return
        except SchedulerLost as lost:
            self._end(lost)
        except DeviceLost as lost:
            self._write(Lost(number=asked.number, what=lost.what, next_step=lost.next_step))
        else:
            self._write(Answered(number=asked.number, reply=reply))
        self._working.pop(asked.number, None)

    async def _reply(self, name: str, request: bytes) -> bytes:
        """Have an agent answer a request.

        Raises:
            SchedulerLost: the connection to the scheduler broke.
            DeviceLost: the agent has not joined, went away, or replied with what is not bytes.
        """
        task = None
        try:
            at = await self._dask.scheduler.agent_address(name=name)
            if at is None:
                raise DeviceLost(
                    f"No agent called {name} has joined the scheduler at {self._connection.address}.",
                    f"Run on the device: edgeprof agent --name {name} --scheduler {self._connection.address}",
                )
            slot = {MACHINE: 1} if takes_machine(request) else None
            task = self._dask.submit(
                answer, version("edgeprof"), request, workers=[at], resources=slot, pure=False, retries=0
            )
            return await self._fetched(name, task)
        except DeviceLost:
            raise
        except Exception as problem:
            raise self._lost(name, problem) from problem
        finally:
            if task is not None:
                task.release()  # the scheduler takes it back, if it is not done

    async def _fetched(self, name: str, task: Any) -> bytes:
        """The reply of a task, once it is there. `Future.result` would fetch again and again where that fails."""
        if problem := await task.exception():  # waits
            raise problem
        if task.status == "cancelled":  # the client has lost the scheduler, and forgotten what it asked
            raise SchedulerLost(*self._scheduler_gone)
        response = await self._dask.scheduler.gather(keys=[task.key])
        reply = response["data"].get(task.key) if response["status"] == "OK" else None
        if type(reply) is not bytes:
            raise DeviceLost(
                f"The reply of {name} could not be fetched, or was refused.",
                f"Check that {name} is still there, and that the machine of the scheduler can connect to it.",
            )
        return reply

    @property
    def _scheduler_gone(self) -> tuple[str, str]:
        return f"The scheduler at {self._connection.address} went away.", "Start it again: edgeprof fleet scheduler"

    def _lost(self, name: str, problem: Exception) -> DeviceLost:
        """Why a request has no reply."""
        reason = dask_process.cause(problem)
        if any(error in str(problem) for error in GONE):
            return DeviceLost(
                f"{name} went away: its agent ended, or the connection to it broke.", "Start its agent again."
            )
        if isinstance(problem, OSError):
            kind = DeviceLost if self._dask.status == "running" else SchedulerLost
            return kind(*self._scheduler_gone)
        if isinstance(problem, dask_process.Refused) or "Data serialized with" in reason:
            return DeviceLost(f"{name} sent what is not a reply, and was refused: {reason}.")
        return DeviceLost(f"{name} cannot work on the request: {reason}.", "Install the same edgeprof on it.")

    def _write(self, message: ToLinks) -> None:
        frames.write_frame(self._replies, msgspec.msgpack.encode(message))

    def _end(self, lost: DeviceLost) -> NoReturn:
        self._write(Ended(what=lost.what, next_step=lost.next_step))
        os._exit(LOST_CODE)


GONE = ("KilledWorker", "NoValidWorkerError", "NoWorkerError")
"""Dask's errors of a worker that went away; they come as pickles, which are refused by their names."""


async def connected(connection: Connection) -> Any:
    """A client of Dask, whose methods are coroutines.

    Raises:
        DeviceLost: the scheduler cannot be reached.
    """
    from distributed import Client

    try:
        dask_process.require_listening(connection)
        return await Client(
            connection.address,
            asynchronous=True,
            security=dask_process.security(connection),
            timeout=dask_process.CONNECT_S,
            connection_limit=CONNECTIONS,
            direct_to_workers=False,
            set_as_default=False,
            serializers=["msgpack"],
            deserializers=["msgpack"],
        )
    except (OSError, ValueError) as problem:
        if dask_process.is_not_trusted(problem):
            next_step = "Use certificates of one authority here and there: edgeprof fleet certs --help"
        else:
            next_step = "Start it with edgeprof fleet scheduler."
        raise DeviceLost(
            f"The scheduler at {connection.address} cannot be reached: {dask_process.cause(problem)}.", next_step
        ) from problem


if __name__ == "__main__":
    main(*sys.argv[1:])
