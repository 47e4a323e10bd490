"""The table of figures. A new figure is a row: what it is called, what stands on its axes, which points it shows.

Captions come from `edgeprof.analysis` under the same names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from edgeprof import units
from edgeprof.schema import Phase, Point


class Reading(NamedTuple):
    """A value with its interval; without one, all three are equal."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True)
class Axis:
    """A quantity, in the unit its ticks show it in."""

    label: str
    of: Callable[[Point], Reading | None]
    tick: Callable[[float], str] = units.number
    base: Literal[2, 10] = 10


@dataclass(frozen=True)
class Band:
    """What a filled band below a line stands for: from the resident set after load up to that of the runs."""

    floor: Callable[[Point], float | None]
    height: Callable[[Point], float | None]
    ground: Callable[[Point], float | None]  # drawn once, as a quiet line
    ground_label: str
    key: str


@dataclass(frozen=True)
class Figure:
    """One row. `by` says what a line is: a variant over lengths, or a family over sizes."""

    name: str
    title: str
    phase: Phase
    by: Literal["length", "size"]
    x: Axis
    y: Axis
    interval: str  # what the bars at a point are; empty: there are none
    band: Band | None = None


# --- quantities ----------------------------------------------------------------------------------------


def _exact(value: float | None) -> Reading | None:
    return None if value is None else Reading(value, value, value)


def _latency_s(point: Point) -> Reading | None:
    middle, low, high = point.latency_median_s, point.latency_ci_low_s, point.latency_ci_high_s
    return None if middle is None or low is None or high is None else Reading(middle, low, high)


def _latency_ms(point: Point) -> Reading | None:
    seconds = _latency_s(point)
    return seconds and Reading(*(1e3 * value for value in seconds))


def _per_token_ms(point: Point) -> Reading | None:
    seconds = _latency_s(point)
    return seconds and Reading(*(1e3 * value / (point.batch * point.tokens) for value in seconds))


def _tokens_per_s(point: Point) -> Reading | None:
    seconds = _latency_s(point)
    if seconds is None:
        return None
    tokens = point.batch * point.tokens
    return Reading(tokens / seconds.middle, tokens / seconds.high, tokens / seconds.low)


def _mb(count_bytes: int | None) -> float | None:
    return None if count_bytes is None else count_bytes / 1e6


def _loaded_mb(point: Point) -> float | None:
    runtime, weights = point.memory_runtime_bytes, point.memory_weights_bytes
    return None if runtime is None or weights is None else _mb(runtime + weights)


LENGTH = Axis("Token length", lambda point: _exact(point.length), base=2)
CACHED = Axis("Tokens in the KV cache", lambda point: _exact(point.length), base=2)
PARAMS = Axis("Parameters", lambda point: _exact(point.params), tick=units.count)
LATENCY = Axis("Latency (ms)", _latency_ms)
TIME_PER_OUTPUT_TOKEN = Axis("Time per output token (ms)", _per_token_ms)
TIME_PER_TOKEN = Axis("Time per token (ms)", _per_token_ms)
THROUGHPUT = Axis("Throughput (tokens/s)", _tokens_per_s)
PEAK = Axis("Peak resident memory (MB)", lambda point: _exact(_mb(point.memory_peak_bytes)))

WORKING = Band(
    floor=_loaded_mb,
    height=lambda point: _mb(point.memory_working_bytes),
    ground=lambda point: _mb(point.memory_runtime_bytes),
    ground_label="runtime",
    key="line: peak; filled: working memory on top of weights and runtime",
)
INTERVAL = "median and its 95 % interval"


# --- the table -----------------------------------------------------------------------------------------

FIGURES: tuple[Figure, ...] = (
    Figure("prefill-latency", "Prefill latency over token length", "prefill", "length", LENGTH, LATENCY, INTERVAL),
    Figure(
        "prefill-time-per-token",
        "Prefill time per token over token length",
        "prefill",
        "length",
        LENGTH,
        TIME_PER_TOKEN,
        INTERVAL,
    ),
    Figure(
        "prefill-throughput",
        "Prefill throughput over token length",
        "prefill",
        "length",
        LENGTH,
        THROUGHPUT,
        INTERVAL,
    ),
    Figure("prefill-memory", "Prefill memory over token length", "prefill", "length", LENGTH, PEAK, "", WORKING),
    Figure("prefill-latency-by-size", "Prefill latency over parameters", "prefill", "size", PARAMS, LATENCY, INTERVAL),
    Figure("prefill-memory-by-size", "Prefill peak memory over parameters", "prefill", "size", PARAMS, PEAK, ""),
    Figure(
        "decode-latency",
        "Decode: time per output token over cached tokens",
        "decode",
        "length",
        CACHED,
        TIME_PER_OUTPUT_TOKEN,
        INTERVAL,
    ),
    Figure(
        "decode-throughput",
        "Decode throughput over cached tokens",
        "decode",
        "length",
        CACHED,
        THROUGHPUT,
        INTERVAL,
    ),
    Figure("decode-memory", "Decode memory over cached tokens", "decode", "length", CACHED, PEAK, "", WORKING),
    Figure(
        "decode-latency-by-size",
        "Decode: time per output token over parameters",
        "decode",
        "size",
        PARAMS,
        TIME_PER_OUTPUT_TOKEN,
        INTERVAL,
    ),
    Figure("decode-memory-by-size", "Decode peak memory over parameters", "decode", "size", PARAMS, PEAK, ""),
)
