"""The worker that runs one model without a pause, for minutes: heat and clocks change what a device gives.

Sensors are read between spells of a second or more, never while a run is timed.
"""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from edgeprof.measure import sampling, sensors
from edgeprof.measure.io_binding import Binding
from edgeprof.measure.sampling import Clock, Run
from edgeprof.measure.worker import running, undisturbed
from edgeprof.process import Progress, serve
from edgeprof.providers.session import open_request
from edgeprof.schema import Request, Spell, StoppingRule, SustainedReading

SPELLS = 120
"""Of a long run; a spell of a short one lasts a second."""

ONE_RUN = StoppingRule(min_runs=1, min_time_s=0.0)

ROOT = Path("/")


def sustain(request: Request, _progress: Progress) -> SustainedReading:
    """Load, run once, and go on for as long as the stopping rule of the request says. There is no warm-up: a cold
    device is what the first spell shows.

    Raises:
        ModelFileError, UsageError, EdgeprofError: as the latency worker.
    """
    with undisturbed(request):
        session = open_request(request)
        with running(request):
            binding = Binding(session, request.target, request.inputs, shared_tokens=request.shared_tokens)
            binding.first_run(request.in_place)
            run, _ = binding.warm_up(lambda run: len(sampling.time_runs(run, ONE_RUN)))
            return SustainedReading(spells=tuple(spells(run, request.stopping.min_time_s)))


def spells(run: Run, duration_s: float, clock: Clock = time.perf_counter_ns, root: Path = ROOT) -> Iterator[Spell]:
    """Run for some seconds, and tell of each spell when it ends."""
    length_s = max(1.0, duration_s / SPELLS)
    rule = StoppingRule(min_runs=1, min_time_s=length_s, max_time_s=length_s)
    begin = clock()
    while (clock() - begin) / 1e9 < duration_s:
        latencies_s = sampling.time_runs(run, rule, clock)
        yield Spell(
            end_s=(clock() - begin) / 1e9,
            runs=len(latencies_s),
            median_s=statistics.median(latencies_s),
            temperature_c=sensors.temperature_c(root),
            clock_mhz=sensors.clock_mhz(root),
        )


if __name__ == "__main__":
    serve(sustain, Request)
