"""Why B is or is not faster than A, as text: a verdict for each phase, and the findings behind it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from edgeprof import units
from edgeprof.analysis import operator_classes
from edgeprof.analysis.findings import BASE_PROVIDER, UNCLEAR
from edgeprof.schema import (
    ClassTime,
    ComparedLength,
    MatrixTime,
    OperatorPass,
    OperatorReading,
    Phase,
    QuantReceipt,
    Side,
)
from edgeprof.text import joined, sentence

Winner = Literal["A", "B"]

NOTICEABLE = 0.02  # share of operator time below which nothing is reported
EXPLAINED_LOW, EXPLAINED_HIGH = 0.8, 1.2  # sums of operator times outside this range come from disturbed runs


@dataclass(frozen=True)
class Pair:
    """Two sides, the lengths at which both were measured, and the passes of B at those lengths."""

    a: Side
    b: Side
    places: tuple[ComparedLength, ...]
    profiled: tuple[tuple[ComparedLength, OperatorPass, OperatorReading], ...]
    provider: str = BASE_PROVIDER

    def of(self, phase: Phase) -> list[ComparedLength]:
        return [place for place in self.places if place.phase == phase]

    @property
    def phases(self) -> list[Phase]:
        return list(dict.fromkeys(place.phase for place in self.places))

    @property
    def names(self) -> tuple[str, str]:
        """The shortest names that distinguish the sides."""
        if self.a.model == self.b.model:
            return str(self.a.precision), str(self.b.precision)
        return str(self.a), str(self.b)


def winner(place: ComparedLength) -> Winner | None:
    """The clearly faster side; None where no difference is shown."""
    if place.speed_low <= 1 <= place.speed_high:
        return None
    return "B" if place.speed > 1 else "A"


# --- verdicts ------------------------------------------------------------------------------------------


def verdicts(pair: Pair) -> tuple[str, ...]:
    return tuple(_verdict(pair, phase) for phase in pair.phases)


def _verdict(pair: Pair, phase: Phase) -> str:
    places, (a, b) = pair.of(phase), pair.names
    head = phase.capitalize() + ("" if pair.provider == BASE_PROVIDER else f" on {pair.provider}")
    winners = {name for place in places if (name := winner(place))}
    if not winners:
        return f"{head}: no clear difference between {b} and {a} at {_span(places)}: {UNCLEAR}."
    stretches = [_stretch(name, list(group), a) for name, group in groupby(places, key=winner)]
    # Explain where B is slower; explain where it is faster only if it never is.
    chosen = [place for place in places if winner(place) == ("A" if "A" in winners else "B")]
    why = _reason(pair, max(chosen, key=lambda place: max(place.speed, 1 / place.speed)))
    return f"{head}: {b} is {joined(stretches)}{why}."


def _stretch(name: Winner | None, places: Sequence[ComparedLength], a: str) -> str:
    where = _span(places)
    if name is None:
        return f"not clearly different at {where}"
    speeds = sorted(place.speed for place in places)
    low, high = units.ratio(speeds[0]), units.ratio(speeds[-1])
    rate = low if low == high else f"{low} to {high}"
    return f"{'faster' if name == 'B' else 'slower'} than {a} at {where} ({rate} as fast)"


def _span(places: Sequence[ComparedLength]) -> str:
    first, last = places[0], places[-1]
    return _tokens(first) if first is last else f"{first.length:,} to {_tokens(last)}"


def _tokens(place: ComparedLength) -> str:
    if place.phase == "prefill" and not place.length:
        return "their own size"
    return units.counted(place.length, "cached token" if place.phase == "decode" else "token")


def _reason(pair: Pair, place: ComparedLength) -> str:
    """The class that accounts for the difference, if the profiled runs show one."""
    if not place.classes:
        return ""
    wins = winner(place) == "B"
    gap = sum(times.b_s - times.a_s for times in place.classes)
    if (gap < 0) != wins:
        return f", and the operator times at {_tokens(place)} do not show why"
    a, b = pair.names
    most = (min if wins else max)(place.classes, key=lambda times: times.b_s - times.a_s)
    dequantized = _dequantized_each_run(pair, place)
    affected = (operator_classes.CONVERSION, operator_classes.MATMUL, operator_classes.MOVEMENT)
    if not wins and dequantized and most.name in affected:
        return f", because {dequantized}"
    what = "the matmuls take" if most.name == operator_classes.MATMUL else f"{most.name} takes"
    took = f"{what} {units.duration(most.b_s)} in {b} and {units.duration(most.a_s)} in {a}"
    return f", because {took} at {_tokens(place)}"


def _dequantized_each_run(pair: Pair, place: ComparedLength) -> str:
    """ "the weight of the LM head (768 x 50,257) is dequantized to fp32 in every run: DequantizeLinear takes ..." """
    for at, profiled, reading in pair.profiled:
        computed = [product for product in _left(reading) if product.second == "computed"]
        if at == place and computed:
            takes_s = sum(kind.time_s for kind in reading.operators if kind.operator == "DequantizeLinear")
            whole_s = sum(kind.time_s for kind in reading.operators)
            plural = sum(product.nodes for product in computed) > 1
            what = joined([_named(product, profiled.vocabulary) for product in computed])
            spent = f"DequantizeLinear takes {units.duration(takes_s)}, " if takes_s else ""
            product_s = units.duration(sum(product.time_s for product in computed))
            whole = f"{units.duration(whole_s)} of all operators at {_tokens(place)}"
            return (
                f"the weight{'s' * plural} of {what} {'are' if plural else 'is'} dequantized to fp32 in every run: "
                f"{spent}the product {product_s}, out of {whole}"
            )
    return ""


# --- findings ------------------------------------------------------------------------------------------


def findings(pair: Pair) -> tuple[str, ...]:
    """Findings of each phase at its longest profiled length, then those about weights."""
    sentences: list[str] = []
    for phase in pair.phases:
        known = [place for place in pair.of(phase) if place.classes]
        if not known:
            sentences.append(f"{phase.capitalize()}: operators were not timed, so where time goes is not shown.")
            continue
        sentences += _at_length(pair, known[-1])
    return (*sentences, *_of_weights(pair))


def _at_length(pair: Pair, place: ComparedLength) -> Iterator[str]:
    a, b = pair.names
    times = {kind.name: kind for kind in place.classes}
    at = f"{place.phase.capitalize()} of {_tokens(place)}"
    whole_a, whole_b = sum(kind.a_s for kind in place.classes), sum(kind.b_s for kind in place.classes)
    products = times.get(operator_classes.MATMUL)
    if products and products.a_s and products.b_s:
        faster = products.b_s < products.a_s
        yield (
            f"{at}: the matmuls take {_change(products)}, {units.ratio(products.b_s / products.a_s)} of the time: "
            f"{units.duration(abs(products.a_s - products.b_s))} {'gained' if faster else 'lost'}."
        )
    yield _conversion(pair, place, at, times.get(operator_classes.CONVERSION), whole_b)
    rest = [kind for kind in place.classes if kind.name not in (operator_classes.MATMUL, operator_classes.CONVERSION)]
    rest_a, rest_b = sum(kind.a_s for kind in rest), sum(kind.b_s for kind in rest)
    if rest_a > NOTICEABLE * whole_a or rest_b > NOTICEABLE * whole_b:
        most = max(rest, key=lambda kind: kind.b_s)
        yield (
            f"{at}: all other operators take {units.duration(rest_b)} in {b} ({_percent(rest_b, whole_b)}) and "
            f"{units.duration(rest_a)} in {a} ({_percent(rest_a, whole_a)}), mostly {most.name}."
        )
    yield _explained(pair, place, at)


def _change(times: ClassTime) -> str:
    return f"{units.duration(times.b_s)} instead of {units.duration(times.a_s)}"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "0 %"


def _conversion(pair: Pair, place: ComparedLength, at: str, times: ClassTime | None, whole_s: float) -> str:
    b = pair.names[1]
    reading = next((reading for at_length, _, reading in pair.profiled if at_length == place), None)
    operators = reading.operators if reading else ()
    own = [kind for kind in operators if kind.operator.startswith("DynamicQuantizeMatMul")]
    within = ""
    if own:
        nodes = f"{sum(kind.nodes for kind in own)} DynamicQuantizeMatMul"
        within = f"; {nodes} quantize their own input, counted as matmul"
    if times is None or times.b_s < NOTICEABLE * whole_s:
        little = f"only {units.duration(times.b_s)}" if times and times.b_s else "no time"
        return f"{at}: separate operators for quantizing and dequantizing take {little} in {b}{within}."
    spent = f"{units.duration(times.b_s)} ({_percent(times.b_s, whole_s)} of its operator time)"
    return f"{at}: quantizing, dequantizing and casting take {spent} in {b}{within}."


def _explained(pair: Pair, place: ComparedLength, at: str) -> str:
    shares = (place.a_explained or 0.0, place.b_explained or 0.0)
    (a, b), (of_a, of_b) = pair.names, (f"{100 * share:.0f} %" for share in shares)
    text = f"{at}: the operator times add up to {of_b} of a run without the profiler in {b}, and to {of_a} in {a}"
    trusted = all(EXPLAINED_LOW <= share <= EXPLAINED_HIGH for share in shares)
    return f"{text}." if trusted else f"{text}: other work disturbed the runs, or time passes between operators."


# --- weights -------------------------------------------------------------------------------------------


def _quantized(reading: OperatorReading) -> bool:
    """Whether the operators that run are quantized; the precision of a user's file describes most of its bytes only."""
    products = operator_classes.weight_products(reading)
    dequantized = any(kind.operator == "DequantizeLinear" for kind in reading.operators)
    return dequantized or len(operator_classes.in_fp32(products)) < len(products)


def _left(reading: OperatorReading) -> list[MatrixTime]:
    """Weight matmuls that still multiply in fp32; none of a file that is not quantized."""
    return operator_classes.in_fp32(operator_classes.weight_products(reading)) if _quantized(reading) else []


def _of_weights(pair: Pair) -> Iterator[str]:
    if not pair.profiled:
        return
    for phase in pair.phases:
        known = [profiled for profiled in pair.profiled if profiled[0].phase == phase]
        if known:
            yield from _of_products(pair, *known[-1])
    receipt = pair.profiled[-1][1].quantization
    if receipt:
        yield from _of_receipt(pair, receipt)


def _of_products(pair: Pair, place: ComparedLength, profiled: OperatorPass, reading: OperatorReading) -> Iterator[str]:
    """The matmuls that run, which may differ from those in the file: the runtime fuses and folds when it loads."""
    products, left = operator_classes.weight_products(reading), _left(reading)
    if not products or not _quantized(reading):
        return
    count, remaining = (sum(product.nodes for product in some) for some in (products, left))
    at = f"{place.phase.capitalize()} of {_tokens(place)}"
    if not left:
        of = f"of {pair.names[1]}"
        several = f"none of the {count:,} weight matmuls {of} multiplies in fp32"
        yield f"{at}: {several if count > 1 else f'the only weight matmul {of} does not multiply in fp32'}."
        return
    takes_s = sum(product.time_s for product in left)
    named = joined([_named(product, profiled.vocabulary) for product in left])
    dequantized = _dequantized_each_run(pair, place)
    verbs = ("multiplies", "takes") if remaining == 1 else ("multiply", "take")
    yield (
        f"{at}: {remaining} of {units.counted(count, 'weight matmul')} of {pair.names[1]} still {verbs[0]} in fp32 "
        f"and {verbs[1]} {units.duration(takes_s)}: {named}."
    )
    if dequantized:
        yield sentence(f"{at}: {dequantized}")


def _named(product: MatrixTime, vocabulary: int | None) -> str:
    """ "the LM head (768 x 50,257)"; other products are named by their size."""
    size = f"{product.inner:,} x {product.columns:,}"
    if vocabulary is not None and product.columns == vocabulary:
        return f"the LM head ({size})"
    return f"{product.nodes} of {size}"


def _of_receipt(pair: Pair, receipt: QuantReceipt) -> Iterator[str]:
    reached = f"{receipt.matmuls_quantized} of {units.counted(receipt.matmuls, 'weight matmul')}"
    sizes = f"{units.size(receipt.weight_bytes_quantized)} of {units.size(receipt.weight_bytes)} of their weights"
    reasons: dict[str, int] = {}
    for left in receipt.left:
        reasons[left.reason] = reasons.get(left.reason, 0) + 1
    why = "; ".join(f"{count} not quantized: {reason}" for reason, count in reasons.items())
    yield f"The export of {pair.b.model} to {pair.b.precision} quantized {reached}, {sizes}{'; ' + why if why else ''}."
