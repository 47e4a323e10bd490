"""The worker that measures a baseline: one model, one load, one process (`python -m edgeprof.baselines.worker`)."""

import gc
from functools import partial

from edgeprof.baselines.engine import engine_of
from edgeprof.measure.timed_visit import CANARIES_FROM_S, visit
from edgeprof.process import Progress, call, serve
from edgeprof.schema import Canaries, Reading, Request
from edgeprof.store import require_unchanged


def measure(request: Request, _progress: Progress) -> Reading:
    """As `measure.latency_worker.measure`, with another runtime in place of onnxruntime.

    Raises:
        EdgeprofError: the runtime does not load or run the model.
    """
    engine = engine_of(request.target)
    gc.collect()
    gc.disable()
    require_unchanged(request.files)
    reading = visit(request, partial(engine, request), _canaries)
    require_unchanged(request.files)
    return reading


def _canaries(request: Request) -> tuple[Canaries, ...]:
    """A reading in a process of its own: they run in onnxruntime, whose memory would count as the baseline's."""
    if request.stopping.min_time_s < CANARIES_FROM_S:
        return ()
    return (call("edgeprof.measure.canary", request, Canaries),)


if __name__ == "__main__":
    serve(measure, Request)
