"""`make bench`: run every benchmark, one after the other, and write RESULTS.md."""

import sys

from tests.benchmarks import (
    discovery,
    explain_cost,
    export_cost,
    overhead,
    placement_cost,
    precision,
    quantized_bytes,
    quantized_latency,
    recipes,
    results,
)

BENCHMARKS = (
    precision,
    export_cost,
    recipes,
    quantized_bytes,
    quantized_latency,
    explain_cost,
    discovery,
    placement_cost,
    overhead,
)


def main(names: list[str]) -> None:
    """Run all benchmarks, or those named; the others keep what they found last."""
    for benchmark in BENCHMARKS:
        if names and benchmark.__name__.rpartition(".")[2] not in names:
            continue
        print(f"== {benchmark.TITLE}", flush=True)
        print(results.write(benchmark.TITLE, (benchmark.__doc__ or "").strip(), benchmark.run()), flush=True)


main(sys.argv[1:])
