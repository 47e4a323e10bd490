"""Devices that ssh reaches, with a real server: requests, what can be wrong, and connections that break."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest
from transport_parts import Proxy, Server, free_port, save

from edgeprof.errors import DeviceLost
from edgeprof.fleet.links import Link
from edgeprof.fleet.messages import Failed, MeasureCeilings, Reply
from edgeprof.fleet.opening import open_links
from edgeprof.process import ChildTimeout

NOT_A_REQUEST = b"hello"
LONG_WORK = msgspec.msgpack.encode(MeasureCeilings(threads=1, force=True))
"""Takes a minute if nobody stops it."""


def answers(link: Link) -> bool:
    """Whether the other side reads what it is sent: it says that it does not understand it."""
    reply = msgspec.msgpack.decode(link.ask(NOT_A_REQUEST, 60), type=Reply)
    return isinstance(reply, Failed) and "does not understand the request" in reply.what


def workers(sshd: Server) -> set[int]:
    """Processes of a server's sessions that do a device's work, and what those started."""
    found = set()
    for process in psutil.process_iter(["cmdline", "environ"]):
        ours = (process.info["environ"] or {}).get("EDGEPROF_CACHE") == str(sshd.folder / "cache")
        if ours and any("edgeprof." in word for word in process.info["cmdline"] or ()):
            found.add(process.pid)
    return found


def eventually(condition: Callable[[], bool], within_s: float = 20) -> bool:
    end = time.monotonic() + within_s
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return met


class Asked(threading.Thread):
    """A request in the background, and the error it ends with."""

    def __init__(self, link: Link, request: bytes) -> None:
        super().__init__(daemon=True)
        self.link, self.request, self.problem = link, request, None
        self.start()

    problem: Exception | None

    def run(self) -> None:
        try:
            self.link.ask(self.request)
        except DeviceLost as problem:
            self.problem = problem

    def error(self) -> str:
        self.join(30)
        return str(self.problem)


@pytest.fixture
def fleet(tmp_path: Path) -> Callable[[str], Path]:
    return lambda device: save(tmp_path / "fleet.toml", f"[devices.board]\n{device}")


def test_requests_are_answered_in_turn(sshd: Server, fleet: Callable[[str], Path]) -> None:
    with open_links(["board", "local"], fleet=fleet(sshd.device())) as links:
        assert [link.name for link in links] == ["board", "local"]
        for link in links:
            assert answers(link)
            assert answers(link)
    assert eventually(lambda: not workers(sshd))
    with pytest.raises(DeviceLost, match="local is not asked any more"):
        links[1].ask(NOT_A_REQUEST)


def test_what_is_wrong_is_told(sshd: Server, fleet: Callable[[str], Path], tmp_path: Path) -> None:
    base = tmp_path / "base-python"
    base.symlink_to(sys._base_executable)  # type: ignore[attr-defined]
    older = save(tmp_path / "older", "#!/bin/sh\necho 'Welcome!'\necho 'edgeprof device 0.0.1'\ncat > /dev/null\n")
    older.chmod(0o755)
    unknown = [word for word in sshd.options if "UserKnownHosts" not in word] + ["-oUserKnownHostsFile=/dev/null"]
    stranger = [str(sshd.folder / "stranger") if word == str(sshd.folder / "user") else word for word in sshd.options]
    for device, says in (
        (sshd.device(port=free_port()), "board cannot be reached: ssh: connect to host 127.0.0.1"),
        (sshd.device(options=unknown), "board: its host key is not known, or has changed"),
        (sshd.device(options=stranger), "board does not accept your key"),
        (sshd.device(python="/no/such/python"), "board has no Python at /no/such/python"),
        (sshd.device(python=str(base)), "edgeprof is not installed for"),
        (sshd.device(python=str(older)), "board has edgeprof 0.0.1, this machine"),
    ):
        with open_links(["board"], fleet=fleet(device)) as (link,), pytest.raises(DeviceLost) as problem:
            link.ask(NOT_A_REQUEST)
        assert str(problem.value).startswith(says)
        assert ".. " not in str(problem.value)
        assert "\n" not in str(problem.value)


def test_a_broken_connection_ends_the_work_and_is_made_anew(sshd: Server, fleet: Callable[[str], Path]) -> None:
    with Proxy(sshd.port) as proxy, open_links(["board"], fleet=fleet(sshd.device(port=proxy.port))) as (link,):
        asked = Asked(link, LONG_WORK)
        assert eventually(lambda: len(workers(sshd)) > 1)
        proxy.drop()
        assert asked.error().startswith("board cannot be reached")
        assert eventually(lambda: not workers(sshd))
        assert answers(link)


def test_a_late_reply_is_not_awaited(sshd: Server, fleet: Callable[[str], Path]) -> None:
    with open_links(["board"], fleet=fleet(sshd.device())) as (link,):
        with pytest.raises(ChildTimeout, match="board did not reply within 2 s"):
            link.ask(LONG_WORK, 2)
        assert eventually(lambda: not workers(sshd))
        assert answers(link)


def device_work() -> list[psutil.Process]:
    """The process behind a link to this machine."""
    return [child for child in psutil.Process().children() if "edgeprof.api.device_work" in " ".join(child.cmdline())]


def test_a_process_that_ended_between_requests_is_started_anew() -> None:
    with open_links(["local"]) as (link,):
        assert answers(link)
        link.stop()  # type: ignore[attr-defined]
        assert answers(link)
        (process,) = device_work()
        process.kill()
        assert eventually(lambda: process.status() == psutil.STATUS_ZOMBIE)
        assert eventually(lambda: len(list(Path(f"/proc/{process.pid}/task").iterdir())) == 1)  # its threads, too
        assert answers(link)
