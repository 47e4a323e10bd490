"""Points as rows of text, with one unit per column, so that numbers compare downwards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from edgeprof import units
from edgeprof.schema import (
    ComparedLength,
    Cost,
    Explanation,
    Generated,
    LatencySummary,
    MemorySummary,
    Point,
    Why,
)

MISSING = ""
CPU = "cpu"
Row = TypeVar("Row")


@dataclass(frozen=True)
class Column(Generic[Row]):
    head: str
    text: Callable[[Row], str]
    number: bool = True
    kept: Literal["always", "varying", "filled"] = "always"  # "varying": cells differ; "filled": a cell is not empty


@dataclass(frozen=True)
class Table:
    columns: tuple[Column[Any], ...]
    rows: tuple[tuple[str, ...], ...]


def scaled(value: float | None, scale: float) -> str:
    return MISSING if value is None else units.number(value * scale, trim=False)


def of_latency(value: Callable[[LatencySummary], float]) -> Callable[[Point], str]:
    """A cell in ms; empty without a latency."""
    return lambda point: scaled(value(point.latency), 1e3) if point.latency else MISSING


def of_memory(value: Callable[[MemorySummary], int]) -> Callable[[Point], str]:
    """A cell in MB; empty without memory."""
    return lambda point: scaled(value(point.memory), 1e-6) if point.memory else MISSING


def _interval_ms(point: Point) -> str:
    latency = point.latency
    return f"{scaled(latency.ci_low_s, 1e3)} to {scaled(latency.ci_high_s, 1e3)}" if latency else MISSING


def _percentiles(points: Sequence[Point]) -> list[Column[Point]]:
    """A column for each percentile; a dash, with the number of runs that it would take, where there are too few."""
    told = {one.percent for point in points if point.latency for one in point.latency.percentiles}
    return [Column(f"p{percent:g} (ms)", partial(_percentile_ms, percent)) for percent in sorted(told)]


def _percentile_ms(percent: float, point: Point) -> str:
    found = [one for one in (point.latency.percentiles if point.latency else ()) if one.percent == percent]
    return "".join(one.missing if one.value_s is None else scaled(one.value_s, 1e3) for one in found)


def provider(point: Point) -> str:
    return f"{point.place.provider} (emulated)" if point.place.emulated else point.place.provider


def _predicted_share(point: Point) -> str:
    memory, predicted = point.memory, point.facts.memory_predicted_bytes
    return scaled(memory.working_bytes / predicted, 1) if memory and predicted else MISSING


def _share_on_provider(point: Point) -> str:
    if point.place.provider == CPU or point.place.is_baseline:
        return MISSING
    return point.receipt.share_text or ("not known" if point.receipt.placement is None else "all")


def agreement(point: Point) -> str:
    """The largest relative error against the CPU provider; empty where results were not compared."""
    measured = point.receipt.agreement
    if measured is None:
        return MISSING
    return units.number(measured.max_rel_error, 2) + ("" if measured.within else ": outside tolerance")


def _verdict(point: Point) -> str:
    return f"{point.verdict}: {point.verdict_note}" if point.verdict else MISSING


def _device_memory(point: Point) -> str:
    if point.place.provider == CPU or point.place.is_baseline:
        return MISSING
    device_bytes = point.memory.device_bytes if point.memory else None
    return "host memory only" if device_bytes is None else scaled(device_bytes, 1e-6)


_IDENTITY: tuple[Column[Point], ...] = (
    Column("Variant", lambda point: point.subject.model, number=False),
    Column("Params", lambda point: units.count(point.facts.params)),
    Column("Weights source", lambda point: str(point.subject.weights), number=False, kept="varying"),
    Column("Precision", lambda point: str(point.subject.precision), number=False),
    Column("Device", lambda point: point.place.host, number=False, kept="filled"),
    Column("Provider", provider, number=False, kept="varying"),
    Column("Batch", lambda point: str(point.load.batch), kept="varying"),
    Column("Threads", lambda point: str(point.place.threads), kept="varying"),
    Column("Phase", lambda point: point.load.phase, number=False),
    Column("Tokens", lambda point: units.known(point.load.tokens)),
    Column("Cached tokens", lambda point: f"{point.load.past_tokens:,}", kept="varying"),
)
_RESULTS: tuple[Column[Point], ...] = (
    Column("Median (ms)", of_latency(lambda latency: latency.median_s)),
    Column("95 % interval (ms)", _interval_ms),
    Column("Best (ms)", of_latency(lambda latency: latency.best_s)),
    Column("Best, predicted (ms)", lambda point: scaled(point.facts.latency_predicted_s, 1e3), kept="filled"),
    Column("Verdict", _verdict, number=False),
)
_SAMPLE: tuple[Column[Point], ...] = (
    Column("Samples", lambda point: f"{point.latency.samples if point.latency else 0:,}"),
    Column("Share on provider", _share_on_provider, number=False, kept="filled"),
    Column("Difference from CPU", agreement, kept="filled"),
    Column("Peak (MB)", of_memory(lambda memory: memory.peak_bytes)),
    Column("Weights (MB)", of_memory(lambda memory: memory.weights_bytes)),
    Column("Weights touched (MB)", of_memory(lambda memory: memory.weights_touched_bytes)),
    Column("Working (MB)", of_memory(lambda memory: memory.working_bytes)),
    Column("Device (MB)", _device_memory, kept="filled"),
    Column("Predicted (MB)", lambda point: scaled(point.facts.memory_predicted_bytes, 1e-6), kept="filled"),
    Column("Working / predicted", _predicted_share, kept="filled"),
    Column("Load (s)", lambda point: scaled(point.load_s, 1)),
    Column("First run (ms)", lambda point: scaled(point.first_run_s, 1e3)),
    Column("GMAC", lambda point: scaled(point.facts.macs, 1e-9)),
)
_PROBLEM: tuple[Column[Point], ...] = (
    Column("Status", lambda point: point.status if point.rounds == 0 else "incomplete", number=False),
    Column("Reason", lambda point: point.error, number=False),
)


def results(points: Sequence[Point]) -> Table:
    """The table of measured points."""
    measured = [point for point in points if point.status == "ok"]
    return tabulate(measured, (*_IDENTITY, *_RESULTS, *_percentiles(measured), *_SAMPLE))


def problems(points: Sequence[Point]) -> Table:
    """The table of points that failed, and of points with failed rounds."""
    return tabulate([point for point in points if point.error or point.status != "ok"], _IDENTITY + _PROBLEM)


def shared(points: Sequence[Point]) -> str:
    """Settings common to all points, which therefore have no column."""
    texts: dict[str, Callable[[str], str]] = {
        "Provider": "provider {}".format,
        "Batch": "batch {}".format,
        "Threads": lambda text: units.counted(int(text), "thread"),
        "Weights source": "weights {}".format,
    }
    common = []
    for column in (column for column in _IDENTITY if column.head in texts):
        values = {column.text(point) for point in points}
        common += [texts[column.head](*values)] if len(values) == 1 else []
    return ", ".join(common)


def tabulate(rows: Sequence[Row], columns: Sequence[Column[Row]]) -> Table:
    kept = []
    for column in columns:
        texts = {column.text(row) for row in rows}
        if column.kept == "always" or len(texts) > 1 or (column.kept == "filled" and texts - {MISSING}):
            kept.append(column)
    return Table(tuple(kept), tuple(tuple(column.text(row) for column in kept) for row in rows))


_GENERATED: tuple[Column[Generated], ...] = (
    Column("Variant", lambda one: one.key.subject.model, number=False),
    Column("Precision", lambda one: str(one.key.subject.precision), number=False),
    Column("Batch", lambda one: str(one.key.load.batch), kept="varying"),
    Column("Threads", lambda one: str(one.key.place.threads), kept="varying"),
    Column("Prompt", lambda one: f"{one.key.load.past_tokens:,}"),
    Column("Generated", lambda one: f"{one.tokens:,}"),
    Column("Time to first token (ms)", lambda one: scaled(one.first_token_s, 1e3)),
    Column("Time per output token (ms)", lambda one: scaled(one.token_s, 1e3)),
    Column("Tokens/s", lambda one: scaled(one.tokens_per_s, 1)),
    Column("Loop besides (ms)", lambda one: scaled(one.besides_s, 1e3)),
    Column("Single step (ms)", lambda one: scaled(one.single_step_s, 1e3), kept="filled"),
)


def generations(rows: Sequence[Generated]) -> Table:
    """The table of greedy loops."""
    return tabulate(rows, _GENERATED)


# --- precisions ----------------------------------------------------------------------------------------


def why(comparison: Why) -> Table:
    """A row for each length; operator classes in ms of A and of B, where operators were timed."""
    names = dict.fromkeys(kind.name for place in comparison.places for kind in place.classes)
    columns: tuple[Column[ComparedLength], ...] = (
        Column("Phase", lambda place: place.phase, number=False),
        Column("Tokens", lambda place: f"{place.length:,}"),
        Column(f"{comparison.a.precision} (ms)", lambda place: scaled(place.a_s, 1e3)),
        Column(f"{comparison.b.precision} (ms)", lambda place: scaled(place.b_s, 1e3)),
        Column("Speed", lambda place: units.ratio(place.speed)),
        Column("95 % interval", lambda place: f"{scaled(place.speed_low, 1)} to {scaled(place.speed_high, 1)}"),
        *(Column(name.capitalize(), partial(_class_ms, name)) for name in names),
    )
    return tabulate(comparison.places, columns)


def _class_ms(name: str, place: ComparedLength) -> str:
    texts = [f"{scaled(kind.a_s, 1e3)} → {scaled(kind.b_s, 1e3)}" for kind in place.classes if kind.name == name]
    return texts[0] if texts else MISSING


# --- costs ---------------------------------------------------------------------------------------------

Pair = tuple[Cost, Cost | None]
"""A cost, and the same cost at twice the token length."""


def costs(explanation: Explanation) -> Table:
    """The table of an explanation, with exact numbers."""
    rows = explanation.rows()
    total, _ = rows[-1]
    columns: tuple[Column[Pair], ...] = (
        Column("Component", lambda pair: pair[0].name, number=False),
        Column("Count", lambda pair: str(pair[0].count) if pair[0].count else MISSING),
        Column("Parameters", lambda pair: _exact(pair[0].params)),
        Column("Share", lambda pair: _share(pair[0].params, total.params)),
        Column("MACs", lambda pair: _exact(pair[0].macs)),
        Column("Share", lambda pair: _share(pair[0].macs, total.macs)),
        Column("MACs at twice the tokens", _doubled, kept="filled"),
        Column("Weights", lambda pair: _size(pair[0].weights_bytes)),
        Column("KV cache", lambda pair: _size(pair[0].cache_bytes), kept="filled"),
        Column("Activations", lambda pair: _size(pair[0].activation_bytes)),
    )
    return tabulate(rows, columns)


def _exact(amount: int) -> str:
    return f"{amount:,}" if amount else MISSING


def _share(amount: int, whole: int) -> str:
    return f"{100 * amount / whole:.1f} %" if amount else MISSING


def _size(count_bytes: int) -> str:
    return units.size(count_bytes) if count_bytes else MISSING


def _doubled(pair: Pair) -> str:
    once, twice = pair
    return f"{twice.macs / once.macs:.3g}x" if twice and once.macs else MISSING
