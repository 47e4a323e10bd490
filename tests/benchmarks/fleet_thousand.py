"""What a fleet of 1,000 devices costs the workstation: measured with 25 and 100 agents, and extrapolated.

The scheduler is a process of its own; all agents share another process, and answer requests at once. Processor time is
the scheduler's alone. While they wait, what takes time is heartbeats, whose interval Dask lengthens with the number of
agents; while they work an agent sends none. A request is one visit: its cost is the scheduler's, whoever is asked.

Extrapolated to 1,000: memory in proportion to agents, heartbeats by the interval that Dask uses for as many agents,
requests as with 100. The command that asks, and the client process that its links share, are measured while all agents
are asked at once, each in a thread: the most that they take.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.benchmarks import fleets
from tests.benchmarks.harness import HERE, python

TITLE = "Fleet of 1,000: what it costs the workstation"
SIZES = (25, 100)
IDLE_S = 30
REQUESTS = 10  # to each agent
MANY = 1000


def run() -> list[str]:
    lines = [
        "| agents | memory of the scheduler, MB | waiting: share of a core | each heartbeat, ms | each request, ms "
        "| memory of the command, MB | memory of its client process, MB |",
        "|---|---|---|---|---|---|---|",
    ]
    found = {size: _fleet(size) for size in SIZES}
    for size, (memory_mb, idle, request_ms, *asking_mb) in found.items():
        beat_ms = 1e3 * idle * _interval_s(size) / size
        asking = " | ".join(f"{each:.0f}" for each in asking_mb)
        lines.append(f"| {size} | {memory_mb:.0f} | {idle:.2%} | {beat_ms:.2f} | {request_ms:.2f} | {asking} |")
    (few, many), (low, high) = SIZES, (found[SIZES[0]], found[SIZES[1]])
    beat_s = high[1] * _interval_s(many) / many
    memory_mb, *asking_mb = (
        more + (more - less) / (many - few) * (MANY - many)
        for less, more in ((low[column], high[column]) for column in (0, 3, 4))
    )
    asking = " | ".join(f"{each:.0f}" for each in asking_mb)
    last = f"{memory_mb:.0f} | {beat_s * MANY / _interval_s(MANY):.2%} | {1e3 * beat_s:.2f} | {high[2]:.2f} | {asking}"
    return [*lines, f"| {MANY:,}, extrapolated | {last} |"]


def _interval_s(agents: int) -> float:
    """Between heartbeats of an agent, of a scheduler with so many."""
    from distributed.scheduler import heartbeat_interval

    return float(heartbeat_interval(agents))


def _fleet(size: int) -> tuple[float, float, float, float, float]:
    """Memory of the scheduler in MB; share of a core while all wait; ms of a request; memory of command and client."""
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        with fleets.scheduler(work, []) as address:
            scheduler = _process_at(int(address.rpartition(":")[2]))
            words = (sys.executable, HERE / "many_agents.py", address, str(size))
            with fleets.process(work, "agents", f"{size} agents", *words):
                time.sleep(5)
                before = _spent_s(scheduler)
                time.sleep(IDLE_S)
                idle = (_spent_s(scheduler) - before) / IDLE_S
                memory_mb = scheduler.memory_info().rss / 1e6
                before, started = _spent_s(scheduler), time.monotonic()
                words = (HERE / "many_requests.py", address, str(size), str(REQUESTS))
                told = json.loads(python(*words, cwd=work).output.splitlines()[-1])
                waited = idle * (time.monotonic() - started)
                request_ms = 1e3 * (_spent_s(scheduler) - before - waited) / (size * REQUESTS)
                return memory_mb, idle, request_ms, told["most_bytes"] / 1e6, told["client_most_bytes"] / 1e6


def _process_at(port: int) -> psutil.Process:
    """The process that listens."""
    listening = (one for one in psutil.net_connections("tcp") if one.status == "LISTEN" and one.laddr.port == port)
    return psutil.Process(next(listening).pid)


def _spent_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
