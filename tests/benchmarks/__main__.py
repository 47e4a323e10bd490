"""`make bench`: run every benchmark, one after the other, and write RESULTS.md."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from edgeprof.measure import machine
from tests.benchmarks import export_cost, overhead, precision

BENCHMARKS = (precision, export_cost, overhead)
RESULTS = Path(__file__).with_name("RESULTS.md")


def main(names: list[str]) -> None:
    here = machine.describe()
    versions = ", ".join(f"{name} {version}" for name, version in here.versions.items())
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Ratios are of things measured in turn (A B A B ...), each in a process of its own.",
        "",
        f"- date: {datetime.now(UTC):%Y-%m-%d}",
        f"- machine: {here.cpu}, {here.cores_allowed} cores, {here.memory_bytes / 2**30:.0f} GiB, {here.os}",
        f"- CPU features: {', '.join(here.cpu_features)}",
        f"- versions: {versions}",
    ]
    for benchmark in BENCHMARKS:
        if names and benchmark.__name__.rpartition(".")[2] not in names:
            continue
        print(f"== {benchmark.TITLE}", flush=True)
        lines += ["", f"## {benchmark.TITLE}", "", (benchmark.__doc__ or "").strip(), "", *benchmark.run()]
        print("\n".join(lines[-12:]), flush=True)
    if not names:
        RESULTS.write_text("\n".join(lines) + "\n")


main(sys.argv[1:])
