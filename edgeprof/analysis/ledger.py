"""Closed forms as ledgers: the cost of a variant at a shape, and the token lengths at which components cross over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgeprof.families import family_of
from edgeprof.families.base import Component
from edgeprof.families.component_groups import multiplied
from edgeprof.recipe_table import Recipe, recipe
from edgeprof.schema import FP32, Case, Cost, Crossover, Ledger, Load, Logits, Phase, Precision, Variant

if TYPE_CHECKING:
    from edgeprof.counting import GraphCosts

LONGEST = 2**40  # tokens; a crossover beyond this counts as none


def ledger(
    variant: Variant, case: Case, precision: str = FP32, phase: Phase = "prefill", logits: Logits = "all"
) -> Ledger:
    """The cost of one run of a variant at a shape, from the closed forms of its family.

    Args:
        precision: of the weights, the name of a recipe.
        logits: "last" runs the LM head on the last position only.
    """
    family, row = family_of(variant), recipe(precision)
    components = family.components(variant, case, logits)
    peak = max(components, key=lambda part: part.live)
    blocks = [part for part in components if part.in_block]
    return Ledger(
        name=variant.name,
        source="formulas",
        precision=Precision(recipe=precision),
        load=Load(
            phase=phase,
            batch=case.batch,
            tokens=case.tokens,
            past_tokens=case.past_tokens,
            source_tokens=case.source_tokens or None,
        ),
        layers=family.summary(variant).layers if blocks else None,
        costs=tuple(_cost(part, row) for part in components),
        live_bytes=peak.live * row.activation_bytes,
        live_at=peak.name,
    )


def _cost(part: Component, row: Recipe) -> Cost:
    per_element = row.activation_bytes
    return Cost(
        name=part.name,
        count=part.count,
        in_block=part.in_block,
        params=part.count * part.params,
        macs=part.count * part.macs,
        weights_bytes=part.count * part.weight_bytes(row.stored),
        cache_bytes=part.count * part.cached * per_element,
        activation_bytes=part.count * part.activations * per_element,
    )


def of_graph(
    name: str,
    counted: GraphCosts,
    *,
    load: Load,
    precision: Precision,
    cache_bytes: int = 0,
) -> Ledger:
    """The counts of a graph, summed by the role of its nodes.

    Args:
        cache_bytes: size of the KV cache at the end of the run.
    """
    roles: dict[str, Cost] = {}
    for node in counted.nodes:
        sofar = roles.get(node.role, Cost(name=node.role, count=0))
        roles[node.role] = Cost(
            name=node.role,
            count=sofar.count + 1,
            params=sofar.params + node.params,
            macs=sofar.macs + node.macs,
            weights_bytes=sofar.weights_bytes + node.weight_bytes,
            activation_bytes=sofar.activation_bytes + node.activation_bytes,
        )
    cache = (Cost(name="KV cache", count=1, cache_bytes=cache_bytes),) if cache_bytes else ()
    return Ledger(
        name=name,
        source="graph",
        precision=precision,
        load=load,
        costs=(*sorted(roles.values(), key=lambda cost: -cost.macs), *cache),
        live_bytes=counted.live_bytes,
        live_at=counted.live_at,
        working_bytes=None if counted.unsized else counted.working_bytes,
        uncounted=counted.uncounted,
    )


def crossovers(at: Callable[[int], Ledger]) -> tuple[Crossover, ...]:
    """The token lengths at which attention overtakes the MLP in MACs, and the KV cache the weights in bytes.

    Args:
        at: the ledger at a token length; the difference of the compared quantities must not fall with the length.
    """
    crossed = []
    first = at(1)
    if {"attention", "MLP"} <= multiplied(first).keys():
        tokens = _first(lambda length: (by := multiplied(at(length)))["attention"] > by["MLP"])
        crossed.append(Crossover(larger="attention", smaller="the MLP", quantity="MACs", tokens=tokens))
    if first.total("cache_bytes"):
        tokens = _first(lambda length: (it := at(length)).total("cache_bytes") > it.total("weights_bytes"))
        crossed.append(Crossover(larger="the KV cache", smaller="the weights", quantity="bytes", tokens=tokens))
    return tuple(crossed)


def _first(holds: Callable[[int], bool]) -> int | None:
    """Find the smallest length from which a condition holds, by bisection."""
    if not holds(LONGEST):
        return None
    low, high = 0, LONGEST  # never holds at low, always at high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
