"""The agent of a device: one worker of Dask, with one slot, which hands requests to the process that does the work.

That process (`edgeprof.api.device_work`) is a child of the agent and is killed when a request is taken back, when the
scheduler goes away, and when the agent ends. While it works, the agent sends nothing and wakes for nothing; but whoever
asks what the device is, and what it is busy with, is told at once, by another process that ends with that.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import msgspec

from edgeprof import store
from edgeprof.errors import EdgeprofError
from edgeprof.fleet import dask_process
from edgeprof.fleet.dask_process import Connection
from edgeprof.fleet.messages import AT_ONCE, Failed
from edgeprof.fleet.pipe import local_command
from edgeprof.fleet.pipe_link import PipeLink

MACHINE = "machine"
"""Dask's resource of which every agent has one, and every request takes one, but that to describe itself."""

THREADS = 2
"""One for the request that takes the machine, one for descriptions meanwhile."""

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
JOIN_S = 20

Say = Callable[[str], None]

_links: list[PipeLink] = []  # to what does the work, and to what describes the device; if this process is an agent


def takes_machine(request: bytes) -> bool:
    """Whether a device works on it alone."""
    return request != AT_ONCE


def answer(their_version: str, request: bytes) -> bytes:
    """On the device: the reply to a request, errors included; the one function that Dask runs there."""
    try:
        if not _links:
            raise EdgeprofError("This is not an agent.")
        here = version("edgeprof")
        if their_version != here:
            raise EdgeprofError(
                f"The agent has edgeprof {here}, the command {their_version}.", "Install the same on both."
            )
        work, describing = _links
        if takes_machine(request):
            return work.ask(request)
        try:
            return describing.ask(request)
        finally:
            describing.end()
    except EdgeprofError as problem:
        failed = Failed(error=type(problem).__name__, what=problem.what, next_step=problem.next_step)
        return msgspec.msgpack.encode(failed)


def serve(name: str, connection: Connection, say: Say) -> None:
    """Be the agent of this machine, until the process is ended; a scheduler that goes away is awaited."""
    dask_process.prepare()
    with contextlib.ExitStack() as stack:
        _links.extend(stack.enter_context(contextlib.closing(PipeLink(name, local_command()))) for _ in range(THREADS))
        asyncio.run(_serve(name, connection, _links[0], say))


async def _serve(name: str, connection: Connection, work: PipeLink, say: Say) -> None:
    wait = FIRST_WAIT_S
    while True:
        try:
            worker = await asyncio.wait_for(_join(name, connection, work), JOIN_S)
        except (OSError, ValueError, RuntimeError, TimeoutError) as problem:
            reason = dask_process.cause(problem)
            if "name taken" in reason:
                reason = f"another agent called {name} has joined already"
            say(f"{connection.address}: {reason}. Trying again in {wait:g} s.")
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_S)
            continue
        wait = FIRST_WAIT_S
        say(f"{name} has joined {connection.address}, and waits for work.")
        await worker.finished()
        say(f"{connection.address} went away.")


async def _join(name: str, connection: Connection, work: PipeLink) -> Any:
    """The worker, registered with the scheduler.

    Raises:
        OSError: the scheduler cannot be reached, or one of the certificates is not trusted.
        ValueError: another agent has this name.
    """
    from distributed.comm import connect

    dask_process.require_listening(connection)
    security = dask_process.security(connection)
    comm = await connect(connection.address, **security.get_connection_args("worker"))  # a worker would try for ever
    await comm.close()
    return await _worker_class()(
        connection.address,
        name=name,
        nthreads=THREADS,
        executor=ThreadPoolExecutor(THREADS),  # Dask's own has idle threads look for work every second
        memory_limit=0,
        resources={MACHINE: 1},
        security=security,
        local_directory=str(store.cache_folder() / "agent"),  # where Dask removes what killed workers left
        plugins=[_quiet_plugin(work)],
        dashboard=False,
        extensions={},
    )


def _worker_class() -> Any:
    from distributed import Worker

    class AgentWorker(Worker):  # type: ignore[misc]
        """A worker that answers requests, and no other calls; without an HTTP server."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            dask_process.keep_handlers(self, OPERATIONS)

        def start_http_server(self, *_args: Any, **_options: Any) -> None:
            pass

        async def close(self, *args: Any, **options: Any) -> Any:
            for link in _links:
                link.stop()  # Dask would wait for it
            return await super().close(*args, **options)

    return AgentWorker


OPERATIONS = ("identity", "connection_stream", "get_data", "free_keys", "ping", "terminate")


def _quiet_plugin(work: PipeLink) -> Any:
    from distributed import WorkerPlugin

    class Quiet(WorkerPlugin):  # type: ignore[misc]
        """Stops what happens at intervals while a request is worked on, and the work when it is taken back."""

        def setup(self, worker: Any) -> None:
            self.callbacks, self.tasks = worker.periodic_callbacks, worker.state.tasks
            self.working_on = ""

        def transition(self, key: str, start: str, finish: str, **_: Any) -> None:
            if finish == "executing" and self.tasks[key].resource_restrictions:
                self.working_on = key
                for callback in self.callbacks.values():
                    callback.stop()
            elif start == "executing" and key == self.working_on:
                self.working_on = ""
                for callback in self.callbacks.values():
                    callback.start()
                if finish not in ("memory", "error"):
                    work.stop()

    return Quiet()
