"""The worker that compares two models: both are loaded, and run in turn (`python -m edgeprof.measure.pair_worker`).

Other work on a host comes and goes within seconds, and is unseen by the guest. Blocks of some runs of A and of B follow
each other within a fraction of that, so that what slows one slows the other. A block begins with a run that is not
timed, as the other model has taken the caches. Each load lies elsewhere in memory, which moves its times by some
percent, and so both are loaded several times.
"""

import time
from collections.abc import Iterator
from itertools import count

from edgeprof.measure import sampling
from edgeprof.measure.latency_worker import OnnxModel
from edgeprof.measure.worker import undisturbed
from edgeprof.process import Progress, serve
from edgeprof.schema import PairBlock, PairReading, PairRequest, StoppingRule

LOADS = 8
LOADS_END_S = 3.0
"""After so many seconds the models are not loaded once more."""

BLOCK_S = 0.025
LEAST_BLOCKS = 2  # of each model: one in either order

WARM_UP = StoppingRule(min_runs=2, min_time_s=0.0)


def measure(request: PairRequest, _progress: Progress) -> PairReading:
    """Time blocks of runs of A and B, in turn.

    Raises:
        ModelFileError: onnxruntime refuses a model.
        UsageError: an input file does not fit.
        EdgeprofError: a model does not run, or a library that would disturb the measurement is loaded.
    """
    blocks: list[PairBlock] = []
    with undisturbed(request.a), undisturbed(request.b):
        end = time.monotonic() + LOADS_END_S
        for load in range(LOADS):
            blocks += blocks_of_load(request, load)
            if time.monotonic() >= end:
                break
    return PairReading(blocks=tuple(blocks))


def blocks_of_load(request: PairRequest, load: int) -> Iterator[PairBlock]:
    """Load both, and run them in turn. While one runs, the threads of the other rest."""
    sides = [request.a, request.b]
    order = [load % 2, 1 - load % 2]
    models = {side: OnnxModel(sides[side], alone=False) for side in order}
    runs = {}
    for side, model in models.items():
        with model.running():
            model.feed()
            model.first_run()
            runs[side], _ = model.binding.warm_up(lambda run: len(sampling.time_runs(run, WARM_UP)))
    rule = request.a.stopping
    timed, least = 0, rule.min_runs if load == 0 else 0
    end = time.monotonic() + rule.min_time_s / 2
    for number in count():
        with models[0].running(), models[1].running():
            taken = {side: _block(runs[side], rule) for side in (order if number % 2 else order[::-1])}
        yield PairBlock(load=load, a_s=taken[0], b_s=taken[1])
        timed += min(map(len, taken.values()))
        if number + 1 >= LEAST_BLOCKS and timed >= least and time.monotonic() >= end:
            return


def _block(run: sampling.Run, rule: StoppingRule) -> tuple[float, ...]:
    run()
    return sampling.time_runs(run, StoppingRule(min_runs=1, min_time_s=min(BLOCK_S, rule.min_time_s)))


if __name__ == "__main__":
    serve(measure, PairRequest)
