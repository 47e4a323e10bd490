"""From visits to points: what several processes saw of one point, as one row.

Latency. Every round is a process of its own, and processes differ more than the runs within one: memory lands
elsewhere, the clock of the core moves. The unit of replication is therefore the round, never the single run.

    median     m = median_r(median(latencies of round r))
    interval   two-sided 95 % Student t over y_r = log(median of round r), n rounds:
               exp(mean(y) -/+ t(0.975, n - 1) * s(y) / sqrt(n)), widened where needed to contain m.
               The logarithm because latencies are positive and vary by factors.
    one round  x_(k) .. x_(n+1-k) of its n ordered latencies, with the largest k for which
               P(Binomial(n, 1/2) < k) <= 0.025 (Conover, Practical Nonparametric Statistics, 3.2: no assumption on
               the distribution). Fewer than 6 latencies cannot reach 95 %: their smallest and largest.
               It says nothing about other processes.
    p90        quantile over the latencies of all rounds (Hyndman & Fan type 7, numpy's default).

Memory. Resident set sizes from the kernel, in bytes; the parts are medians over the rounds, the peak is the maximum.

    runtime    resident with interpreter and onnxruntime loaded, before any model
    weights    resident with the model loaded, less runtime
    working    highest resident of the runs (inputs, KV cache, activations), less resident with the model loaded;
               at least 0
    peak       highest resident at all, of loading or of the runs
"""

import math
import shlex
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from edgeprof.schema import Measurement, Point, Reading

CONFIDENCE = 0.95

T = TypeVar("T")


class Interval(NamedTuple):
    low: float
    high: float


def points(measurements: Iterable[Measurement]) -> list[Point]:
    """One Point for each (variant, precision, provider, emulated or not, phase, batch, tokens, past_tokens, threads) of
    a machine.

    Of a round that was visited again the newest visit counts, and of an artifact or a setting that has changed
    since, none: the last record of a point says which artifact and settings are the present ones. The order of the
    records is their age (the file is only ever appended to; the clock of an edge device may jump).

    Returns:
        Points sorted by family, size, precision, phase and length. A point none of whose visits succeeded has the
        status of the newest one, and None for what was not measured.
    """
    visits: dict[tuple[object, ...], list[Measurement]] = {}
    for record in measurements:
        visits.setdefault(_identity(record), []).append(record)
    return sorted((_point(_current(group)) for group in visits.values()), key=_order)


def _identity(record: Measurement) -> tuple[object, ...]:
    return (
        record.machine_id,
        record.variant,
        record.precision,
        record.provider,
        record.emulated,
        record.phase,
        record.batch,
        record.tokens,
        record.past_tokens,
        record.threads,
    )


def _order(point: Point) -> tuple[str | int, ...]:
    return (
        point.family,
        point.params,
        point.variant,
        point.precision,
        point.provider,
        -len(point.phase),  # prefill before decode: one leads to the other
        point.batch,
        point.threads,
        point.tokens or 0,
        point.past_tokens,
        point.machine_id,
    )


def _current(visits: Sequence[Measurement]) -> list[Measurement]:
    """The newest visit of each round, newest last, of the artifact and settings that the newest visit had."""
    newest = visits[-1]
    same = [v for v in visits if (v.artifact_sha256, v.settings_key) == (newest.artifact_sha256, newest.settings_key)]
    rounds: dict[int, Measurement] = {}
    for visit in same:
        rounds.pop(visit.round, None)  # a repeated visit moves to the end
        rounds[visit.round] = visit
    return list(rounds.values())


def _point(visits: Sequence[Measurement]) -> Point:
    newest = visits[-1]
    readings = [visit.reading for visit in visits if visit.status == "ok" and visit.reading]
    latency = _latency([reading.latencies_s for reading in readings])
    memory = _memory(readings)
    placement = _newest(visit.placement for visit in visits)
    agreement = _newest(visit.agreement for visit in visits)
    return Point(
        variant=newest.variant,
        family=newest.family,
        params=newest.params,
        precision=newest.precision,
        provider=newest.provider,
        phase=newest.phase,
        batch=newest.batch,
        tokens=newest.tokens,
        past_tokens=newest.past_tokens,
        threads=newest.threads,
        status="ok" if readings else newest.status,
        latency_median_s=latency.median_s if latency else None,
        latency_ci_low_s=latency.interval_s.low if latency else None,
        latency_ci_high_s=latency.interval_s.high if latency else None,
        latency_p90_s=latency.p90_s if latency else None,
        samples=sum(len(reading.latencies_s) for reading in readings),
        memory_peak_bytes=memory.peak_bytes if memory else None,
        memory_weights_bytes=memory.weights_bytes if memory else None,
        macs=newest.macs,
        machine_id=newest.machine_id,
        memory_runtime_bytes=memory.runtime_bytes if memory else None,
        memory_working_bytes=memory.working_bytes if memory else None,
        memory_predicted_bytes=newest.memory_predicted_bytes,
        load_s=statistics.median(reading.load_s for reading in readings) if readings else None,
        first_run_s=statistics.median(reading.first_run_s for reading in readings) if readings else None,
        rounds=len(readings),
        weights=newest.weights,
        error=_reason(visits),
        emulated=newest.emulated,
        device=newest.device,
        static=newest.static,
        macs_share=placement.macs_share if placement else None,
        nodes_share=placement.nodes_share if placement else None,
        partitions=placement.placed[0].partitions if placement else None,
        agrees=agreement.within if agreement else None,
        max_rel_error=agreement.max_rel_error if agreement else None,
        device_memory_bytes=_largest(reading.device_memory_bytes for reading in readings),
        min_runs=newest.stopping.min_runs if newest.stopping else None,
        min_time_s=newest.stopping.min_time_s if newest.stopping else None,
        provider_options=shlex.join(f"{name}={value}" for name, value in sorted(newest.provider_options.items())),
        compiled=newest.compiled,
        compile_s=_newest(visit.compile_s for visit in visits),
        load_plain_s=_newest(visit.load_plain_s for visit in visits),
        provider_library=newest.provider_library,
        seq=newest.seq,
        dims=shlex.join(f"{name}={size}" for name, size in sorted(newest.dims.items())),
        fills=", ".join(f"{name}: {how}" for name, how in newest.fills.items()),
    )


def _newest(seen: Iterable[T | None]) -> T | None:
    """Of what was seen in one visit and holds for all."""
    return next((one for one in reversed(list(seen)) if one is not None), None)


def _largest(seen: Iterable[int | None]) -> int | None:
    return max((one for one in seen if one is not None), default=None)


def _reason(visits: Sequence[Measurement]) -> str:
    """Why rounds are missing: the newest reason, and how many where others succeeded."""
    failed = [visit for visit in visits if visit.status != "ok"]
    if not failed:
        return ""
    reason = failed[-1].error or failed[-1].status
    return reason if len(failed) == len(visits) else f"{len(failed)} of {len(visits)} rounds: {reason}"


# --- latency -------------------------------------------------------------------------------------------


class Latency(NamedTuple):
    median_s: float
    interval_s: Interval
    p90_s: float


def _latency(rounds: Sequence[Sequence[float]]) -> Latency | None:
    """Of the raw latencies of each round, in seconds."""
    import numpy

    rounds = [latencies for latencies in rounds if latencies]
    if not rounds:
        return None
    medians = [statistics.median(latencies) for latencies in rounds]
    median = statistics.median(medians)
    interval = interval_between_rounds(medians) if len(rounds) > 1 else interval_within_round(rounds[0])
    return Latency(
        median_s=median,
        interval_s=Interval(min(interval.low, median), max(interval.high, median)),
        p90_s=float(numpy.quantile(numpy.concatenate(rounds), 0.9)),
    )


def interval_between_rounds(medians: Sequence[float]) -> Interval:
    """95 % t-interval over the logarithms of at least two positive round medians (formula above)."""
    from scipy.stats import t

    logs = [math.log(median) for median in medians]
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1))
    half = quantile * statistics.stdev(logs) / math.sqrt(len(logs))
    middle = statistics.fmean(logs)
    return Interval(math.exp(middle - half), math.exp(middle + half))


def interval_within_round(latencies: Sequence[float]) -> Interval:
    """95 % order-statistic interval of the median of one process (formula above); min..max below 6 latencies."""
    from scipy.stats import binom

    ordered = sorted(latencies)
    rank = max(1, int(binom.ppf((1 - CONFIDENCE) / 2, len(ordered), 0.5)))
    return Interval(ordered[rank - 1], ordered[-rank])


# --- memory --------------------------------------------------------------------------------------------


class Memory(NamedTuple):
    runtime_bytes: int
    weights_bytes: int
    working_bytes: int
    peak_bytes: int


def _memory(readings: Sequence[Reading]) -> Memory | None:
    if not readings:
        return None
    weights = [r.memory_loaded_bytes - r.memory_imports_bytes + _touched(r) for r in readings]
    working = [max(r.memory_run_peak_bytes - r.memory_loaded_bytes - _touched(r), 0) for r in readings]
    return Memory(
        runtime_bytes=round(statistics.median(r.memory_imports_bytes for r in readings)),
        weights_bytes=round(statistics.median(weights)),
        working_bytes=round(statistics.median(working)),
        peak_bytes=max(max(r.memory_load_peak_bytes, r.memory_run_peak_bytes) for r in readings),
    )


def _touched(reading: Reading) -> int:
    """Bytes of mapped files that came into memory during the runs: rows of an embedding that were looked up, mostly."""
    after = reading.memory_run_file_bytes
    return max(after - reading.memory_loaded_file_bytes, 0) if after is not None else 0
