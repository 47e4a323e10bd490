"""What is said of latency over token length."""

from edgeprof import units
from edgeprof.analysis import findings
from edgeprof.analysis.findings import LengthGrowth
from edgeprof.analysis.narrative import Told, power, spread
from edgeprof.schema import Point


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
        f"{spread(powers, power)}; 1 is proportional."
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
    return f"{decode_growth(told)} From the shortest to the longest cache: {spread(ratios, units.ratio)}."


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
