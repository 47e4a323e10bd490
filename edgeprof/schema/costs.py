"""Counted costs of a model."""

from collections.abc import Sequence
from typing import Literal

from edgeprof.schema.base import Record
from edgeprof.schema.identity import Load, Precision


class Cost(Record, frozen=True, kw_only=True):
    """The cost of all occurrences of one kind of component, in one run at one shape."""

    name: str
    count: int  # occurrences
    in_block: bool = False  # every block has the same number of them
    params: int = 0
    macs: int = 0  # 1 MAC = 2 FLOP
    weights_bytes: int = 0
    cache_bytes: int = 0  # KV cache at the end of the run
    activation_bytes: int = 0  # that it writes


QUANTITIES = ("params", "macs", "weights_bytes", "cache_bytes", "activation_bytes")
"""The fields of a Cost that add up."""


class Uncounted(Record, frozen=True, kw_only=True):
    """Nodes of a graph whose MACs are unknown."""

    operator: str
    count: int
    reason: str


class Ledger(Record, frozen=True, kw_only=True):
    """Where parameters, MACs and bytes of one model come from, at one shape."""

    name: str
    source: Literal["formulas", "graph"]
    precision: Precision
    load: Load
    layers: int | None = None  # number of blocks; None: unknown (a graph)
    costs: tuple[Cost, ...]
    live_bytes: int  # largest live set: activations without the KV cache for formulas, all tensors for a graph
    live_at: str  # component or node with the largest live set
    working_bytes: int | None = None  # predicted memory of onnxruntime besides weights; graphs only
    uncounted: tuple[Uncounted, ...] = ()

    def total(self, quantity: str) -> int:
        """The sum over all components of a field of Cost."""
        return sum(getattr(cost, quantity) for cost in self.costs)

    def of(self, *names: str) -> Cost:
        """The sum of several components."""
        chosen = [cost for cost in self.costs if cost.name in names]
        return _summed(" and ".join(names), chosen, count=sum(cost.count for cost in chosen))

    def per_block(self) -> Cost | None:
        """One of the blocks, with all its components; None where the number of blocks is unknown."""
        if not self.layers:
            return None
        inside = [cost for cost in self.costs if cost.in_block]
        return _summed(f"one block of {self.layers}", inside, parts=self.layers)

    def everything(self) -> Cost:
        """The sum of all components."""
        return _summed("total of counted nodes" if self.uncounted else "total", self.costs)

    def rows(self) -> list[Cost]:
        """The rows of a table: every component with all its occurrences, then one block, then everything."""
        block = self.per_block()
        return [*self.costs, *([block] if block else []), self.everything()]


def _summed(name: str, costs: Sequence[Cost], *, count: int = 0, parts: int = 1) -> Cost:
    return Cost(
        name=name,
        count=count,
        params=sum(cost.params for cost in costs) // parts,
        macs=sum(cost.macs for cost in costs) // parts,
        weights_bytes=sum(cost.weights_bytes for cost in costs) // parts,
        cache_bytes=sum(cost.cache_bytes for cost in costs) // parts,
        activation_bytes=sum(cost.activation_bytes for cost in costs) // parts,
    )


class Crossover(Record, frozen=True, kw_only=True):
    """The shortest token length from which one part outweighs another: "the KV cache", "the weights", "bytes"."""

    larger: str
    smaller: str
    quantity: Literal["MACs", "bytes"]
    tokens: int | None  # None: at no length


class Explanation(Record, frozen=True, kw_only=True):
    """What `edgeprof explain` reports about one model."""

    ledger: Ledger
    doubled: Ledger | None = None  # at twice the token length; None: the length of a file is fixed
    crossovers: tuple[Crossover, ...] = ()
    lengths: tuple[Ledger, ...] = ()  # ledgers over token lengths
    notes: tuple[str, ...] = ()
    captions: dict[str, str] = {}  # figure -> caption (`edgeprof.analysis.explain_captions`)

    def rows(self) -> list[tuple[Cost, Cost | None]]:
        """The rows of the ledger, each with its cost at twice the token length, where known."""
        if self.doubled is None:
            return [(cost, None) for cost in self.ledger.rows()]
        twice = {cost.name: cost for cost in self.doubled.rows()}
        twice[self.ledger.everything().name] = self.doubled.everything()
        return [(cost, twice.get(cost.name)) for cost in self.ledger.rows()]
