"""Findings in words: the headlines of a report, and the caption of every figure.

Each sentence is computed. What the data do not show is said to be not shown, or nothing is said.
"""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from edgeprof import units
from edgeprof.analysis import counted, findings
from edgeprof.analysis.findings import Comparison, LengthGrowth, SizeGrowth
from edgeprof.analysis.words import joined
from edgeprof.schema import Findings, Ledger, Phase, Point


def sentences(points: Sequence[Point], mixers: Mapping[str, Sequence[Ledger]] | None = None) -> Findings:
    """All there is to tell about the points of one run; what has no data has no sentence.

    Args:
        mixers: ledgers over token lengths that are drawn beside the points.
    """
    phases: tuple[Phase, ...] = ("prefill", "decode")
    told = {phase: about for phase in phases if (about := Told.of(points, phase)).points}
    headlines = (say(told[phase]) for one_of, say in HEADLINES if (phase := _first(one_of, told)))
    captions = {name: say(told[phase]) for name, phase, say in CAPTIONS if phase in told}
    captions["mixers"] = counted.mixed(mixers or {})
    return Findings(
        headlines=tuple(filter(None, headlines)),
        captions={name: text for name, text in captions.items() if text},
        reference=tuple(point for about in told.values() for point in findings.reference_points(about.points)),
    )


def _first(one_of: Iterable[Phase], told: "dict[Phase, Told]") -> Phase | None:
    return next((phase for phase in one_of if phase in told), None)


@dataclass(frozen=True)
class Told:
    """The points of one phase, at least one, and how to name them: unambiguously, and no longer than that needs."""

    phase: Phase
    points: tuple[Point, ...]
    lines: tuple[tuple[Point, ...], ...]

    @classmethod
    def of(cls, points: Iterable[Point], phase: Phase) -> "Told":
        mine = findings.measured(points, phase)
        return cls(phase, tuple(mine), tuple(map(tuple, findings.by_series(mine).values())))

    def name(self, point: Point) -> str:
        """ "bert-base", with whatever else is not the same everywhere: "bert-base int8 at batch 4"."""
        varies = [field for field in _NAMED if len({getattr(other, field) for other in self.points}) > 1]
        return " ".join([point.variant, *(_NAMED[field].format(point=point) for field in varies)])

    def tokens(self, point: Point) -> str:
        return f"{point.length:,} cached tokens" if self.phase == "decode" else f"{point.length:,} tokens"

    @property
    def subject(self) -> Sequence[Point]:
        """The line to speak of: the one with the most lengths; among those the largest, in fp32."""
        base = findings.BASE_PRECISION
        return max(self.lines, key=lambda line: (len(line), line[0].params, line[0].precision == base))

    def growths(self, between: Callable[[Sequence[Point]], LengthGrowth | None]) -> list[LengthGrowth]:
        return list(filter(None, map(between, self.lines)))


LARGE_BYTES = 10_000_000  # what every process needs besides, a MB or two, then weighs little

_NAMED = {
    "precision": "{point.precision}",
    "provider": "on {point.provider}",
    "batch": "at batch {point.batch}",
    "threads": "with {point.threads} threads",
}


def _range(values: Sequence[tuple[float, str]], form: Callable[[float], str]) -> str:
    """ "0.83 (vit-tiny) to 1.15 (gpt2)"."""
    (low, low_name), (high, high_name) = min(values), max(values)
    if form(low) == form(high):
        return f"about {form(low)}"
    return f"{form(low)} ({low_name}) to {form(high)} ({high_name})"


def _power(value: float) -> str:
    return f"{value:.2f}"


# --- over token length ---------------------------------------------------------------------------------


def prefill_growth(told: Told) -> str:
    growth = findings.length_growth(told.subject)
    if growth is None:
        return _one_length(told)
    step = f"From {growth.short.length:,} to {growth.long.length:,} tokens {told.name(growth.long)}"
    if not growth.time.clear:
        return f"{step} shows no clear difference in latency: the intervals overlap."
    work = f" and {units.ratio(growth.macs)} the MACs" if growth.macs else ""
    return (
        f"{step} takes {units.ratio(growth.time.value)} as long ({_times(growth)}) for "
        f"{units.ratio(growth.lengths)} the tokens{work}; its parameters do not change."
    )


def prefill_latency(told: Told) -> str:
    powers = [(growth.power, told.name(growth.long)) for growth in told.growths(findings.length_growth)]
    if len(powers) < 2:
        return prefill_growth(told)
    return (
        f"{prefill_growth(told)} Over the {len(powers)} lines latency grows with the token length to the power of "
        f"{_range(powers, _power)}; 1 is proportional."
    )


def decode_growth(told: Told) -> str:
    growth = findings.whole_growth(told.subject)
    if growth is None:
        return _one_length(told)
    name = told.name(growth.long)
    step = f"From {growth.short.length:,} to {growth.long.length:,} cached tokens"
    if not growth.time.clear:
        return f"{step}, the time per output token of {name} does not clearly change: the intervals overlap."
    change = f"{units.duration(abs(growth.per_token_s))} {'more' if growth.per_token_s > 0 else 'less'}"
    return (
        f"{step}, an output token of {name} takes {units.ratio(growth.time.value)} as long ({_times(growth)}): "
        f"{change} for every cached token."
    )


def decode_latency(told: Told) -> str:
    ratios = [(growth.time.value, told.name(growth.long)) for growth in told.growths(findings.whole_growth)]
    if len(ratios) < 2:
        return decode_growth(told)
    return f"{decode_growth(told)} From the shortest to the longest cache: {_range(ratios, units.ratio)}."


def _times(growth: LengthGrowth) -> str:
    return " to ".join(units.duration(findings.latency(point).value) for point in (growth.short, growth.long))


def _one_length(told: Told) -> str:
    point = told.subject[0]
    measured = "only one length was measured" if len(told.lines) == 1 else "every line has one length only"
    return (
        f"{told.name(point)} takes {units.duration(findings.latency(point).value)} at {told.tokens(point)}; "
        f"{measured}, so growth with length is not shown."
    )


def time_per_token(told: Told) -> str:
    line = told.subject
    best, worst = min(line, key=findings.per_token), max(line, key=findings.per_token)
    least, most = (units.duration(findings.per_token(point).value) for point in (best, worst))
    name = told.name(best)
    if len(line) < 2:
        return f"{name} needs {least} per token at {told.tokens(best)}, the only length measured."
    if not findings.per_token(worst).over(findings.per_token(best)).clear:
        needs = f"{least} to {most}" if least != most else f"about {least}"
        return (
            f"From {line[0].length:,} to {told.tokens(line[-1])} {name} needs {needs} per token, "
            "no clear difference: the intervals overlap."
        )
    return f"{name} is cheapest per token at {told.tokens(best)}: {least}, against {most} at {worst.length:,}."


def throughput(told: Told) -> str:
    best, peak = min(told.points, key=findings.per_token), min(told.subject, key=findings.per_token)
    if len(told.points) == 1:
        return f"{told.name(best)} {_does(told)} {_rate(best)} at {told.tokens(best)}."
    first = f"The highest throughput is {_rate(best)} ({told.name(best)} at {told.tokens(best)})"
    if told.name(peak) == told.name(best):
        return first + "."
    return f"{first}; {told.name(peak)} {_does(told)} at most {_rate(peak)}, at {told.tokens(peak)}."


def _does(told: Told) -> str:
    return "writes" if told.phase == "decode" else "processes"


def _rate(point: Point) -> str:
    """Of all sequences together."""
    return f"{units.number(1 / findings.per_token(point).value)} tokens/s"


# --- memory --------------------------------------------------------------------------------------------


def memory(told: Told) -> str:
    line = [point for point in told.subject if findings.memory_split(point)]
    return " ".join(filter(None, (_split(told, line[-1]), _working_growth(told, line)))) if line else ""


def largest_peak(told: Told) -> str:
    known = [point for point in told.points if findings.memory_split(point)]
    return _split(told, max(known, key=lambda point: point.memory_peak_bytes or 0)) if known else ""


def _split(told: Told, point: Point) -> str:
    split = findings.memory_split(point)
    if split is None:
        return ""
    parts = joined(
        [
            f"{units.size(split.runtime_bytes)} runtime",
            f"{units.size(split.weights_bytes)} weights",
            f"{units.size(split.working_bytes)} working memory",
        ]
    )
    peak = f"At {told.tokens(point)} {told.name(point)} peaks at {units.size(split.peak_bytes)}"
    return f"{peak}, while it is loaded; its runs need {parts}." if split.peak_at_load else f"{peak}: {parts}."


def _working_growth(told: Told, line: Sequence[Point]) -> str:
    growth = findings.length_growth(line)
    short, long = (growth.short.memory_working_bytes, growth.long.memory_working_bytes) if growth else (None, None)
    if not growth or not short or not long:
        return ""
    step = f"From {growth.short.length:,} to {told.tokens(growth.long)} its working memory"
    if abs(long / short - 1) < 0.05:
        return f"{step} stays the same."
    return f"{step} {'grows' if long > short else 'shrinks'} from {units.size(short)} to {units.size(long)}."


def predicted(told: Told) -> str:
    """How far the working memory is from what was predicted."""
    ratios = [(ratio, point) for point in told.points if (ratio := findings.predicted_ratio(point))]
    if not ratios:
        return ""
    if len(ratios) == 1:
        ((ratio, point),) = ratios
        working, expected = (units.size(b or 0) for b in (point.memory_working_bytes, point.memory_predicted_bytes))
        return (
            f"The working memory of {told.name(point)} at {told.tokens(point)} is {units.ratio(ratio)} what was "
            f"predicted: {working} against {expected}."
        )
    large = [(ratio, point) for ratio, point in ratios if (point.memory_predicted_bytes or 0) >= LARGE_BYTES]
    small = [pair for pair in ratios if pair not in large]
    if len(large) < 2 or not small:
        return f"{_off(told, ratios)}."
    most, point = max(small, key=lambda pair: pair[0])
    return (
        f"{_off(told, large, f' above {units.size(LARGE_BYTES)}')}. "
        f"Below that it is up to {units.ratio(most)} ({told.name(point)} at {told.tokens(point)})."
    )


def _off(told: Told, ratios: Sequence[tuple[float, Point]], which: str = "") -> str:
    median = statistics.median(ratio for ratio, _ in ratios)
    named = [(ratio, f"{told.name(point)} at {told.tokens(point)}") for ratio, point in ratios]
    return (
        f"Working memory in {told.phase} is {units.ratio(median)} what was predicted, the median of {len(ratios)} "
        f"points{which}; {_range(named, units.ratio)}"
    )


# --- over parameters -----------------------------------------------------------------------------------


def latency_law(told: Told) -> str:
    return _law(told, _sized(told, _latency_s), "latency")


def latency_over_params(told: Told) -> str:
    return _laws(told, _sized(told, _latency_s), "latency")


def memory_over_params(told: Told) -> str:
    return _laws(told, _sized(told, _peak_bytes), "peak memory")


def _latency_s(point: Point) -> float | None:
    return point.latency_median_s


def _peak_bytes(point: Point) -> float | None:
    return point.memory_peak_bytes


def _sized(told: Told, value: findings.Value) -> list[SizeGrowth]:
    """Growth with size of each line over sizes: a family in one precision and setting."""
    families: dict[tuple[object, ...], list[Point]] = {}
    for point in findings.reference_points(told.points):
        key = (point.family, point.precision, point.provider, point.batch, point.threads)
        families.setdefault(key, []).append(point)
    return list(filter(None, (findings.size_growth(family, value) for family in families.values())))


def _law(told: Told, growths: Sequence[SizeGrowth], what: str) -> str:
    """Of the line with the most sizes."""
    if len({point.params for point in findings.reference_points(told.points)}) < 2:
        return ""  # one size says nothing about size
    if not growths:
        return f"Every family was measured in one size only, so growth of {what} with the parameters is not shown."
    base = findings.BASE_PRECISION
    growth = max(growths, key=lambda g: (len(g.points), g.params, g.points[0].precision == base))
    small, large = growth.points[0], growth.points[-1]
    if growth.power is None:
        return (
            f"{told.name(large)} has {units.ratio(growth.params)} the parameters of {small.variant} and "
            f"{units.ratio(growth.ratio)} its {what} at {told.tokens(large)}; two sizes are too few for a law."
        )
    return (
        f"Over {len(growth.points)} sizes of {_family(told, growth)} ({units.count(small.params)} to "
        f"{units.count(large.params)} parameters, {told.tokens(large)}) {what} grows with the parameters to the "
        f"power of {_power(growth.power)}: ten times the parameters, {units.ratio(10**growth.power)} the {what}."
    )


def _laws(told: Told, growths: Sequence[SizeGrowth], what: str) -> str:
    powers = [(growth.power, _family(told, growth)) for growth in growths if growth.power is not None]
    if len(powers) < 2:
        return _law(told, growths, what)
    return f"{_law(told, growths, what)} The lines with three sizes or more have powers of {_range(powers, _power)}."


def _family(told: Told, growth: SizeGrowth) -> str:
    """The name of a line over sizes: that of a point, with the family for the variant."""
    point = growth.points[-1]
    return told.name(point).replace(point.variant, point.family or point.variant, 1)


# --- precision against precision -----------------------------------------------------------------------


def precisions(told: Told) -> str:
    """Each precision against fp32."""
    pairs = findings.comparisons(told.points)
    names = dict.fromkeys(pair.point.precision for pair in pairs)
    return " ".join(_against(told, [pair for pair in pairs if pair.point.precision == name]) for name in names)


def _against(told: Told, pairs: Sequence[Comparison]) -> str:
    if len(pairs) == 1:
        return _one_against(told, pairs[0])
    faster = [pair for pair in pairs if pair.speed.clear and pair.speed.value > 1]
    slower = [pair for pair in pairs if pair.speed.clear and pair.speed.value < 1]
    unclear = [pair for pair in pairs if not pair.speed.clear]
    parts = []
    if faster:
        best = max(faster, key=lambda pair: pair.speed.value)
        median = statistics.median(pair.speed.value for pair in faster)
        up_to = f"median {units.ratio(median)}, up to {units.ratio(best.speed.value)}: {_where(told, best)}"
        parts.append(f"faster at {_share(faster, pairs)} ({up_to})")
    if slower:
        worst = min(slower, key=lambda pair: pair.speed.value)
        down_to = f"down to {units.ratio(worst.speed.value)}: {_where(told, worst)}"
        parts.append(f"slower at {_share(slower, pairs)} ({down_to})")
    if unclear:
        parts.append(f"without a clear difference at {_share(unclear, pairs)}")
    against = f"{told.phase.capitalize()} in {pairs[0].point.precision} against {pairs[0].base.precision}"
    return f"{against}: {joined(parts)}."


def _one_against(told: Told, pair: Comparison) -> str:
    where, speed, precision, base = _where(told, pair), pair.speed, pair.point.precision, pair.base.precision
    if not speed.clear:
        return (
            f"No clear difference between {precision} and {base} in the {told.phase} of {where}: the intervals overlap."
        )
    return (
        f"{told.phase.capitalize()} of {where} is {units.ratio(speed.value)} as fast in {precision} as in {base} "
        f"(95 % interval {units.number(speed.low)} to {units.number(speed.high)})."
    )


def _where(told: Told, pair: Comparison) -> str:
    return f"{pair.point.variant} at {told.tokens(pair.point)}"


def _share(some: Sequence[Comparison], of: Sequence[Comparison]) -> str:
    return f"all {len(of)} points" if len(some) == len(of) else f"{len(some)} of {len(of)} points"


# --- the tables ----------------------------------------------------------------------------------------

# Each speaks of the first of its phases that has data.
HEADLINES: tuple[tuple[tuple[Phase, ...], Callable[[Told], str]], ...] = (
    (("prefill",), prefill_growth),
    (("prefill", "decode"), latency_law),
    (("decode",), decode_growth),
    (("prefill",), precisions),
    (("decode",), precisions),
    (("prefill", "decode"), largest_peak),
    (("prefill", "decode"), predicted),
)

CAPTIONS: tuple[tuple[str, Phase, Callable[[Told], str]], ...] = (
    ("prefill-latency", "prefill", prefill_latency),
    ("prefill-time-per-token", "prefill", time_per_token),
    ("prefill-throughput", "prefill", throughput),
    ("prefill-memory", "prefill", memory),
    ("prefill-memory-predicted", "prefill", predicted),
    ("prefill-latency-by-size", "prefill", latency_over_params),
    ("prefill-memory-by-size", "prefill", memory_over_params),
    ("decode-latency", "decode", decode_latency),
    ("decode-throughput", "decode", throughput),
    ("decode-memory", "decode", memory),
    ("decode-memory-predicted", "decode", predicted),
    ("decode-latency-by-size", "decode", latency_over_params),
    ("decode-memory-by-size", "decode", memory_over_params),
)
