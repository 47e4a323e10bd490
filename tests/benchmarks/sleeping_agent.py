"""An agent whose device sleeps in place of measuring: python sleeping_agent.py NAME ADDRESS."""

import functools
import sys
from pathlib import Path

from edgeprof.fleet import agent
from edgeprof.fleet.dask_process import Connection

ROOT = Path(__file__).parents[2]


def main(name: str, address: str) -> None:
    own = agent.local_command
    agent.local_command = lambda: own("tests.benchmarks.sleeping_device")  # type: ignore[assignment]
    agent.serve(name, Connection(address, None), functools.partial(print, flush=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
