"""Two loops over one session in turn: edgeprof's, and one written by hand. Prints their ratio as JSON.

usage: alternating_loop.py MODEL PHASE TOKENS
"""

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime as ort

from edgeprof.analysis.compare import of_logs
from edgeprof.api.targets import one_model
from edgeprof.inputs import signature
from edgeprof.inputs.run_inputs import of_variant
from edgeprof.measure import sampling
from edgeprof.measure.io_binding import Binding
from edgeprof.providers.session import open_session
from edgeprof.schema import CPU, Case, StoppingRule

ALTOGETHER_S, RUNS, SECONDS = 75.0, 5, 0.02
ROUND = 12  # blocks of each loop, of whose ratios the median counts
RULE = StoppingRule(min_runs=RUNS, min_time_s=SECONDS)

Loop = Callable[[], float]
"""Times a block of runs: their median, in seconds."""


def main(model: str, phase: str, length: int) -> None:
    artifact = one_model(model, Path("models"))
    case = Case(batch=1, tokens=length) if phase == "prefill" else Case(batch=1, tokens=1, past_tokens=length)
    graph = artifact.graph()
    inputs = of_variant(signature(graph.inputs), artifact.variant, case).values
    session = open_session(graph.path, CPU, os.cpu_count() or 1)
    binding = Binding(session, CPU, inputs)
    binding.first_run()
    run, _ = binding.warm_up()
    bare = [_bare(session, binding) for _ in range(2)]
    loops = [lambda: statistics.median(sampling.time_runs(run, RULE)), *bare]
    times, began = [], time.monotonic()
    while time.monotonic() - began < ALTOGETHER_S:
        times.append(_block(loops, len(times)))
    print(
        json.dumps(
            {
                "bare_ms": 1e3 * statistics.median(each[1] for each in times),
                "ratio": _ratio([each[0] / each[1] for each in times]),
                "self": _ratio([each[2] / each[1] for each in times]),
            }
        )
    )


def _bare(session: ort.InferenceSession, like: Binding) -> Loop:
    bound = session.io_binding()
    for name, value in like.inputs.items():
        bound.bind_ortvalue_input(name, value)
    for output in session.get_outputs():
        bound.bind_output(output.name)
    for _ in range(3):
        session.run_with_iobinding(bound)

    def block() -> float:
        latencies = []
        began = time.perf_counter()
        while len(latencies) < RUNS or time.perf_counter() - began < SECONDS:
            start = time.perf_counter()
            session.run_with_iobinding(bound)
            latencies.append(time.perf_counter() - start)
        return statistics.median(latencies)

    return block


def _block(loops: list[Loop], number: int) -> list[float]:
    """One block of each, the order turned each time."""
    times = [0.0] * len(loops)
    for index in range(len(loops)):
        place = (index + number) % len(loops)
        times[place] = loops[place]()
    return times


def _ratio(ratios: list[float]) -> str:
    """As `compare` computes it, which one disturbed round moves little."""
    rounds = [ratios[start : start + ROUND] for start in range(0, len(ratios) - ROUND + 1, ROUND)]
    ratio = of_logs([math.log(statistics.median(each)) for each in rounds])
    return f"{ratio.value:.4f} ({ratio.low:.4f} to {ratio.high:.4f})"


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
