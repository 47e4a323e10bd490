"""The claim that token length drives computation and working memory, checked against measured points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from edgeprof import units
from edgeprof.analysis.claim_checks import CONFIRMED, CORRECTED, NOT_SHOWN, WRONG, CheckResult
from edgeprof.analysis.findings import BASE, BASE_PRECISION, BASE_PROVIDER, LengthGrowth, latency, whole_growth
from edgeprof.analysis.fit import fit
from edgeprof.schema import Curve, MeasuredGrowth, Measurement, Point, Verdict

MODELS = ("bert-base", "gpt2")
LENGTHS = (16, 32, 64, 128, 256)  # measured where a run has too few
ENOUGH = 5
CLEAR = 1.1  # resident sets of one point repeat within a few percent

R = TypeVar("R", Point, Measurement)


def _succeeded(record: Point | Measurement) -> bool:
    return (record.status if isinstance(record, Point) else record.outcome.status) == "ok"


# --- which points are needed ---------------------------------------------------------------------------


def lines(records: Iterable[R]) -> dict[str, list[R]]:
    """Model -> its usable records, shortest first: fp32 prefill of one sequence, run entirely by one provider of a real
    device, with the right result.

    Where a model was measured on several providers or with several thread counts, the setting with most lengths counts;
    of several devices only the one with most records does.
    """
    records = _of_one_device(list(records))
    settings: dict[str, dict[tuple[str, int], list[R]]] = {name: {} for name in MODELS}
    for record in records:
        load, place = record.load, record.place
        usual = load.phase == "prefill" and record.subject.precision == BASE and load.batch == 1
        if record.subject.model in settings and usual and _succeeded(record) and _sound(record):
            settings[record.subject.model].setdefault((place.provider, place.threads), []).append(record)
    longest = {
        name: max(of_model.values(), key=lambda line: len({record.load.tokens or 0 for record in line}), default=[])
        for name, of_model in settings.items()
    }
    return {name: sorted(line, key=lambda record: record.load.tokens or 0) for name, line in longest.items()}


def _of_one_device(records: list[R]) -> list[R]:
    counts = Counter(record.place.host for record in records if _succeeded(record))
    return [record for record in records if record.place.host in dict(counts.most_common(1))]


def _sound(record: Point | Measurement) -> bool:
    """Whether the model ran correctly and entirely on one provider of a real device, by onnxruntime."""
    receipt = record.receipt
    return not (record.place.is_baseline or record.place.emulated or receipt.share_text or receipt.agrees is False)


def measured_lengths(records: Iterable[R]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(sorted({record.load.tokens or 0 for record in line})) for name, line in lines(records).items()}


def lacking(lengths: dict[str, tuple[int, ...]]) -> Iterator[str]:
    """A line for each model with too few lengths."""
    for name, known in lengths.items():
        if len(known) < ENOUGH:
            have = f"only {', '.join(map(str, known))}" if known else "none"
            yield f"{name} {BASE_PRECISION} prefill at {ENOUGH} token lengths (there is {have})"


def to_measure(lengths: dict[str, tuple[int, ...]]) -> dict[tuple[int, ...], list[str]]:
    """Missing token lengths -> the models that need them."""
    missing: dict[tuple[int, ...], list[str]] = {}
    for name, known in lengths.items():
        if len(known) < ENOUGH:
            missing.setdefault(tuple(length for length in LENGTHS if length not in known), []).append(name)
    return missing


# --- the check -----------------------------------------------------------------------------------------


def length_drives(points: Iterable[Point]) -> CheckResult:
    """Check that time and working memory grow clearly from the shortest length to the longest, for every model.

    Raises:
        ValueError: a model has too few lengths (`lacking`).
    """
    evidence: list[str] = []
    numbers: dict[str, float] = {}
    fitted: list[MeasuredGrowth] = []
    verdicts: list[tuple[Verdict, str]] = []
    for line in lines(points).values():
        growth = whole_growth(line)
        if growth is None:
            raise ValueError("growth needs two token lengths")
        fitted.append(_fitted(line))
        evidence += _evidence(growth, fitted[-1])
        numbers |= _numbers(growth)
        verdicts.append(_verdict(growth))
    reached = {verdict for verdict, _ in verdicts}
    worst = next(verdict for verdict in (WRONG, NOT_SHOWN, CORRECTED, CONFIRMED) if verdict in reached)
    return CheckResult(worst, tuple(evidence), numbers, " ".join(text for _, text in verdicts if text), tuple(fitted))


def _verdict(growth: LengthGrowth) -> tuple[Verdict, str]:
    name, times = growth.long.subject.model, f"{growth.lengths:.3g} times the tokens"
    if not growth.time.clear:
        return NOT_SHOWN, f"The time of {name} does not differ clearly at {times}: the intervals overlap."
    if growth.time.value < 1:
        return WRONG, f"{name} takes {units.ratio(growth.time.value)} the time at {times}."
    if _memory(growth) < CLEAR:
        return CORRECTED, f"The working memory of {name} does not grow: {units.ratio(_memory(growth))} at {times}."
    return CONFIRMED, ""


def _memory(growth: LengthGrowth) -> float:
    return _working(growth.long) / _working(growth.short)


def _working(point: Point) -> int:
    """At least one byte: growth after loading may be too small for the kernel to report."""
    return max(point.memory.working_bytes if point.memory else 0, 1)


def _fitted(line: Sequence[Point]) -> MeasuredGrowth:
    tokens = [point.load.length for point in line]
    return MeasuredGrowth(
        points=tuple(line),
        latency_s=fit(tokens, [latency(point).value for point in line]),
        working_bytes=fit(tokens, [_working(point) for point in line]),
    )


def _numbers(growth: LengthGrowth) -> dict[str, float]:
    of = {"tokens": growth.lengths, "time": growth.time.value, "working memory": _memory(growth)}
    of["params"] = growth.long.facts.params / growth.short.facts.params
    of |= {"MACs": growth.macs} if growth.macs else {}
    return {f"{growth.long.subject.model}: {name} x": value for name, value in of.items()}


def _evidence(growth: LengthGrowth, fitted: MeasuredGrowth) -> Iterator[str]:
    short, long = growth.short, growth.long

    def from_to(unit: Callable[[float], str], value: Callable[[Point], float]) -> str:
        return f"{unit(value(short))} to {unit(value(long))}"

    work = f", MACs {units.ratio(growth.macs)}" if growth.macs else ""
    on = "" if long.place.provider == BASE_PROVIDER else f" on {long.place.provider}"
    yield (
        f"{long.subject.model}{on} from {short.load.tokens:,} to {long.load.tokens:,} tokens "
        f"({units.ratio(growth.lengths)}): "
        f"time {units.ratio(growth.time.value)} ({from_to(units.duration, lambda point: latency(point).value)}){work}, "
        f"working memory {units.ratio(_memory(growth))} ({from_to(units.size, _working)}), "
        f"parameters {units.ratio(long.facts.params / short.facts.params)}"
    )
    yield f"{long.subject.model}: time = {formula(fitted.latency_s, units.duration)}"
    yield f"{long.subject.model}: working memory = {formula(fitted.working_bytes, units.size)}"


def formula(curve: Curve, unit: Callable[[float], str]) -> str:
    """The curve for n tokens with units, and its largest relative error."""
    parts = ((curve.constant, ""), (curve.linear, " n"), (curve.quadratic, " n^2"))
    terms = [f"{unit(value)}{of}" for value, of in parts if value]
    return (
        f"{' + '.join(terms)} for n tokens, at most {100 * curve.worst:.1f} % from what was measured "
        f"(R^2 {curve.r_squared:.4f})"
    )
