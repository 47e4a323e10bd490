"""`make bench`: run every benchmark, one after the other, and write RESULTS.md."""

import sys

from tests.benchmarks import (
    compare_aa,
    decoder_latency,
    discovery,
    encoder_latency,
    estimators,
    explain_cost,
    export_cost,
    export_depth,
    export_gpt2_bert,
    export_llama,
    export_memory,
    fleet_overhead,
    fleet_scaling,
    fleet_thousand,
    harness_overhead,
    ledger_error,
    overhead,
    placement_cost,
    precision,
    prediction_error,
    quantized_bytes,
    quantized_latency,
    recipes,
    results,
    time_to_interval,
)
from tests.benchmarks.harness import Failed

BENCHMARKS = (
    precision,
    export_cost,
    export_llama,
    export_gpt2_bert,
    export_depth,
    export_memory,
    decoder_latency,
    encoder_latency,
    recipes,
    quantized_bytes,
    quantized_latency,
    explain_cost,
    discovery,
    ledger_error,
    prediction_error,
    placement_cost,
    overhead,
    harness_overhead,
    time_to_interval,
    estimators,
    compare_aa,
    fleet_overhead,
    fleet_scaling,
    fleet_thousand,
)


def main(names: list[str]) -> int:
    """Run all benchmarks, or those named; the others keep what they found last.

    One that fails does not stop those after it. Returns how many failed.
    """
    failed = 0
    for benchmark in BENCHMARKS:
        if names and benchmark.__name__.rpartition(".")[2] not in names:
            continue
        print(f"== {benchmark.TITLE}", flush=True)
        try:
            lines = benchmark.run()
        except Failed as problem:
            print(problem, flush=True)
            failed += 1
            continue
        print(results.write(benchmark.TITLE, (benchmark.__doc__ or "").strip(), lines), flush=True)
    return failed


sys.exit(main(sys.argv[1:]))
