"""The points as rows of text: one unit to a column, so that numbers can be compared downwards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeprof import units
from edgeprof.schema import Point

MISSING = ""


@dataclass(frozen=True)
class Column:
    head: str
    text: Callable[[Point], str]
    number: bool = True
    always: bool = True  # else only where it is not the same in all rows


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


def _scaled(value: float | None, scale: float) -> str:
    return MISSING if value is None else units.number(value * scale, trim=False)


def _interval_ms(point: Point) -> str:
    low, high = point.latency_ci_low_s, point.latency_ci_high_s
    return MISSING if low is None or high is None else f"{_scaled(low, 1e3)} to {_scaled(high, 1e3)}"


def _provider(point: Point) -> str:
    return f"{point.provider} (emulated)" if point.emulated else point.provider


_IDENTITY = (
    Column("Variant", lambda point: point.variant, number=False),
    Column("Params", lambda point: units.count(point.params)),
    Column("Weights source", lambda point: point.weights, number=False, always=False),
    Column("Precision", lambda point: point.precision, number=False),
    Column("Provider", _provider, number=False, always=False),
    Column("Batch", lambda point: str(point.batch), always=False),
    Column("Threads", lambda point: str(point.threads), always=False),
    Column("Phase", lambda point: point.phase, number=False),
    Column("Tokens", lambda point: f"{point.tokens:,}"),
    Column("Cached", lambda point: f"{point.past_tokens:,}", always=False),
)
_RESULTS = (
    Column("Median (ms)", lambda point: _scaled(point.latency_median_s, 1e3)),
    Column("95 % interval (ms)", _interval_ms),
    Column("p90 (ms)", lambda point: _scaled(point.latency_p90_s, 1e3)),
    Column("Samples", lambda point: f"{point.samples:,}"),
    Column("Peak (MB)", lambda point: _scaled(point.memory_peak_bytes, 1e-6)),
    Column("Weights (MB)", lambda point: _scaled(point.memory_weights_bytes, 1e-6)),
    Column("Working (MB)", lambda point: _scaled(point.memory_working_bytes, 1e-6)),
    Column("Load (s)", lambda point: _scaled(point.load_s, 1)),
    Column("First run (ms)", lambda point: _scaled(point.first_run_s, 1e3)),
    Column("GMAC", lambda point: _scaled(point.macs, 1e-9)),
)
_PROBLEM = (
    Column("Status", lambda point: point.status if point.rounds == 0 else "incomplete", number=False),
    Column("Reason", lambda point: point.error, number=False),
)


def results(points: Sequence[Point]) -> Table:
    """The points that were measured."""
    return _table([point for point in points if point.status == "ok"], _IDENTITY + _RESULTS)


def problems(points: Sequence[Point]) -> Table:
    """The points that failed, and those of which some rounds did."""
    return _table([point for point in points if point.error or point.status != "ok"], _IDENTITY + _PROBLEM)


def shared(points: Sequence[Point]) -> str:
    """What the columns left out would have said: it holds for all points."""
    texts = {
        "Provider": "provider {}",
        "Batch": "batch {}",
        "Threads": "{} threads",
        "Weights source": "weights {}",
    }
    said = []
    for column in (column for column in _IDENTITY if column.head in texts):
        values = {column.text(point) for point in points}
        said += [texts[column.head].format(*values)] if len(values) == 1 else []
    return ", ".join(said)


def _table(points: Sequence[Point], columns: Sequence[Column]) -> Table:
    kept = tuple(column for column in columns if column.always or len({column.text(p) for p in points}) > 1)
    return Table(kept, tuple(tuple(column.text(point) for column in kept) for point in points))
