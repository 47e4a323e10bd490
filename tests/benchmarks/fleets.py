"""A scheduler and agents on this machine's loopback, for benchmarks of a fleet."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.benchmarks.harness import Failed

ROOT = Path(__file__).parents[2]
READY_S = 60


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextlib.contextmanager
def process(
    work: Path, name: str, ready: str, *words: str | Path, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs in the background, from the line that says it is ready on."""
    log = work / f"{name}.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            list(map(str, words)),
            cwd=work,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + READY_S
        while ready not in log.read_text():
            if child.poll() is not None or time.monotonic() > until:
                raise Failed(f"{name} is not ready:\n{log.read_text()}")
            time.sleep(0.1)
        yield child
    finally:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(20)
        child.kill()
        child.wait()


@contextlib.contextmanager
def scheduler(work: Path, names: Sequence[str]) -> Iterator[str]:
    """A scheduler, and a fleet.toml in `work` with agents of these names; its address."""
    address = f"tcp://127.0.0.1:{free_port()}"
    devices = "".join(f'[devices.{name}]\naddress = "agent"\n' for name in names)
    (work / "fleet.toml").write_text(f'scheduler = "{address}"\n{devices}')
    words = (sys.executable, "-m", "edgeprof", "fleet", "scheduler")
    with process(work, "scheduler", "Agents can join", *words):
        yield address


@contextlib.contextmanager
def agent(work: Path, name: str, address: str, *words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """An agent with a cache of its own; `words` run another program in its place."""
    command = words or (sys.executable, "-m", "edgeprof", "agent", "--name", name, "--scheduler", address)
    own = {"EDGEPROF_CACHE": str(work / f"cache-{name}"), "PYTHONPATH": str(ROOT)}
    with process(work, name, "has joined", *command, **own) as child:
        yield child
