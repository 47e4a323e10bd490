"""Devices whose agents have joined one scheduler of Dask: asked through a child process that all of them share.

That process is the client of the scheduler (`dask_client`). A link is no more than a name and the number of the
request that it waits for.
"""

import itertools
import queue
import threading
from concurrent.futures import CancelledError, Future

import msgspec

from edgeprof import process
from edgeprof.errors import DeviceLost, UsageError
from edgeprof.fleet.certificates import CLIENT
from edgeprof.fleet.dask_messages import Answered, Ask, Ended, Lost, TakeBack, ToClient, ToLinks
from edgeprof.fleet.dask_process import Connection, connection
from edgeprof.fleet.inventory import FILE, Inventory
from edgeprof.fleet.links import not_asked
from edgeprof.fleet.pipe import Pipe, local_command


class DaskLink:
    """A device by the name under which its agent joined."""

    def __init__(self, name: str, client: "SharedClient") -> None:
        self.name = name
        self._client = client
        self._asked: Asked | None = None
        self._in_turn = threading.Lock()
        self._closed = False

    def ask(self, request: bytes, timeout_s: float | None = None) -> bytes:
        with self._in_turn:
            if self._closed:
                raise not_asked(self.name)
            asked = self._asked = self._client.send(self.name, request)
            if self._closed:  # meanwhile, by another thread
                self.stop()
            try:
                return asked.result(timeout_s)
            except TimeoutError as problem:
                assert timeout_s is not None
                raise process.too_late(f"{self.name} did not reply", timeout_s) from problem
            except CancelledError:
                raise not_asked(self.name) from None
            finally:
                self._client.take_back(asked)

    def stop(self) -> None:
        """End what the device works on for this link, from any thread; `ask` then raises DeviceLost."""
        if asked := self._asked:
            self._client.take_back(asked)

    def close(self) -> None:
        self._closed = True
        self.stop()
        with self._in_turn:
            pass


class Asked(Future[bytes]):
    """A request that was sent, until its reply is there."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class SharedClient:
    """The client of a scheduler, for all links to its agents.

    Its process is started by the first request, and anew by the next one after it ended. Two threads of this process
    belong to it: one reads, one writes.
    """

    def __init__(self, connection: Connection) -> None:
        self._command = local_command(
            "edgeprof.fleet.dask_client", connection.address, str(connection.certificates or "")
        )
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int, Asked] = {}
        self._pipe: Pipe | None = None
        self._messages: queue.SimpleQueue[bytes | None]

    def send(self, agent: str, request: bytes) -> Asked:
        """Have an agent answer a request."""
        with self._lock:
            if self._pipe is None:
                self._start()
            asked = Asked(next(self._numbers))
            self._waiting[asked.number] = asked
            self._put(Ask(number=asked.number, agent=agent, request=request))
            return asked

    def take_back(self, asked: Asked) -> None:
        """Cancel a request, unless it was answered already."""
        if self._no_longer_waiting(asked.number):
            asked.cancel()
            with self._lock:
                self._put(TakeBack(number=asked.number))

    def close(self) -> None:
        with self._lock:
            if pipe := self._pipe:
                pipe.kill()
        if pipe:
            self._reader.join()

    def _put(self, message: ToClient) -> None:
        self._messages.put(msgspec.msgpack.encode(message))

    def _start(self) -> None:
        self._pipe, self._messages = Pipe("The client of the scheduler", self._command), queue.SimpleQueue()
        threading.Thread(target=_write, args=(self._pipe, self._messages), daemon=True).start()
        self._reader = threading.Thread(target=self._read, args=(self._pipe, self._messages), daemon=True)
        self._reader.start()

    def _read(self, pipe: Pipe, messages: "queue.SimpleQueue[bytes | None]") -> None:
        """Hand out replies until the process ends; what waits by then is lost."""
        reason: DeviceLost | Ended | None = None
        try:
            pipe.greeted()
            while (frame := pipe.read()) is not None:
                match msgspec.msgpack.decode(frame, type=ToLinks):
                    case Answered(number=number, reply=reply):
                        if asked := self._no_longer_waiting(number):
                            asked.set_result(reply)
                    case Lost(number=number, what=what, next_step=next_step):
                        if asked := self._no_longer_waiting(number):
                            asked.set_exception(DeviceLost(what, next_step))
                    case Ended() as ended:
                        reason = ended
        except DeviceLost as problem:  # another version of edgeprof
            pipe.kill()
            reason = problem
        messages.put(None)
        end = pipe.end()
        with self._lock:
            self._pipe, lost, self._waiting = None, self._waiting, {}
        for asked in lost.values():
            asked.set_exception(DeviceLost((reason or end).what, (reason or end).next_step))

    def _no_longer_waiting(self, number: int) -> Asked | None:
        """The request of a number, whose end is now the caller's to tell; None: it was taken back."""
        with self._lock:
            return self._waiting.pop(number, None)


def shared_client(device: str, inventory: Inventory, insecure: bool) -> SharedClient:
    """The client of the scheduler of an inventory, for a device and all others that are reached through it.

    Raises:
        MissingExtra: Dask is not installed.
        UsageError: the inventory names no scheduler, or one that cannot be reached safely.
    """
    if not inventory.scheduler:
        raise UsageError(
            f"{device} is reached through a scheduler, and {inventory.file or FILE} names none.",
            f'Add a line at its top: scheduler = "tls://{this_host()}:8786"',
        )
    return SharedClient(connection(inventory.scheduler, inventory.certificates / CLIENT, insecure))


def this_host() -> str:
    import platform

    return platform.node() or "workstation"


def _write(pipe: Pipe, messages: "queue.SimpleQueue[bytes | None]") -> None:
    """Write what is to be sent, until the process ends."""
    while (message := messages.get()) is not None:
        try:
            pipe.write(message)
        except (OSError, ValueError):
            return
