"""The process behind a link to an agent: reads requests, has Dask bring them to the agent, writes replies.

Where the agent cannot be reached, it prints the reason as its last line, and ends. When its standard input closes it
ends at once, whatever it waits for: the scheduler then takes the request back, and the agent stops working on it.
"""

import asyncio
import os
import queue
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from edgeprof.errors import DeviceLost
from edgeprof.fleet import dask_process, frames
from edgeprof.fleet.agent import MACHINE, answer
from edgeprof.fleet.dask_process import Connection
from edgeprof.fleet.messages import Failed

LOST_CODE = 3


def main(address: str, name: str, certificates: str) -> None:
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    dask_process.prepare()
    try:
        client = _connected(Connection(address, Path(certificates) if certificates else None))
        while True:
            frames.write_frame(replies, _ask(client, address, name, requests.get()))
    except DeviceLost as lost:
        _end(lost)


def _read(requests: "queue.SimpleQueue[bytes]") -> None:
    while (request := frames.read_frame(sys.stdin.buffer)) is not None:
        requests.put(request)
    os._exit(0)


def _connected(connection: Connection) -> Any:
    from distributed import Client

    try:
        dask_process.require_listening(connection)
        return Client(
            connection.address,
            security=dask_process.security(connection),
            timeout=dask_process.CONNECT_S,
            direct_to_workers=False,
            set_as_default=False,
            serializers=["msgpack"],
            deserializers=["msgpack"],
        )
    except (OSError, ValueError) as problem:
        raise DeviceLost(
            f"The scheduler at {connection.address} cannot be reached: {dask_process.cause(problem)}.",
            "Start it with edgeprof fleet scheduler.",
        ) from problem


def _ask(client: Any, address: str, name: str, request: bytes) -> bytes:
    """Have the agent answer a request.

    Raises:
        DeviceLost: it has not joined, went away, or replied with what is not bytes.
    """
    try:
        known = client.sync(client.scheduler.identity, n_workers=-1)["workers"]
        agents = [at for at, agent in known.items() if agent["name"] == name]
        if not agents:
            raise DeviceLost(
                f"No agent called {name} has joined the scheduler at {address}.",
                f"Run on the device: edgeprof agent --name {name} --scheduler {address}",
            )
        task = client.submit(
            answer, version("edgeprof"), request, workers=agents, resources={MACHINE: 1}, pure=False, retries=0
        )
        return _fetched(client, name, task)
    except DeviceLost:
        raise
    except BaseException as problem:
        raise _lost(name, address, problem) from problem


def _fetched(client: Any, name: str, task: Any) -> bytes:
    """The reply of a task, once it is there. `Future.result` would fetch again and again where that fails."""
    if problem := task.exception():  # waits
        raise problem
    if task.status == "cancelled":  # the client has lost the scheduler, and forgotten what it asked
        raise asyncio.CancelledError
    response = client.sync(client.scheduler.gather, keys=[task.key])
    reply = response["data"].get(task.key) if response["status"] == "OK" else None
    if type(reply) is not bytes:
        raise DeviceLost(
            f"The reply of {name} could not be fetched, or was refused.",
            f"Check that {name} is still there, and that the machine of the scheduler can connect to it.",
        )
    return reply


GONE = ("KilledWorker", "NoValidWorkerError", "NoWorkerError")
"""Dask's errors of a worker that went away; they come as pickles, which are refused by their names."""


def _lost(name: str, address: str, problem: BaseException) -> DeviceLost:
    """Why a request has no reply."""
    reason = dask_process.cause(problem)
    if any(error in str(problem) for error in GONE):
        return DeviceLost(
            f"{name} went away: its agent ended, or the connection to it broke.", "Start its agent again."
        )
    if isinstance(problem, (asyncio.CancelledError, OSError)):
        return DeviceLost(f"The scheduler at {address} went away.", "Start it again: edgeprof fleet scheduler")
    if isinstance(problem, dask_process.Refused) or "Data serialized with" in reason:
        return DeviceLost(f"{name} sent what is not a reply, and was refused: {reason}.")
    return DeviceLost(f"{name} cannot work on the request: {reason}.", "Install the same edgeprof on it.")


def _end(lost: DeviceLost) -> NoReturn:
    sys.stderr.buffer.write(
        b"\n" + msgspec.json.encode(Failed(error="DeviceLost", what=lost.what, next_step=lost.next_step))
    )
    sys.stderr.flush()
    os._exit(LOST_CODE)


if __name__ == "__main__":
    main(*sys.argv[1:])
