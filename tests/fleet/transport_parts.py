"""Real parts for links: a proxy on loopback that can drop what it carries, commands in the background, free ports."""

import contextlib
import getpass
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from command import command_line

TIMEOUT_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Proxy:
    """Forwards connections on loopback to a port, until they are dropped."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listening.getsockname()[1])
        self.carried: list[tuple[socket.socket, socket.socket]] = []
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listening.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
                self.carried.append((near, far))
                for source, sink in ((near, far), (far, near)):
                    thread = threading.Thread(target=self._carry, args=(source, sink), daemon=True)
                    self.threads.append(thread)
                    thread.start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Cut every connection that is carried now; later ones are carried again."""
        for pair in self.carried:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)
        self.drop()
        for thread in list(self.threads):
            thread.join(5)
        for end in (self.listening, *(end for pair in self.carried for end in pair)):
            end.close()


class Started:
    """A command that runs in the background, and the lines it prints."""

    def __init__(self, words: Sequence[str], **environment: str) -> None:
        self.process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()

    def wait_for(self, text: str, times: int = 1) -> str:
        """The line with a text, once it was printed that often."""

        def found() -> list[str]:
            return [line for line in self.lines if text in line]

        with self._news:
            assert self._news.wait_for(lambda: len(found()) >= times, TIMEOUT_S), (text, self.lines)
            return found()[-1]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(TIMEOUT_S)


@contextlib.contextmanager
def started(words: Sequence[str], **environment: str) -> Iterator[Started]:
    running = Started(words, **environment)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        running.reader.join(5)
        assert running.process.stdout
        running.process.stdout.close()


def save(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@dataclass(frozen=True)
class Server:
    """An ssh server, and what a client needs for it."""

    port: int
    folder: Path

    @property
    def options(self) -> list[str]:
        known, key = self.folder / "known_hosts", self.folder / "user"
        return [
            *("-F", "none", "-i", str(key), "-oIdentitiesOnly=yes", "-oStrictHostKeyChecking=yes"),
            *(f"-oUserKnownHostsFile={known}", "-oHostKeyAlias=device"),
        ]

    def device(self, port: int | None = None, *, python: str = sys.executable, options: list[str] | None = None) -> str:
        """Lines of fleet.toml."""
        return (
            f'address = "ssh://{getpass.getuser()}@127.0.0.1:{port or self.port}"\n'
            f'python = "{python}"\nssh_options = {self.options if options is None else options}\n'
        )


@dataclass(frozen=True)
class Cluster:
    folder: Path
    port: int
    agents: dict[str, Started]

    @property
    def fleet(self) -> Path:
        return self.folder / "fleet.toml"


def agent_line(name: str, port: int, certificates: Path, *more: str) -> list[str]:
    address = f"tls://127.0.0.1:{port}"
    return command_line("agent", "--name", name, "--scheduler", address, "--certs", certificates / name, *more)
