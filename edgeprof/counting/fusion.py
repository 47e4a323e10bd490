"""Tensors that are never made, because onnxruntime makes one node of several when it loads a graph.

Only what changes memory: the product of integer matrices before it is scaled (MatMulIntegerToFloat), the sum that goes
into a norm and nowhere else (SkipLayerNormalization), and a GELU written in parts (Gelu, FastGelu). What goes into such
a node lives until the last of its parts.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeprof.counting.flatten import Flat

CHAINS = (("MatMulInteger", "Cast", "Mul"), ("Add", "LayerNormalization"))
GELU_PARTS = {"Add", "Div", "Erf", "Mul", "Pow", "Tanh"}
GELU_NODES = 10  # the tanh form has nine


def unmade(graph: Flat, constants: Collection[str]) -> dict[str, int]:
    """Each such tensor, with the index of the last of the nodes that become one."""
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(graph.node):
        for name in node.input:
            readers.setdefault(name, []).append(index)
    kept = {value.name for value in graph.output}
    groups = [_chain(graph, first, chain, readers, kept) for first in range(len(graph.node)) for chain in CHAINS]
    groups += [_gelu(graph, name, readers, kept, constants) for name in readers if name not in constants]
    return {graph.node[index].output[0]: group[-1] for group in groups for index in group[:-1]}


def _chain(graph: Flat, first: int, chain: tuple[str, ...], readers: dict[str, list[int]], kept: set[str]) -> list[int]:
    """Indices of nodes of these types, each the only reader of the one before; empty where it is another chain."""
    indices = [first]
    for kind in chain:
        node = graph.node[indices[-1]]
        if node.op_type != kind:
            return []
        if len(indices) == len(chain):
            break
        name = node.output[0]
        if name in kept or len(readers.get(name, ())) != 1:
            return []
        indices.append(readers[name][0])
    return indices


def _gelu(
    graph: Flat, name: str, readers: dict[str, list[int]], kept: set[str], constants: Collection[str]
) -> list[int]:
    """Indices of the elementwise nodes that make one value of `name` alone, by way of Erf or Tanh; else empty."""
    if len(readers[name]) < 2:
        return []
    inside: list[int] = []
    values = {name}
    for index in range(readers[name][0], min(readers[name][0] + GELU_NODES, len(graph.node))):
        node = graph.node[index]
        if node.op_type not in GELU_PARTS or any(one not in values and one not in constants for one in node.input):
            continue
        inside.append(index)
        values.add(node.output[0])
        leaving = {one for one in values if one in kept or any(reader not in inside for reader in readers.get(one, ()))}
        if leaving == {node.output[0]}:
            kinds = {graph.node[one].op_type for one in inside}
            return inside if kinds & {"Erf", "Tanh"} and not _is_halved_first(graph, inside, constants) else []
    return []


def _is_halved_first(graph: Flat, inside: list[int], constants: Collection[str]) -> bool:
    """x (0.5 (1 + erf)), as torch writes it for old operator sets, is not a form that onnxruntime knows."""
    nodes = [graph.node[index] for index in inside]
    curved = {node.output[0] for node in nodes if node.op_type in ("Erf", "Tanh")}
    raised = {node.output[0] for node in nodes if node.op_type == "Add" and curved.intersection(node.input)}
    return any(raised.intersection(node.input) and set(node.input) & set(constants) for node in nodes)
