"""From visits to points: the visits of one point, each a process, summarized in one record.

Latency. Every round is a process of its own, and processes differ more than the runs within one: memory is laid out
differently, the clock of the core moves. The unit of replication is therefore the round, never the single run.

    median     m = median_r(median(latencies of round r))
    interval   two-sided 95 % Student t over y_r = log(median of round r), n rounds:
               exp(mean(y) -/+ t(0.975, n - 1) * s(y) / sqrt(n)), widened where needed to contain m.
               The logarithm because latencies are positive and vary by factors.
    one round  x_(k) .. x_(n+1-k) of its n ordered latencies, with the largest k for which
               P(Binomial(n, 1/2) < k) <= 0.025 (Conover, Practical Nonparametric Statistics, 3.2: no assumption on
               the distribution). Fewer than 6 latencies cannot reach 95 %: their smallest and largest.
               It does not cover the variation between processes.
    best       the fastest level that lasted: the least of the rounds' first deciles. Disturbance only ever adds time,
               so the low end of what was seen repeats better than the middle (J. Chen and J. Revels, Robust
               benchmarking in noisy environments, 2016); a decile, as one run may be fast by a fault of the clock.
    p90        quantile over the latencies of all rounds (Hyndman & Fan type 7, numpy's default); as any percentile,
               shown only where the runs are enough to tell it (`schema.percentiles`).

    Rounds that other work disturbed (`analysis.disturbance`) do not count, unless too few are left: then all count, and
    the verdict on the point says so (`analysis.verdict`).

Memory. Resident set sizes from the kernel, in bytes; the parts are medians over the rounds, the peak is the maximum.

    runtime    resident with interpreter and onnxruntime loaded, before any model
    weights    resident with the model loaded, less runtime
    working    highest resident of the runs (inputs, KV cache, activations), less resident with the model loaded;
               at least 0
    peak       highest resident at all, of loading or of the runs
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec

from edgeprof.analysis.disturbance import Quiet, disturbed
from edgeprof.analysis.memory_parts import measured_parts
from edgeprof.analysis.quantiles import fair_coin, student_t
from edgeprof.analysis.verdict import verdict
from edgeprof.schema import (
    Goal,
    LatencySummary,
    Measurement,
    MemorySummary,
    Percentile,
    Point,
    PointKey,
    ProviderReceipt,
    Reading,
)
from edgeprof.schema.percentiles import least_samples

CONFIDENCE = 0.95


class Interval(NamedTuple):
    low: float
    high: float


def points(measurements: Iterable[Measurement], percentiles: Sequence[float] = ()) -> list[Point]:
    """One Point for each key, across exports and changes of settings (`PointKey.lasting`).

    Of several visits in one round the newest counts. Visits with an earlier artifact or earlier settings do not count:
    the last record of a point defines the current ones. Records are in order of age (the file is only appended to;
    the clock of an edge device may jump).

    Args:
        percentiles: of the latencies to give, in percent.

    Returns:
        Points sorted by family, size, precision, phase and length. A point without a successful visit has the status
        of its newest visit, and no latency or memory.
    """
    measurements = tuple(measurements)
    quiet = Quiet.of(measurements)
    return sorted((point(visits, quiet, percentiles) for visits in visits_of_points(measurements)), key=_order)


def pooled(measurements: Iterable[Measurement]) -> list[Point]:
    """As `points`, with the visits of models that have the same graph in one point, as "gpt2 (= my-sft)".

    A fine-tuned model costs what its base costs: their graphs differ in the values of weights alone.
    """
    measurements = tuple(measurements)
    quiet = Quiet.of(measurements)
    alike: dict[tuple[str, PointKey], list[Measurement]] = {}
    for visits in visits_of_points(measurements):
        key, structure = visits[-1].key, visits[-1].subject.structure
        alike.setdefault((structure, key.of_any_model if structure else key.lasting), []).extend(visits)
    return sorted((_pooled(visits, quiet) for visits in alike.values()), key=_order)


def _pooled(visits: Sequence[Measurement], quiet: Quiet) -> Point:
    first, *others = sorted({visit.subject.model for visit in visits})
    pool = point(visits, quiet)
    subject = msgspec.structs.replace(pool.subject, model=f"{first} (= {', '.join(others)})" if others else first)
    return msgspec.structs.replace(pool, key=msgspec.structs.replace(pool.key, subject=subject))


def visits_of_points(measurements: Iterable[Measurement]) -> list[list[Measurement]]:
    """The visits that count, point by point."""
    visits: dict[PointKey, list[Measurement]] = {}
    for record in measurements:
        visits.setdefault(record.key.lasting, []).append(record)
    return list(map(_current, visits.values()))


def _order(point: Point) -> tuple[str | int, ...]:
    load, place = point.load, point.place
    return (
        point.facts.family,
        point.facts.params,
        point.subject.model,
        str(point.subject.precision),
        place.provider,
        -len(load.phase),  # prefill before decode
        load.batch,
        place.threads,
        load.tokens or 0,
        load.past_tokens,
        place.host,
        place.machine_id,
    )


def _current(visits: Sequence[Measurement]) -> list[Measurement]:
    """The newest visit of each round, newest last, among those with the artifact and settings of the newest."""
    newest = visits[-1]
    rounds: dict[int, Measurement] = {}
    for visit in visits:
        if (visit.subject.digest, visit.settings_key) == (newest.subject.digest, newest.settings_key):
            rounds.pop(visit.round, None)  # a repeated visit moves to the end
            rounds[visit.round] = visit
    return list(rounds.values())


def point(visits: Sequence[Measurement], quiet: Quiet, percentiles: Sequence[float] = ()) -> Point:
    """The point of its visits, oldest first, with the verdict on it."""
    newest = visits[-1]
    goal = newest.goal or Goal()
    read = [(visit.round, visit.outcome.reading, disturbed(visit, quiet)) for visit in visits if visit.outcome.reading]
    readings = [reading for _, reading, _ in read]
    every = [(number, reading.latencies_s) for number, reading, _ in read]
    calm = [(number, reading.latencies_s) for number, reading, off in read if not off]
    latency = _latency(calm if len(calm) >= min(goal.rounds, len(every)) else every, percentiles)
    medians = [statistics.median(latencies) for _, latencies in every]
    judged = verdict(latency, medians, len(calm), goal) if latency else (None, "")
    return Point(
        key=newest.key,
        facts=newest.facts,
        receipt=_receipt([visit.receipt for visit in visits]),
        stopping=newest.stopping,
        memory_limit=newest.memory_limit,
        status="ok" if readings else newest.outcome.status,
        error=_reason(visits),
        rounds=len(readings),
        latency=latency,
        verdict=judged[0],
        verdict_note=judged[1],
        memory=_memory(readings),
        load_s=statistics.median(reading.load_s for reading in readings) if readings else None,
        first_run_s=statistics.median(reading.first_run_s for reading in readings) if readings else None,
    )


def _receipt(receipts: Sequence[ProviderReceipt]) -> ProviderReceipt:
    """The newest receipt; fields recorded by an earlier visit only are copied from it."""
    newest = receipts[-1]
    recorded = {
        name: next((value for receipt in reversed(receipts) if (value := getattr(receipt, name)) is not None), None)
        for name in ("placement", "agreement", "compile_s", "load_plain_s")
    }
    return msgspec.structs.replace(newest, **recorded)


def _largest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _reason(visits: Sequence[Measurement]) -> str:
    """Why rounds are missing: the newest reason, with the number of failed rounds if others succeeded."""
    failed = [visit.outcome for visit in visits if visit.outcome.status != "ok"]
    if not failed:
        return ""
    reason = failed[-1].error or failed[-1].status
    return reason if len(failed) == len(visits) else f"{len(failed)} of {len(visits)} rounds: {reason}"


# --- latency -------------------------------------------------------------------------------------------


def _latency(visits: Sequence[tuple[int, Sequence[float]]], percentiles: Sequence[float]) -> LatencySummary | None:
    """Summarize visits: the round of each, and its raw latencies in seconds."""
    import numpy

    if not visits:
        return None
    rounds = [latencies for _, latencies in visits]
    levels = [(number, level_of(latencies)) for number, latencies in visits]
    medians = [statistics.median(latencies) for latencies in rounds]
    median = statistics.median(medians)
    interval = interval_between_rounds(medians) if len(rounds) > 1 else interval_within_round(rounds[0])
    return LatencySummary(
        median_s=median,
        ci_low_s=min(interval.low, median),
        ci_high_s=max(interval.high, median),
        best_s=min(level for _, level in levels),
        p90_s=float(numpy.quantile(numpy.concatenate(rounds), 0.9)),
        samples=sum(map(len, rounds)),
        rounds_s=tuple(medians),
        levels_s=dict(levels),
        percentiles=tuple(percentile(list(chain(*rounds)), percent) for percent in percentiles),
    )


def level_of(latencies_s: Sequence[float]) -> float:
    """The fast level of a visit that lasted: its first decile."""
    import numpy

    return float(numpy.quantile(latencies_s, 0.1))


def percentile(latencies: Sequence[float], percent: float) -> Percentile:
    """A percentile of latencies, in seconds, where they are enough to tell it.

    >>> percentile([1.0] * 63, 90).value_s, percentile([1.0] * 64, 90).value_s
    (None, 1.0)
    """
    import numpy

    least = least_samples(percent)
    told = float(numpy.quantile(latencies, percent / 100)) if len(latencies) >= least else None
    return Percentile(percent=percent, value_s=told, least_samples=least)


def interval_between_rounds(medians: Sequence[float]) -> Interval:
    """95 % t-interval over the logarithms of at least two positive round medians (formula above)."""
    logs = [math.log(median) for median in medians]
    quantile = student_t((1 + CONFIDENCE) / 2, len(logs) - 1)
    half = quantile * statistics.stdev(logs) / math.sqrt(len(logs))
    middle = statistics.fmean(logs)
    return Interval(math.exp(middle - half), math.exp(middle + half))


def interval_within_round(latencies: Sequence[float]) -> Interval:
    """95 % order-statistic interval of the median of one process (formula above); min..max below 6 latencies."""
    ordered = sorted(latencies)
    rank = max(1, fair_coin((1 - CONFIDENCE) / 2, len(ordered)))
    return Interval(ordered[rank - 1], ordered[-rank])


# --- memory --------------------------------------------------------------------------------------------


def _memory(readings: Sequence[Reading]) -> MemorySummary | None:
    if not readings:
        return None
    measured = list(map(measured_parts, readings))
    return MemorySummary(
        runtime_bytes=round(statistics.median(parts.runtime_bytes for parts in measured)),
        weights_bytes=round(statistics.median(parts.weights_bytes for parts in measured)),
        weights_touched_bytes=round(statistics.median(parts.touched_bytes for parts in measured)),
        working_bytes=round(statistics.median(parts.working_bytes for parts in measured)),
        peak_bytes=max(max(r.memory_load_peak_bytes, r.memory_run_peak_bytes) for r in readings),
        pss_bytes=_largest(reading.memory_run_pss_bytes for reading in readings),
        private_bytes=_largest(reading.memory_run_private_bytes for reading in readings),
        device_bytes=_largest(reading.device_memory_bytes for reading in readings),
    )
