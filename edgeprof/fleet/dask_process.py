"""What the three kinds of Dask processes share: agent, scheduler, and the client that links to agents share.

Each is a process of its own, because of two settings that hold for a whole process:

- Unpickling is restricted to the names that Dask's own messages need (`_NAMES`). Dask pickles much of what it sends,
  and unpickles whatever arrives; its lists of deserializers do not change that. With the restriction no peer can run
  code: a device that sends a pickle of anything else is refused, and an agent does nothing but `agent.answer`.
- Everything that Dask does at intervals is off, or rare.
"""

import io
import ipaddress
import logging
import os
import pickle
import socket
import ssl
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import msgspec

from edgeprof.errors import MissingExtra, UsageError, first_line
from edgeprof.fleet.certificates import AUTHORITY_CERTIFICATE, CERTIFICATE, KEY
from edgeprof.fleet.inventory import scheduler_parts

NEVER = "9999h"
CONNECT_S = 10

SETTINGS = {
    "distributed.admin.large-graph-warning-threshold": "1GiB",
    "distributed.admin.system-monitor.interval": NEVER,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.admin.tick.interval": NEVER,
    "distributed.admin.tick.cycle": NEVER,
    "distributed.admin.tick.limit": NEVER,
    "distributed.client.heartbeat": "60s",
    "distributed.client.scheduler-info-interval": NEVER,
    "distributed.comm.timeouts.connect": f"{CONNECT_S}s",
    "distributed.comm.timeouts.tcp": "30s",  # the kernel asks whether the other side is there
    "distributed.diagnostics.computations.nframes": 0,
    "distributed.diagnostics.nvml": False,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.http.routes": [],
    "distributed.scheduler.no-workers-timeout": "3s",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-ttl": None,  # an agent is silent while it measures
    "distributed.worker.http.routes": [],
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.profile.enabled": False,
}

LOGGERS = ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application", "asyncio")


class Connection(msgspec.Struct, frozen=True):
    """A scheduler's address, and the certificate to show there; none over plain TCP."""

    address: str
    certificates: Path | None = None


def connection(address: str, certificates: Path, insecure: bool) -> Connection:
    """How to reach, or to be, the scheduler of an address.

    Raises:
        MissingExtra: Dask is not installed.
        UsageError: the address is not one, is plain TCP beyond this machine, or its certificates are not there.
    """
    if find_spec("distributed") is None:
        raise MissingExtra("Working with agents", "distributed", "fleet")
    scheme, host, _ = scheduler_parts(address)
    if scheme == "tcp":
        if not insecure and not _is_loopback(host):
            raise UsageError(
                f"{address} is not encrypted, and not on this machine.",
                "Use tls:// (see: edgeprof fleet certs --help), or add --insecure in a network that you trust.",
            )
        return Connection(address)
    for name in (AUTHORITY_CERTIFICATE, CERTIFICATE, KEY):
        if not (certificates / name).is_file():
            raise UsageError(
                f"There is no certificate in {certificates} ({name} is not there).",
                "Make certificates on the workstation with edgeprof fleet certs NAME, and copy the folder NAME.",
            )
    return Connection(address, certificates.absolute())


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def prepare() -> None:
    """Make this process one of Dask's; before anything of Dask is imported.

    Everything else that runs in it is restricted, too.
    """
    pickle.loads, pickle.load = _loads, _load  # type: ignore[assignment]
    import dask

    dask.config.set(SETTINGS)
    import distributed

    distributed.core.clean_exception = distributed.client.clean_exception = _clean_exception
    if not os.environ.get("EDGEPROF_DEBUG"):
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def security(connection: Connection) -> Any:
    """The `distributed.Security` of a connection: with certificates, nothing but TLS."""
    from distributed.security import Security

    if connection.certificates is None:
        return Security(require_encryption=False)
    certificate, key = (str(connection.certificates / name) for name in (CERTIFICATE, KEY))
    return Security(
        require_encryption=True,
        tls_ca_file=str(connection.certificates / AUTHORITY_CERTIFICATE),
        tls_client_cert=certificate,
        tls_client_key=key,
        tls_scheduler_cert=certificate,
        tls_scheduler_key=key,
        tls_worker_cert=certificate,
        tls_worker_key=key,
    )


def require_listening(connection: Connection) -> None:
    """Fail at once where nothing listens: Dask would try again and again, and say only for how long.

    Raises:
        OSError: with the system's reason.
    """
    _, host, port = scheduler_parts(connection.address)
    socket.create_connection((host.strip("[]"), port), CONNECT_S).close()


def keep_handlers(server: Any, operations: Collection[str]) -> None:
    """Have a scheduler or worker take no other calls than these."""
    server.handlers = {name: handler for name, handler in server.handlers.items() if name in operations}


def cause(problem: BaseException) -> str:
    """The first error of a chain, in which Dask says for how long it tried."""
    problem = _first(problem)
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted here ({problem.verify_message})"
    return getattr(problem, "strerror", None) or first_line(problem)


def is_not_trusted(problem: BaseException) -> bool:
    """Whether the certificate of the other side is the reason."""
    return isinstance(_first(problem), ssl.SSLCertVerificationError)


def _first(problem: BaseException) -> BaseException:
    while inner := problem.__cause__ or problem.__context__:
        problem = inner
    return problem


# --- unpickling ----------------------------------------------------------------------------------------

_NAMES: frozenset[tuple[str, str]] = frozenset(
    {
        ("builtins", "Exception"),
        ("builtins", "bytes"),
        ("dask._expr", "Expr._reconstruct"),
        ("dask._expr", "LLGExpr"),
        ("dask._task_spec", "Task"),
        ("edgeprof.fleet.agent", "answer"),
    }
)


class Refused(pickle.UnpicklingError):
    """A pickle that names what is not allowed here; nothing of it was run."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise Refused(f"a pickle of {module}.{name}")
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        raise Refused("a pickle with outside references")


def _clean_exception(
    exception: Any, traceback: Any = None, **_: Any
) -> tuple[type[BaseException], BaseException, None]:
    """In place of Dask's function, which expects an unpickled traceback beside the error of a peer."""
    if isinstance(exception, (bytes, bytearray)):
        try:
            exception = _loads(exception)
        except Exception as refused:  # noqa: BLE001  (whatever a damaged pickle raises)
            exception = refused
    problem = exception if isinstance(exception, BaseException) else Exception(str(exception))
    return type(problem), problem, None


def _load(file: IO[bytes], **options: Any) -> Any:
    return _Unpickler(file, **options).load()


def _loads(data: Any, /, **options: Any) -> Any:
    return _Unpickler(io.BytesIO(data), **options).load()
