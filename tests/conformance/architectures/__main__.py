"""`make conformance`: a tiny model of every architecture, through every command.

Each is exported and verified against PyTorch, quantized to int8, profiled at one length and explained; graphs of fixed
shapes are made where they can be. One process at a time, bounded in time and memory. The table goes into
docs/architectures.md.
"""

import sys

from . import ARCHITECTURES, find, page, worker


def main(names: list[str]) -> int:
    """All, or those of these names; 1 if there is any outcome that should not be."""
    wrong = False
    for tiny in map(find, names) if names else ARCHITECTURES:
        one = worker.ask(tiny)
        page.write({tiny.name: one})
        print(page.row(tiny, one), *one.refusals, *one.failures, sep="\n  ", flush=True)
        wrong |= bool(one.failures)
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
