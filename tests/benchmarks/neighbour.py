"""Other work on the machine, made to measure: a process that burns one core, or one that streams memory, in bursts.

Run as a script: `neighbour.py burn` or `neighbour.py stream`, until it is killed.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

ON_S, OFF_S = 2.0, 3.0
KINDS = ("none", "burn", "stream")


@contextlib.contextmanager
def beside(kind: str) -> Iterator[None]:
    """Run a neighbour of a kind while the block runs; "none" runs nothing."""
    if kind == "none":
        yield
        return
    with subprocess.Popen([sys.executable, __file__, kind]) as process:
        try:
            yield
        finally:
            process.kill()


def main(kind: str) -> None:
    import numpy as np

    block, count = np.ones(1 << 24, np.float32), 0  # 64 MiB, more than the caches
    while True:
        end = time.monotonic() + ON_S
        while time.monotonic() < end:
            if kind == "stream":
                block += 1.0
            else:
                count += sum(range(1000))
        time.sleep(OFF_S)


if __name__ == "__main__":
    main(sys.argv[1])
