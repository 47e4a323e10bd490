"""Ledgers as text: the captions of figures that show counted quantities over token lengths."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from edgeprof import units
from edgeprof.analysis.findings import CountedGrowth, counted_growth
from edgeprof.families import component_groups
from edgeprof.schema import Crossover, Explanation, Ledger
from edgeprof.text import joined, sentence


def explanation_captions(explanation: Explanation) -> dict[str, str]:
    """Figure name -> caption for the figures of an explanation; empty where it has one length only."""
    if len({ledger.load.length for ledger in explanation.lengths if ledger.load.length > 0}) < 2:
        return {}
    captions = {"explain-macs": _macs(explanation), "explain-memory": _memory(explanation)}
    return {name: text for name, text in captions.items() if text}


def _over(ledgers: Iterable[Ledger], of: Callable[[Ledger], float]) -> CountedGrowth | None:
    return counted_growth([(ledger.load.length, of(ledger)) for ledger in ledgers])


def _span(ledgers: Sequence[Ledger]) -> str:
    lengths = [ledger.load.length for ledger in ledgers if ledger.load.length > 0]
    return f"from {min(lengths):,} to {max(lengths):,} {_tokens(ledgers)}"


def _tokens(ledgers: Sequence[Ledger]) -> str:
    return "cached tokens" if ledgers[0].load.phase == "decode" else "tokens"


# --- MACs ----------------------------------------------------------------------------------------------


def _macs(explanation: Explanation) -> str:
    ledgers = explanation.lengths
    amounts = [(ledger.load.length, component_groups.multiplied(ledger)) for ledger in ledgers]
    names = dict.fromkeys(name for _, by_part in amounts for name in by_part)
    grown = {name: counted_growth([(length, by_part.get(name, 0)) for length, by_part in amounts]) for name in names}
    known = {name: growth for name, growth in grown.items() if growth}
    total = _over(ledgers, lambda ledger: ledger.total("macs"))
    if not known or not total:
        return ""
    clauses = [f"{_span(ledgers)} {_grouped(known, 'MACs', _tokens(ledgers))}"]
    if len(known) > 1 and total.shape != "flat":
        clauses.append(f"in all, {units.macs(total.first)} become {units.macs(total.last)}")
    return " ".join([sentence("; ".join(clauses)), *_crossed(explanation, "MACs"), *_uncounted(explanation.ledger)])


def _grouped(grown: Mapping[str, CountedGrowth], what: str, tokens: str) -> str:
    """One clause for components that grow alike: "the MACs of a and b grow ..., those of c stay the same"."""
    by_verb: dict[str, list[str]] = {}
    for name, growth in grown.items():
        by_verb.setdefault(_verb(growth, tokens), []).append(name)
    subjects = [f"the {what} of {joined(names)}" for names in by_verb.values()][:1]
    subjects += [f"those of {joined(names)}" for names in by_verb.values()][1:]
    return joined([f"{subject} {verb}" for subject, verb in zip(subjects, by_verb, strict=True)])


def _verb(growth: CountedGrowth, tokens: str, plural: bool = True) -> str:
    s = "" if plural else "s"
    match growth.shape:
        case "flat":
            return f"stay{s} the same"
        case "linear":
            return f"grow{s} in proportion to the {tokens}"
        case "quadratic":
            return f"grow{s} with the square of the {tokens}"
        case None if growth.ratio > 1:
            return f"grow{s} {units.ratio(growth.ratio)}"
        case None:
            return f"shrink{s} to {units.ratio(growth.ratio)}"


def _uncounted(ledger: Ledger) -> list[str]:
    if not ledger.uncounted:
        return []
    return [f"Not counted: {joined([f'{missing.count} x {missing.operator}' for missing in ledger.uncounted])}."]


def _crossed(explanation: Explanation, quantity: str) -> list[str]:
    lengths = [ledger.load.length for ledger in explanation.lengths]

    def describe(crossover: Crossover) -> str:
        overtakes = f"{crossover.larger} overtakes {crossover.smaller}"
        if crossover.tokens is None:
            return sentence(f"{overtakes} at no token length")
        outside = "" if min(lengths) <= crossover.tokens <= max(lengths) else ", outside the lengths shown"
        return sentence(f"{overtakes} at {crossover.tokens:,} {_tokens(explanation.lengths)}{outside}")

    return [describe(crossover) for crossover in explanation.crossovers if crossover.quantity == quantity]


# --- memory --------------------------------------------------------------------------------------------


def _memory(explanation: Explanation) -> str:
    ledgers = explanation.lengths
    graph = explanation.ledger.source == "graph"
    changing = [
        _sized("the KV cache", _over(ledgers, lambda ledger: ledger.total("cache_bytes")), ledgers),
        _sized(f"live {'tensors' if graph else 'activations'}", _over(ledgers, lambda it: it.live_bytes), ledgers),
    ]
    parts = [_weights(ledgers)]
    if any(changing):
        parts.append(sentence(f"{_span(ledgers)} {', and '.join(filter(None, changing))}"))
    if graph and explanation.ledger.total("cache_bytes"):
        parts.append("The KV cache is one of the live tensors.")
    return " ".join([*filter(None, parts), *_crossed(explanation, "bytes")])


def _weights(ledgers: Sequence[Ledger]) -> str:
    """Growth of the weights; constant parameters are reported only where they were counted at every length."""
    params = {ledger.total("params") for ledger in ledgers}
    sizes = {ledger.total("weights_bytes") for ledger in ledgers}
    if len(params) == len(sizes) == 1 and all(params):
        (count,), (size,) = params, sizes
        return (
            f"The {units.count(count)} parameters of {ledgers[0].name} do not change with the token length, and its "
            f"weights stay at {units.size(size)}."
        )
    growth = _over(ledgers, lambda ledger: ledger.total("weights_bytes"))
    return sentence(_sized("the weights", growth, ledgers)) if growth else ""


def _sized(what: str, growth: CountedGrowth | None, ledgers: Sequence[Ledger]) -> str:
    if growth is None:
        return ""
    verb = _verb(growth, _tokens(ledgers), plural=what.endswith("s"))
    span = units.size(growth.first)
    span = span if growth.shape == "flat" else f"from {span} to {units.size(growth.last)}"
    return f"{what} {verb}, {span}"


# --- ways to mix tokens ----------------------------------------------------------------------------------


def mixer_caption(mixers: Mapping[str, Sequence[Ledger]]) -> str:
    """The caption of the figure that compares ways to mix tokens; empty where nothing grows."""
    return " ".join(filter(None, (_compared(mixers, "params"), _compared(mixers, "macs"))))


QUANTITIES = {"params": ("parameters", units.count), "macs": ("MACs", units.macs)}


def _compared(mixers: Mapping[str, Sequence[Ledger]], quantity: str) -> str:
    what, unit = QUANTITIES[quantity]
    grown = {name: _over(ledgers, lambda it: it.total(quantity)) for name, ledgers in mixers.items()}
    known = {name: growth for name, growth in grown.items() if growth}
    if not known:
        return ""
    every = [ledger for name in known for ledger in mixers[name]]
    parts = [sentence(f"{_span(every)} {_grouped(known, what, _tokens(every))}")]
    common = set.intersection(*({ledger.load.length for ledger in mixers[name]} for name in known))
    if common and len(known) > 1:
        at = max(common)
        sizes = {name: next(it.total(quantity) for it in mixers[name] if it.load.length == at) for name in known}
        order = sorted(sizes, key=lambda name: -sizes[name])
        parts.append(f"At {at:,} {_tokens(every)}: {joined([f'{name} {unit(sizes[name])}' for name in order])}.")
    none = [name for name, ledgers in mixers.items() if ledgers and not any(it.total(quantity) for it in ledgers)]
    parts += [f"No {what}: {joined(none)}."] if none else []
    return " ".join(parts)
