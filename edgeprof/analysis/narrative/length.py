"""Sentences about latency over token length."""

from edgeprof import units
from edgeprof.analysis import findings
from edgeprof.analysis.findings import LengthGrowth
from edgeprof.analysis.narrative import PhasePoints, off, power, spread
from edgeprof.schema import Point


def predicted_latencies(scope: PhasePoints) -> str:
    """Compare the best levels with what a probe of the machine predicted."""
    return off(scope, "latency", findings.latency_error)


def prefill_growth(scope: PhasePoints) -> str:
    growth = findings.length_growth(scope.subject)
    if growth is None:
        return _one_length(scope)
    step = f"From {growth.short.load.length:,} to {growth.long.load.length:,} tokens {scope.name(growth.long)}"
    if not growth.time.clear:
        return f"{step} shows no clear difference in latency: the intervals overlap."
    work = f" and {units.ratio(growth.macs)} the MACs" if growth.macs else ""
    return (
        f"{step} takes {units.ratio(growth.time.value)} as long ({_times(growth)}) for "
        f"{units.ratio(growth.lengths)} the tokens{work}; its parameters do not change."
    )


def prefill_latency(scope: PhasePoints) -> str:
    powers = [(growth.power, scope.name(growth.long)) for growth in scope.growths(findings.length_growth)]
    if len(powers) < 2:
        return prefill_growth(scope)
    return (
        f"{prefill_growth(scope)} Over the {len(powers)} lines latency grows with the token length to the power of "
        f"{spread(powers, power)}; 1 is proportional."
    )


def decode_growth(scope: PhasePoints) -> str:
    growth = findings.whole_growth(scope.subject)
    if growth is None:
        return _one_length(scope)
    name = scope.name(growth.long)
    step = f"From {growth.short.load.length:,} to {growth.long.load.length:,} cached tokens"
    if not growth.time.clear:
        return f"{step}, the time per output token of {name} does not clearly change: the intervals overlap."
    change = f"{units.duration(abs(growth.per_token_s))} {'more' if growth.per_token_s > 0 else 'less'}"
    return (
        f"{step}, an output token of {name} takes {units.ratio(growth.time.value)} as long ({_times(growth)}): "
        f"{change} for every cached token."
    )


def decode_latency(scope: PhasePoints) -> str:
    ratios = [(growth.time.value, scope.name(growth.long)) for growth in scope.growths(findings.whole_growth)]
    if len(ratios) < 2:
        return decode_growth(scope)
    return f"{decode_growth(scope)} From the shortest to the longest cache: {spread(ratios, units.ratio)}."


def _times(growth: LengthGrowth) -> str:
    return " to ".join(units.duration(findings.latency(point).value) for point in (growth.short, growth.long))


def _one_length(scope: PhasePoints) -> str:
    point = scope.subject[0]
    only = "only one length was measured" if len(scope.lines) == 1 else "every line has one length only"
    return (
        f"{scope.name(point)} takes {units.duration(findings.latency(point).value)} at {scope.tokens(point)}; "
        f"{only}, so growth with length is not shown."
    )


def time_per_token(scope: PhasePoints) -> str:
    line = scope.subject
    best, worst = min(line, key=findings.per_token), max(line, key=findings.per_token)
    least, most = (units.duration(findings.per_token(point).value) for point in (best, worst))
    name = scope.name(best)
    if len(line) < 2:
        return f"{name} needs {least} per token at {scope.tokens(best)}, the only measured length."
    if not findings.per_token(worst).over(findings.per_token(best)).clear:
        needs = f"{least} to {most}" if least != most else f"about {least}"
        return (
            f"From {line[0].load.length:,} to {scope.tokens(line[-1])} {name} needs {needs} per token, "
            "no clear difference: the intervals overlap."
        )
    return f"{name} is cheapest per token at {scope.tokens(best)}: {least}, against {most} at {worst.load.length:,}."


def throughput(scope: PhasePoints) -> str:
    best, peak = min(scope.points, key=findings.per_token), min(scope.subject, key=findings.per_token)
    if len(scope.points) == 1:
        return f"{scope.name(best)} {_does(scope)} {_rate(best)} at {scope.tokens(best)}."
    first = f"The highest throughput is {_rate(best)} ({scope.name(best)} at {scope.tokens(best)})"
    if scope.name(peak) == scope.name(best):
        return first + "."
    return f"{first}; {scope.name(peak)} {_does(scope)} at most {_rate(peak)}, at {scope.tokens(peak)}."


def _does(scope: PhasePoints) -> str:
    return "writes" if scope.phase == "decode" else "processes"


def _rate(point: Point) -> str:
    """Throughput of all sequences together."""
    return f"{units.number(1 / findings.per_token(point).value)} tokens/s"
