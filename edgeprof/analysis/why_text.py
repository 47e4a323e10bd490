"""Why B is faster than A, or is not, in words: a verdict for each phase, and what it comes from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from edgeprof import units
from edgeprof.analysis import operator_classes
from edgeprof.analysis.findings import BASE_PROVIDER
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

NOTICEABLE = 0.02  # of what the operators take: less is not worth a sentence
EXPLAINED_LOW, EXPLAINED_HIGH = 0.8, 1.2  # sums of operator times outside this are of runs that were disturbed


@dataclass(frozen=True)
class Pair:
    """Two sides, the lengths both were measured at, and what was profiled of B there."""

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
        """As short as tells them apart."""
        if self.a.model == self.b.model:
            return str(self.a.precision), str(self.b.precision)
        return str(self.a), str(self.b)


def winner(place: ComparedLength) -> Winner | None:
    """Who is clearly faster: the intervals do not overlap."""
    if place.speed_low <= 1 <= place.speed_high:
        return None
    return "B" if place.speed > 1 else "A"


# --- verdicts ------------------------------------------------------------------------------------------


def verdicts(pair: Pair) -> tuple[str, ...]:
    return tuple(_verdict(pair, phase) for phase in pair.phases)


def _verdict(pair: Pair, phase: Phase) -> str:
    places, (a, b) = pair.of(phase), pair.names
    head = phase.capitalize() + ("" if pair.provider == BASE_PROVIDER else f" on {pair.provider}")
    won = {name for place in places if (name := winner(place))}
    if not won:
        return f"{head}: no clear difference between {b} and {a} at {_span(places)}: the intervals overlap."
    stretches = [_stretch(name, list(group), a) for name, group in groupby(places, key=winner)]
    # Where B loses is what was asked; a win is explained where there is nothing else.
    chosen = [place for place in places if winner(place) == ("A" if "A" in won else "B")]
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
    """The class that makes the difference, if the profiled runs show one."""
    if not place.classes:
        return ""
    wins = winner(place) == "B"
    gap = sum(one.b_s - one.a_s for one in place.classes)
    if (gap < 0) != wins:
        return f", and the operators as profiled at {_tokens(place)} do not show why"
    a, b = pair.names
    most = (min if wins else max)(place.classes, key=lambda one: one.b_s - one.a_s)
    made = _made_anew(pair, place)
    if (
        not wins
        and made
        and most.name in (operator_classes.CONVERSION, operator_classes.MATMUL, operator_classes.MOVEMENT)
    ):
        return f", because {made}"
    what = "the matmuls take" if most.name == operator_classes.MATMUL else f"{most.name} takes"
    took = f"{what} {units.duration(most.b_s)} in {b} and {units.duration(most.a_s)} in {a}"
    return f", because {took} at {_tokens(place)}"


def _made_anew(pair: Pair, place: ComparedLength) -> str:
    """ "the weight of the LM head (768 x 50,257) is made in fp32 in every run (DequantizeLinear takes 38 ms)" """
    for at, one, reading in pair.profiled:
        anew = [product for product in _left(reading) if product.second == "computed"]
        if at == place and anew:
            takes_s = sum(kind.time_s for kind in reading.operators if kind.operator == "DequantizeLinear")
            whole_s = sum(kind.time_s for kind in reading.operators)
            plural = sum(product.nodes for product in anew) > 1
            what = joined([_named(product, one.vocabulary) for product in anew])
            spent = f"DequantizeLinear takes {units.duration(takes_s)}, " if takes_s else ""
            product_s = units.duration(sum(product.time_s for product in anew))
            whole = f"{units.duration(whole_s)} that all operators take at {_tokens(place)}"
            return (
                f"the weight{'s' * plural} of {what} {'are' if plural else 'is'} made in fp32 in every run: "
                f"{spent}the product {product_s}, of {whole}"
            )
    return ""


# --- findings ------------------------------------------------------------------------------------------


def findings(pair: Pair) -> tuple[str, ...]:
    """Of each phase at the longest length that was profiled, then what both phases share."""
    said: list[str] = []
    for phase in pair.phases:
        known = [place for place in pair.of(phase) if place.classes]
        if not known:
            said.append(f"{phase.capitalize()}: no operators were timed, so nothing is said of where time goes.")
            continue
        said += _of_place(pair, known[-1])
    return (*said, *_of_weights(pair))


def _of_place(pair: Pair, place: ComparedLength) -> Iterator[str]:
    a, b = pair.names
    times = {one.name: one for one in place.classes}
    at = f"{place.phase.capitalize()} of {_tokens(place)}"
    whole_a, whole_b = sum(one.a_s for one in place.classes), sum(one.b_s for one in place.classes)
    products = times.get(operator_classes.MATMUL)
    if products and products.a_s and products.b_s:
        faster = products.b_s < products.a_s
        yield (
            f"{at}: the matmuls take {_change(products)}, {units.ratio(products.b_s / products.a_s)} of the time: "
            f"{units.duration(abs(products.a_s - products.b_s))} {'gained' if faster else 'lost'}."
        )
    yield _conversion(pair, place, at, times.get(operator_classes.CONVERSION), whole_b)
    rest = [one for one in place.classes if one.name not in (operator_classes.MATMUL, operator_classes.CONVERSION)]
    rest_a, rest_b = sum(one.a_s for one in rest), sum(one.b_s for one in rest)
    if rest_a > NOTICEABLE * whole_a or rest_b > NOTICEABLE * whole_b:
        most = max(rest, key=lambda one: one.b_s)
        yield (
            f"{at}: all else takes {units.duration(rest_b)} in {b} ({_percent(rest_b, whole_b)}) and "
            f"{units.duration(rest_a)} in {a} ({_percent(rest_a, whole_a)}), most of it {most.name}."
        )
    yield _explained(pair, place, at)


def _change(one: ClassTime) -> str:
    return f"{units.duration(one.b_s)} instead of {units.duration(one.a_s)}"


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "0 %"


def _conversion(pair: Pair, place: ComparedLength, at: str, times: ClassTime | None, whole_s: float) -> str:
    b = pair.names[1]
    reading = next((reading for one, _, reading in pair.profiled if one == place), None)
    own = [one for one in reading.operators if one.operator.startswith("DynamicQuantizeMatMul")] if reading else []
    within = ""
    if own:
        nodes = f"{sum(one.nodes for one in own)} DynamicQuantizeMatMul"
        within = f"; {nodes} quantize their own input, which counts as matmul"
    if times is None or times.b_s < NOTICEABLE * whole_s:
        little = f"{units.duration(times.b_s)}, next to nothing," if times and times.b_s else "nothing"
        return f"{at}: operators of their own for quantizing and dequantizing cost {little} in {b}{within}."
    spent = f"{units.duration(times.b_s)} ({_percent(times.b_s, whole_s)} of what its operators take)"
    return f"{at}: quantizing, dequantizing and casting costs {spent} in {b}{within}."


def _explained(pair: Pair, place: ComparedLength, at: str) -> str:
    shares = (place.a_explained or 0.0, place.b_explained or 0.0)
    (a, b), (of_a, of_b) = pair.names, (f"{100 * share:.0f} %" for share in shares)
    said = f"{at}: the operator times add up to {of_b} of a run without the profiler in {b}, and to {of_a} in {a}"
    trusted = all(EXPLAINED_LOW <= share <= EXPLAINED_HIGH for share in shares)
    return f"{said}." if trusted else f"{said}: other work disturbed the runs, or time passes between operators."


# --- weights -------------------------------------------------------------------------------------------


def _quantized(reading: OperatorReading) -> bool:
    """By what runs: the precision of a plain file is that of most of its bytes."""
    products = operator_classes.weight_products(reading)
    dequantized = any(one.operator == "DequantizeLinear" for one in reading.operators)
    return dequantized or len(operator_classes.in_fp32(products)) < len(products)


def _left(reading: OperatorReading) -> list[MatrixTime]:
    """Weight matmuls that still multiply in fp32; where all do that is no news."""
    return operator_classes.in_fp32(operator_classes.weight_products(reading)) if _quantized(reading) else []


def _of_weights(pair: Pair) -> Iterator[str]:
    if not pair.profiled:
        return
    for phase in pair.phases:
        known = [found for found in pair.profiled if found[0].phase == phase]
        if known:
            yield from _of_products(pair, *known[-1])
    receipt = pair.profiled[-1][1].quantization
    if receipt:
        yield from _of_receipt(pair, receipt)


def _of_products(pair: Pair, place: ComparedLength, one: OperatorPass, reading: OperatorReading) -> Iterator[str]:
    """What runs, which need not be what the file says: the runtime fuses and folds when it loads."""
    products, left = operator_classes.weight_products(reading), _left(reading)
    if not products or not _quantized(reading):
        return
    count, remaining = (sum(product.nodes for product in some) for some in (products, left))
    at = f"{place.phase.capitalize()} of {_tokens(place)}"
    if not left:
        of = f"of {pair.names[1]}"
        several = f"none of the {count:,} weight matmuls {of} that run multiplies in fp32"
        yield f"{at}: {several if count > 1 else f'the one weight matmul {of} does not multiply in fp32'}."
        return
    takes_s = sum(product.time_s for product in left)
    named = joined([_named(product, one.vocabulary) for product in left])
    anew = _made_anew(pair, place)
    verbs = ("multiplies", "takes") if remaining == 1 else ("multiply", "take")
    yield (
        f"{at}: {remaining} of {units.counted(count, 'weight matmul')} of {pair.names[1]} still {verbs[0]} in fp32 "
        f"and {verbs[1]} {units.duration(takes_s)}: {named}."
    )
    if anew:
        yield sentence(f"{at}: {anew}")


def _named(product: MatrixTime, vocabulary: int | None) -> str:
    """ "the LM head (768 x 50,257)"; what is not known by its size goes by it."""
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
    why = "; ".join(f"{count} left: {reason}" for reason, count in reasons.items())
    yield f"The export of {pair.b.model} to {pair.b.precision} reached {reached}, {sizes}{'; ' + why if why else ''}."
