"""Groups of components in figures and captions: parts that grow alike with token length."""

from edgeprof.schema import Cost, Ledger

ATTENTION = ("attention scores", "weighted sum of values")
MLP = ("MLP up", "MLP down")
TOGETHER = {**dict.fromkeys(ATTENTION, "attention"), **dict.fromkeys(MLP, "MLP")}


def multiplied(ledger: Ledger) -> dict[str, int]:
    """MACs of each group that has any: projections, attention, MLP; other components keep their names.

    Components of a graph are the roles of its nodes ("weight matmuls"), and also keep their names.
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
