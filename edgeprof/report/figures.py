"""The tables of figures. A new figure is a row: its name, its title, its axes and its lines.

FIGURES show measured points, BY_DEVICE those of a run over several devices, EXPLAINED and MIXERS counted ledgers,
PLACEMENT the share of each provider, CLASSES the time of operator classes in two precisions. Captions come from
`edgeprof.analysis`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from edgeprof import units
from edgeprof.families import component_groups
from edgeprof.report.chart import Band, ChartValue, Scale
from edgeprof.schema import Ledger, MemorySummary, Phase, Point


@dataclass(frozen=True)
class Axis:
    """A quantity of a point, on its scale."""

    scale: Scale
    of: Callable[[Point], ChartValue | None]


@dataclass(frozen=True)
class Filled:
    """A filled band below each line, and a reference line below all of them."""

    band: Callable[[Point], Band | None]
    ground: Callable[[Point], float | None]
    ground_label: str
    key: str


By = Literal["length", "size", "family", "device"]


@dataclass(frozen=True)
class Figure:
    """One row. `by` defines a line: a variant over lengths, a family over sizes, all points of a family, or a
    device over lengths."""

    name: str
    title: str
    phase: Phase
    by: By
    x: Axis
    y: Axis
    key: str  # how to read a mark; empty where the axes are enough
    filled: Filled | None = None
    diagonal: str = ""  # name of the line x = y, where both axes have the same quantity
    law: bool = False  # whether y is in proportion to the latency, so that laws are drawn


# --- quantities of points ------------------------------------------------------------------------------


def _exact(value: float | None) -> ChartValue | None:
    return None if value is None else ChartValue.exact(value)


def _latency_s(point: Point) -> ChartValue | None:
    latency = point.latency
    return ChartValue(latency.median_s, latency.ci_low_s, latency.ci_high_s) if latency else None


def _latency_ms(point: Point) -> ChartValue | None:
    seconds = _latency_s(point)
    return seconds and ChartValue(*(1e3 * value for value in seconds))


def _tokens(point: Point) -> int:
    """Tokens of all sequences of one run; 0 where the length is unknown."""
    return point.load.batch * (point.load.tokens or 0)


def _per_token_ms(point: Point) -> ChartValue | None:
    seconds, tokens = _latency_s(point), _tokens(point)
    return ChartValue(*(1e3 * value / tokens for value in seconds)) if seconds and tokens else None


def _tokens_per_s(point: Point) -> ChartValue | None:
    seconds, tokens = _latency_s(point), _tokens(point)
    if seconds is None or not tokens:
        return None
    return ChartValue(tokens / seconds.middle, tokens / seconds.high, tokens / seconds.low)


def _mb(count_bytes: int | None) -> float | None:
    return None if count_bytes is None else count_bytes / 1e6


def _memory_mb(value: Callable[[MemorySummary], int]) -> Callable[[Point], float | None]:
    return lambda point: value(point.memory) / 1e6 if point.memory else None


_runtime_mb = _memory_mb(lambda memory: memory.runtime_bytes)
_peak_mb = _memory_mb(lambda memory: memory.peak_bytes)
_working_mb = _memory_mb(lambda memory: memory.working_bytes)


def _working(point: Point) -> Band | None:
    """The band from the resident set after loading to that of the runs."""
    if point.memory is None:
        return None
    loaded = point.memory.resident_bytes
    return Band(loaded / 1e6, (loaded + point.memory.working_bytes) / 1e6) if loaded > 0 else None


TOKENS = Scale("Token length", tick="{:,.0f}".format, base=2)
CACHED_TOKENS = Scale("Tokens in the KV cache", tick="{:,.0f}".format, base=2)

LENGTH = Axis(TOKENS, lambda point: _exact(point.load.length or None))
CACHED = Axis(CACHED_TOKENS, lambda point: _exact(point.load.length))
PARAMS = Axis(Scale("Parameters", tick=units.count), lambda point: _exact(point.facts.params))
LATENCY = Axis(Scale("Latency (ms)"), _latency_ms)
TIME_PER_OUTPUT_TOKEN = Axis(Scale("Time per output token (ms)"), _per_token_ms)
TIME_PER_TOKEN = Axis(Scale("Time per token (ms)"), _per_token_ms)
THROUGHPUT = Axis(Scale("Throughput (tokens/s)"), _tokens_per_s)
PEAK = Axis(Scale("Peak resident memory (MB)"), lambda point: _exact(_peak_mb(point)))
PREDICTED = Axis(Scale("Predicted (MB)"), lambda point: _exact(_mb(point.facts.memory_predicted_bytes)))
MEASURED = Axis(Scale("Measured (MB)"), lambda point: _exact(_working_mb(point)))

WORKING = Filled(
    band=_working,
    ground=_runtime_mb,
    ground_label="runtime",
    key="line: peak; filled: working memory on top of weights and runtime",
)
INTERVAL = "median and its 95 % interval"
A_POINT = "each mark: one point of the table"
AS_PREDICTED = "as predicted"


# --- the table of measured figures -----------------------------------------------------------------------

FIGURES: tuple[Figure, ...] = (
    Figure(
        "prefill-latency",
        "Prefill latency over token length",
        "prefill",
        "length",
        LENGTH,
        LATENCY,
        INTERVAL,
        law=True,
    ),
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
    Figure(
        "prefill-memory-predicted",
        "Prefill working memory: measured over predicted",
        "prefill",
        "family",
        PREDICTED,
        MEASURED,
        A_POINT,
        diagonal=AS_PREDICTED,
    ),
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
        law=True,
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
        "decode-memory-predicted",
        "Decode working memory: measured over predicted",
        "decode",
        "family",
        PREDICTED,
        MEASURED,
        A_POINT,
        diagonal=AS_PREDICTED,
    ),
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

BY_DEVICE: tuple[Figure, ...] = (
    Figure(
        "prefill-latency-by-device",
        "Prefill latency by device",
        "prefill",
        "device",
        LENGTH,
        LATENCY,
        INTERVAL,
    ),
    Figure(
        "decode-latency-by-device",
        "Decode: time per output token by device",
        "decode",
        "device",
        CACHED,
        TIME_PER_OUTPUT_TOKEN,
        INTERVAL,
    ),
)
"""Of a run over several devices, besides FIGURES."""


# --- quantities of ledgers -----------------------------------------------------------------------------

Amounts = Callable[[Ledger], dict[str, float]]
"""Line name -> value at one length; the name is empty where a line is a whole ledger."""


@dataclass(frozen=True)
class View:
    """One panel: its title, its axis, its lines."""

    title: str
    y: Scale
    of: Amounts
    none: str = ""  # remark that lists the models without values


@dataclass(frozen=True)
class Explained:
    """One row: quantities over the token length. `quantity` selects the crossovers that are marked."""

    name: str
    title: str
    views: tuple[View, ...]
    quantity: Literal["MACs", "bytes", ""] = ""


def _letters(letters: str, unit: str = "") -> Callable[[float], str]:
    """A tick with a letter for each factor of 1,000: "10M"; with a unit, "10 MB"."""
    steps = [(1000.0**index, letter) for index, letter in enumerate(["", *letters])]

    def tick(value: float) -> str:
        scale, letter = max((step for step in steps if step[0] <= value * 1.001), default=steps[0])
        return f"{units.number(value / scale)}{' ' if unit else ''}{letter}{unit}"

    return tick


def _memory(ledger: Ledger) -> dict[str, float]:
    """Bytes of weights, KV cache and live memory; the live tensors of a graph include its KV cache."""
    live = "live tensors" if ledger.source == "graph" else "live activations"
    return {
        "weights": ledger.total("weights_bytes"),
        "KV cache": ledger.total("cache_bytes"),
        live: ledger.live_bytes,
    }


def _multiplied(ledger: Ledger) -> dict[str, float]:
    """MACs by component; components of all families come first, so that colours match across figures."""
    common = ("projections", "attention", "MLP") if ledger.source == "formulas" else ()
    return {**dict.fromkeys(common, 0), **component_groups.multiplied(ledger)}


def _whole(quantity: str) -> Amounts:
    return lambda ledger: {"": ledger.total(quantity)}


MACS = Scale("MACs", tick=_letters("kMGTPE"))
BYTES = Scale("Memory", tick=_letters("kMGTP", "B"))
WEIGHTS = Scale("Parameters", tick=_letters("kMBT"))

MULTIPLIED = View("", MACS, _multiplied)
MEMORY = View("", BYTES, _memory)


# --- the table of counted figures ------------------------------------------------------------------------

EXPLAINED: tuple[Explained, ...] = (
    Explained("explain-macs", "MACs over token length", (MULTIPLIED,), "MACs"),
    Explained("explain-memory", "memory over token length, predicted", (MEMORY,), "bytes"),
)
MIXERS = Explained(
    "mixers",
    "Ways to mix tokens: parameters and MACs over token length",
    (
        View("", WEIGHTS, _whole("params"), "no parameters"),
        View("", MACS, _whole("macs"), "no MACs"),
    ),
)


# --- placement -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PlacementFigure:
    """One row: bars of a point each, in a group for each model, in a panel for each provider and phase."""

    name: str
    title: str
    label: str  # of the scale
    key: str


PLACEMENT = PlacementFigure(
    "placement",
    "Share of MACs per provider",
    "Share of MACs",
    "a bar: one point, its tokens below, the share of the requested provider above",
)


# --- memory --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MemoryParts:
    """One row: bars of a point each, in a group for each length, in a panel for each phase."""

    name: str
    title: str
    label: str  # of the scale
    key: str
    parts: tuple[tuple[str, Callable[[MemorySummary], int]], ...]  # from bottom to top
    panels: tuple[tuple[Phase, str], ...]


PHASES: tuple[tuple[Phase, str], ...] = (("prefill", "Prefill"), ("decode", "Decode, by tokens in the KV cache"))

MEMORY_PARTS = MemoryParts(
    "memory-parts",
    "memory by parts",
    "Resident (MB)",
    "line across a bar: predicted peak; number: measured peak",
    (
        ("runtime", lambda memory: memory.runtime_bytes),
        ("weights", lambda memory: memory.weights_bytes),
        ("mapped weights that runs touch", lambda memory: memory.weights_touched_bytes),
        ("working memory", lambda memory: memory.working_bytes),
        ("more while loading", lambda memory: memory.loading_bytes),
    ),
    PHASES,
)


# --- operator times ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stacked:
    """One row: bars of a precision each, in a group for each length, in a panel for each phase."""

    name: str
    title: str
    label: str  # of the scale
    key: str
    panels: tuple[tuple[Phase, str], ...]


CLASSES = Stacked(
    "why",
    "time per operator class",
    "Time ({a} = 1)",
    "height: operator times in runs with the profiler; number: median without it",
    PHASES,
)
