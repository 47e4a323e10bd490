"""The scheduler that agents join and requests go through: Dask's, for registering, submitting and gathering alone."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from edgeprof.errors import UsageError
from edgeprof.fleet import dask_process
from edgeprof.fleet.dask_process import Connection
from edgeprof.fleet.inventory import scheduler_parts

OPERATIONS = (
    "agent_address",
    "connection_stream",
    "gather",
    "heartbeat_worker",
    "identity",
    "register-client",
    "register-worker",
    "unregister",
)


def serve(connection: Connection, say: Callable[[str], None]) -> None:
    """Be the scheduler of an address, until the process is ended. TLS is served on every interface.

    Raises:
        UsageError: the port is in use, or a certificate cannot be used.
    """
    _open_many_files()
    dask_process.prepare()
    asyncio.run(_serve(connection, say))


def _open_many_files() -> None:
    """Open as many files as the system lets this process: a few are connections to each device."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limit
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(connection: Connection, say: Callable[[str], None]) -> None:
    scheme, host, port = scheduler_parts(connection.address)
    try:
        scheduler = await _scheduler_class()(
            host="" if scheme == "tls" else host,
            port=port,
            protocol=f"{scheme}://",
            security=dask_process.security(connection),
            dashboard=False,
            extensions={},
        )
    except (OSError, RuntimeError) as problem:  # Dask's error has the system's as its cause
        raise UsageError(
            f"The scheduler cannot listen at {connection.address}: {dask_process.cause(problem)}.",
            "Name another --address, also in fleet.toml.",
        ) from problem
    say(f"Agents can join {connection.address}.")
    await scheduler.finished()


def _scheduler_class() -> Any:
    from distributed import Scheduler

    class FleetScheduler(Scheduler):  # type: ignore[misc]
        """A scheduler that takes no other calls than those above; without an HTTP server."""

        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.handlers["agent_address"] = self.agent_address
            dask_process.keep_handlers(self, OPERATIONS)

        def agent_address(self, name: str) -> str | None:
            """Where the agent of a name is; None: none has joined. Dask's own calls tell this of all at once."""
            return self.aliases.get(name)  # type: ignore[no-any-return]

        def start_http_server(self, *_args: Any, **_options: Any) -> None:
            pass

    return FleetScheduler
