"""Groups of components in figures and captions: parts that grow alike with token length.

A component belongs to a group by the end of its name: "expert MLP up" and "decoder MLP up" to the MLP.
"""

from edgeprof.schema import Cost, Ledger

ATTENTION = ("attention scores", "weighted sum of values")
MLP = ("MLP gate", "MLP up", "MLP down")
GROUPS = {"projections": ("projection", "projections"), "attention": ATTENTION, "MLP": MLP}


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
    return next((group for group, ends in GROUPS.items() if cost.name.endswith(ends)), cost.name)
