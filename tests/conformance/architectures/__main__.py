"""`make conformance`: a tiny model of every architecture, through every command.

Each is exported and verified against PyTorch, quantized to int8, profiled at one length and explained; graphs of fixed
shapes are made where they can be. One process at a time, bounded in time and memory. The table goes into
docs/architectures.md.
"""

import sys

from . import ARCHITECTURES, page, worker
from .outcome import Outcome


def main(names: list[str]) -> int:
    """All, or those whose names hold one of `names`; 1 if there is any outcome that should not be."""
    outcomes: dict[str, Outcome] = {}
    for tiny in ARCHITECTURES:
        if not names or any(name in tiny.name for name in names):
            one = outcomes[tiny.name] = worker.ask(tiny)
            print(page.row(tiny, one), *one.refusals, *one.failures, sep="\n  ", flush=True)
    if not names:
        page.write(outcomes)
    return any(one.failures for one in outcomes.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
