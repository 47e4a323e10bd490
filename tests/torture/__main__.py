"""`make torture`: commands are killed at random moments, raced against each other, run out of disk and have their files
replaced. Afterwards all that was finished has to be valid, and the same command has to take it up. Some minutes.
"""

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from edgeprof.errors import EdgeprofError
from tests.benchmarks import results
from tests.torture.commands import export, quantize, whole
from tests.torture.ordeals import ORDEALS

TITLE = "Torture: kills, races, full disks, replaced files"


def main(names: list[str]) -> int:
    """All ordeals, or those named; 1 if something was lost in one."""
    seed = random.randrange(10**6)
    random.seed(seed)
    print(f"seed {seed}", flush=True)
    lines, harm = ["| ordeal | tries | how they went | lost |", "|---|---|---|---|"], 0
    with tempfile.TemporaryDirectory() as scratch:
        at = Path(scratch)
        whole(at, export(at))
        whole(at, quantize(at))
        for ordeal, tries in ORDEALS.items():
            if names and ordeal.__name__ not in names:
                continue
            went: Counter[str] = Counter()
            lost = "nothing"
            try:
                for outcome in ordeal(at, tries):
                    went[outcome] += 1
            except (AssertionError, EdgeprofError) as problem:
                lost, harm = " ".join(str(problem).split())[:300] or "something", 1
            summary = ", ".join(f"{count} x {outcome}" for outcome, count in sorted(went.items()))
            lines.append(f"| {ordeal.__name__.replace('_', ' ')} | {went.total()} | {summary} | {lost} |")
            print(lines[-1], flush=True)
    if not names:
        results.write(TITLE, (__doc__ or "").strip(), lines)
    return harm


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
