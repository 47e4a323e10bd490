"""Which figure of a point repeats best from run to run, and what the canaries tell about a visit.

Each point is visited many times, interleaved; runs of five visits are drawn from them at random. The run-to-run error
of an estimator is the standard deviation of its logarithm over such runs. Once with nothing beside, and once each with
a neighbour in bursts: one that burns a core, one that streams memory.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgeprof import load_run
from edgeprof.analysis.disturbance import CANARY_LIMIT, Quiet, disturbed
from edgeprof.schema import Measurement
from tests.benchmarks import neighbour
from tests.benchmarks.harness import edgeprof

TITLE = "Run-to-run error of estimators, and canaries"
VISITS, OF_A_RUN, RESAMPLED = 12, 5, 2000
TARGETS = ("bert-mini", "bert-small")
LIMITS = (1.2, 1.5, 2.0)

Visit = Sequence[float]
Estimator = Callable[[Sequence[Visit]], float]

ESTIMATORS: dict[str, Estimator] = {
    "median of medians": lambda visits: statistics.median(map(statistics.median, visits)),
    "lower quartile of medians": lambda visits: float(np.quantile([statistics.median(one) for one in visits], 0.25)),
    "least first decile (best)": lambda visits: min(float(np.quantile(one, 0.1)) for one in visits),
    "least minimum": lambda visits: min(map(min, visits)),
}


def run() -> list[str]:
    names = list(ESTIMATORS)
    lines = [f"| beside | point | {' | '.join(names)} |", f"|---|---|{'---|' * len(names)}"]
    limits = " | ".join(f"{limit} times" for limit in LIMITS)
    told = [
        f"| beside | point | correlation | sd of medians | disturbed | {limits} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        edgeprof("export", *TARGETS, "--weights", "random", cwd=work)
        for kind in neighbour.KINDS:
            with neighbour.beside(kind):
                words = ("--seq", "128", "--rounds", str(VISITS), "--max-time", "0", "--name", kind)
                edgeprof("profile", *TARGETS, *words, cwd=work)
            records = load_run(work / "reports" / kind).measurements
            quiet = Quiet.of(records)
            for target in TARGETS:
                visits = [one for one in records if one.subject.model == target and one.outcome.reading]
                lines.append(f"| {kind} | {target} | {' | '.join(_errors(visits))} |")
                told.append(f"| {kind} | {target} | {' | '.join(_canaries(visits, quiet))} |")
    explained = (
        "Of canaries and medians: their correlation, the standard deviation of the logarithms of medians, and how many "
        "visits count as disturbed. Then that standard deviation, and the visits left, if a visit is disturbed from so "
        f"many times the usual time of a canary on (the limit is {CANARY_LIMIT})."
    )
    return [*lines, "", explained, "", *told]


def _times(visits: Sequence[Measurement]) -> list[Visit]:
    return [visit.outcome.reading.latencies_s for visit in visits if visit.outcome.reading]


def _errors(visits: Sequence[Measurement]) -> list[str]:
    generator, times = np.random.default_rng(0), _times(visits)
    drawn = [generator.choice(len(times), OF_A_RUN, replace=False) for _ in range(RESAMPLED)]
    return [
        f"{100 * np.std([np.log(estimator([times[index] for index in run])) for run in drawn]):.1f} %"
        for estimator in ESTIMATORS.values()
    ]


def _canaries(visits: Sequence[Measurement], quiet: Quiet) -> list[str]:
    medians = np.log([statistics.median(times) for times in _times(visits)])
    slow = np.log([quiet.slowdown(visit) for visit in visits])
    off = sum(disturbed(visit, quiet) for visit in visits)
    calm = [medians[slow <= np.log(limit)] for limit in LIMITS]
    left = [f"{kept.std():.3f} ({len(kept)})" if len(kept) > 2 else "too few" for kept in calm]
    correlation = f"{np.corrcoef(slow, medians)[0, 1]:.2f}"
    return [correlation, f"{medians.std():.3f}", f"{off} of {len(visits)}", *left]
