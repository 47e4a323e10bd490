"""Which provider has which node: read from onnxruntime's assignment, and independently from its profile of a run.

The assignment lists the nodes of the graph as it was divided between providers, before the parts were compiled or
fused; the profile lists what ran.

A partition is a sequence of nodes of one provider that ran one after the other, with none of another provider between
them. A node into which a provider compiled several is a partition of its own, whatever ran beside it.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from edgeprof import units
from edgeprof.schema import CPU, LeftOperator, Placement, ProviderShare, Target

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

COPIES = ("MemcpyToHost", "MemcpyFromHost")
"""Nodes that onnxruntime adds between providers that do not share memory."""


class PlacedNode(NamedTuple):
    """A node that was assigned to a provider, or that it ran. `provider` is onnxruntime's name for it."""

    provider: str
    operator: str
    name: str


def assigned(session: "InferenceSession") -> list[PlacedNode]:
    """The nodes of a session that was opened with `record_assignment`."""
    parts = session.get_provider_graph_assignment_info()
    return [PlacedNode(part.ep_name, node.op_type, node.name) for part in parts for node in part.get_nodes()]


def placement(
    target: Target,
    nodes: Sequence[PlacedNode],
    ran: Sequence[PlacedNode],
    macs: Mapping[str, int] | None = None,
    log: str = "",
    written_out: Mapping[str, int] | None = None,
) -> Placement:
    """The receipt of one graph on one provider.

    Args:
        nodes: as assigned.
        ran: in one run, in this order.
        macs: of every node of the file, by name; None where they could not be counted.
        log: what the provider wrote to standard error while it chose its nodes.
        written_out: operators that were decomposed into smaller ones for this provider, with their number.
    """
    counts = Counter(node.provider for node in nodes)
    names = [target.runtime_name, *(name for name in counts if name != target.runtime_name)]
    costs = _costs(nodes, macs)
    partitions = _partitions(nodes, ran)
    return Placement(
        placed=tuple(
            ProviderShare(
                provider=_edgeprof_name(name, target),
                nodes=counts[name],
                macs=_sum(costs, [node for node in nodes if node.provider == name]),
                partitions=partitions[name],
            )
            for name in names
        ),
        left=_left([node for node in nodes if node.provider != target.runtime_name], costs, reasons(log)),
        copies=sum(node.operator in COPIES for node in ran),
        written_out=dict(written_out or {}),
        disagreement=disagreement(nodes, ran, target) if ran else "",
    )


def _edgeprof_name(name: str, target: Target) -> str:
    return {target.runtime_name: target.provider, CPU.runtime_name: CPU.provider}.get(name, name)


def _partitions(nodes: Sequence[PlacedNode], ran: Sequence[PlacedNode]) -> Counter[str]:
    """Partitions of each provider in a run."""
    assigned_types = {(node.provider, node.operator) for node in nodes}
    counts: Counter[str] = Counter()
    for provider, group in groupby((node for node in ran if node.operator not in COPIES), lambda node: node.provider):
        compiled = [(provider, node.operator) not in assigned_types and _compiled(node) for node in group]
        counts[provider] += max(1, sum(compiled))
    return counts


def _compiled(node: PlacedNode) -> bool:
    """Whether it represents a part of the graph that its provider compiled.

    Such parts are numbered ("QNNExecutionProvider_4841480161828261718_1", "OpenVINO-EP-subgraph_1"); names of operators
    are words.
    """
    return not node.operator.isalnum()


def _left(
    nodes: Iterable[PlacedNode], costs: Mapping[PlacedNode, int] | None, reasons: Mapping[str, str]
) -> tuple[LeftOperator, ...]:
    """By operator and reason, the most MACs first, then the most nodes."""
    groups: dict[tuple[str, str], list[PlacedNode]] = {}
    for node in nodes:
        groups.setdefault((node.operator, reasons.get(node.name, "")), []).append(node)
    left = [
        LeftOperator(operator=operator, nodes=len(group), macs=_sum(costs, group), reason=reason)
        for (operator, reason), group in groups.items()
    ]
    return tuple(sorted(left, key=lambda one: (-(one.macs or 0), -one.nodes, one.operator, one.reason)))


# --- MACs ----------------------------------------------------------------------------------------------

_MADE_UNIQUE = re.compile(r"_token_\d+$")
_FUSED = re.compile(r"/\w+Fusion$")


def _costs(nodes: Sequence[PlacedNode], macs: Mapping[str, int] | None) -> dict[PlacedNode, int] | None:
    """MACs of every assigned node; None unless every node with MACs was matched by name.

    onnxruntime changes graphs before it divides them. A node that it changed keeps its name with a suffix
    ("conv_token_1", "matmul/MatMulAddFusion"); those that it adds (transposes, casts, formats) multiply nothing.
    """
    if macs is None:
        return None
    missing = {name: count for name, count in macs.items() if count}
    costs = dict.fromkeys(nodes, 0)
    for node in nodes:
        for name in _former_names(node.name):
            if name in missing:
                costs[node] = missing.pop(name)
                break
    return None if missing else costs


def _former_names(name: str) -> Iterable[str]:
    yield name
    for ending in (_MADE_UNIQUE, _FUSED):
        name = ending.sub("", name)
        yield name


def _sum(costs: Mapping[PlacedNode, int] | None, nodes: Iterable[PlacedNode]) -> int | None:
    return None if costs is None else sum(costs[node] for node in nodes)


# --- assignment against profile -----------------------------------------------------------------------


def disagreement(nodes: Sequence[PlacedNode], ran: Sequence[PlacedNode], target: Target) -> str:
    """Where a profile contradicts the assignment, in words; nodes that were renamed since are not compared."""

    def name_of(provider: str) -> str:
        return _edgeprof_name(provider, target)

    worked = {node.provider for node in ran if node.operator not in COPIES}
    given = {node.provider for node in nodes}
    found = [f"{name_of(one)} was assigned nodes and ran none" for one in sorted(given - worked)]
    found += [f"{name_of(one)} ran nodes and was assigned none" for one in sorted(worked - given)]
    owner = {node.name: node.provider for node in nodes if node.name}
    moved = Counter(
        (owner[node.name], node.provider)
        for node in ran
        if node.operator not in COPIES and owner.get(node.name, node.provider) != node.provider
    )
    for (was, ran_on), count in sorted(moved.items()):
        found.append(f"{units.counted(count, 'node')} of {name_of(was)} ran on {name_of(ran_on)}")
    return "; ".join(found)


# --- reasons -------------------------------------------------------------------------------------------

_NODE = re.compile(r"^\s+Operator type: \S+ Node name: (?P<name>.*) Node index: \d+")
_BECAUSE = re.compile(r"^\s+REASON : (?P<reason>.*)")
_CHECK = re.compile(r"QNN\.(?P<check>\w+)\(\) failed for node .* with error code (?P<code>\d+)")
_OF_ONE_NODE = re.compile(r"[. ]*\w+ node `.*")
_NO_KERNEL = re.compile(r"kernel not found in registries for Op type: \S+ node name: (?P<name>\S+)")
_PREFERRED = re.compile(r"Force fallback to CPU execution for node (?P<name>\S+) because the CPU")


def reasons(log: str) -> dict[str, str]:
    """Why nodes were left, by node name, from the log of opening a `verbose` session.

    QNN logs which check failed, then the nodes that it was about, and below them a reason, which may be a general
    sentence; others name one node a line.
    """
    found: dict[str, str] = {}
    group: list[str] = []
    check = ""
    for line in log.splitlines():
        if match := _NODE.match(line):
            group.append(match["name"])
        elif match := _BECAUSE.match(line):
            reason = _OF_ONE_NODE.sub("", match["reason"])
            found |= dict.fromkeys(group, check or reason.strip(" ."))
            check = ""
        elif line.strip():
            group = []
        if match := _CHECK.search(line):
            check = f"{match['check']} failed with error code {match['code']}"
        elif "Validation PASSED" in line:
            check = ""
        elif match := _NO_KERNEL.search(line):
            found[match["name"]] = "it has no kernel for it"
        elif match := _PREFERRED.search(line):
            found[match["name"]] = "onnxruntime expects the CPU to be faster"
    return found
