"""Components that are told together, in figures and in sentences: the parts that grow alike with token length."""

from edgeprof.schema import Cost, Ledger

ATTENTION = ("attention scores", "weighted sum of values")
MLP = ("MLP up", "MLP down")
TOGETHER = {**dict.fromkeys(ATTENTION, "attention"), **dict.fromkeys(MLP, "MLP")}


def multiplied(ledger: Ledger) -> dict[str, int]:
    """MACs of each part that has any: projections, attention, MLP; what belongs to none keeps its own name.

    A graph's ledger has the roles of its nodes for components ("weight matmuls"), and keeps those.
    """
    parts: dict[str, int] = {}
    for cost in ledger.costs:
        if cost.macs:
            parts[_part(cost)] = parts.get(_part(cost), 0) + cost.macs
    return parts


def _part(cost: Cost) -> str:
    if cost.name.endswith(("projection", "projections")):
        return "projections"
    return TOGETHER.get(cost.name, cost.name)
