"""`make bench`: run every benchmark, one after the other, and write RESULTS.md."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from edgeprof.measure import machine
from tests.benchmarks import (
    discovery,
    explain_cost,
    export_cost,
    overhead,
    placing,
    precision,
    quantized_bytes,
    quantized_latency,
    recipes,
)

BENCHMARKS = (
    precision,
    export_cost,
    recipes,
    quantized_bytes,
    quantized_latency,
    explain_cost,
    discovery,
    placing,
    overhead,
)
RESULTS = Path(__file__).with_name("RESULTS.md")
HEAD = """# Benchmarks

Written by `make bench`. Ratios are of things measured in turn (A B A B ...), each in a process of its own.
"""


def main(names: list[str]) -> None:
    """Run all benchmarks, or those named; the others keep what they found last."""
    sections = _sections()
    for benchmark in BENCHMARKS:
        if names and benchmark.__name__.rpartition(".")[2] not in names:
            continue
        print(f"== {benchmark.TITLE}", flush=True)
        text = "\n".join([(benchmark.__doc__ or "").strip(), "", *_here(), "", *benchmark.run()])
        print(text, flush=True)
        sections[benchmark.TITLE] = text
        body = [f"## {title}\n\n{text}\n" for title, text in sections.items()]
        RESULTS.write_text("\n".join([HEAD, *body]))


def _sections() -> dict[str, str]:
    """Title and text of every benchmark, as RESULTS.md has it now."""
    known = RESULTS.read_text().split("\n## ")[1:] if RESULTS.exists() else []
    found = dict(section.split("\n", 1) for section in known)
    return {benchmark.TITLE: found.get(benchmark.TITLE, "Not run yet.").strip() for benchmark in BENCHMARKS}


def _here() -> list[str]:
    here = machine.describe()
    versions = ", ".join(f"{name} {version}" for name, version in here.versions.items())
    memory_gib = here.memory_bytes / 2**30
    return [
        f"- {datetime.now(UTC):%Y-%m-%d}, {here.cpu}, {here.cores_allowed} cores, {memory_gib:.0f} GiB, {here.os}",
        f"- {', '.join(here.cpu_features)}",
        f"- {versions}",
    ]


main(sys.argv[1:])
