"""Tensors that are never allocated, because onnxruntime fuses several nodes into one when it loads a graph.

Only fusions that change memory: the product of integer matrices before it is scaled (MatMulIntegerToFloat), a sum that
is read by a norm alone (SkipLayerNormalization), and a GELU written in parts (Gelu, FastGelu). The inputs of a fused
node live until the last of its parts.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeprof.counting.flatten import Flat

CHAINS = (("MatMulInteger", "Cast", "Mul"), ("Add", "LayerNormalization"))
GELU_PARTS = {"Add", "Div", "Erf", "Mul", "Pow", "Tanh"}
GELU_NODES = 10  # the tanh form has nine


def fused_away(graph: Flat, constants: Collection[str]) -> dict[str, int]:
    """Tensors that are never allocated, each with the index of the last node that is fused into its own."""
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(graph.node):
        for name in node.input:
            readers.setdefault(name, []).append(index)
    outputs = {value.name for value in graph.output}
    groups = [_chain(graph, first, chain, readers, outputs) for first in range(len(graph.node)) for chain in CHAINS]
    groups += [_gelu(graph, name, readers, outputs, constants) for name in readers if name not in constants]
    return {graph.node[index].output[0]: group[-1] for group in groups for index in group[:-1]}


def _chain(
    graph: Flat, first: int, chain: tuple[str, ...], readers: dict[str, list[int]], outputs: set[str]
) -> list[int]:
    """Indices of nodes of these types, each the only reader of the one before; empty where there is no such chain."""
    indices = [first]
    for kind in chain:
        node = graph.node[indices[-1]]
        if node.op_type != kind:
            return []
        if len(indices) == len(chain):
            break
        name = node.output[0]
        if name in outputs or len(readers.get(name, ())) != 1:
            return []
        indices.append(readers[name][0])
    return indices


def _gelu(
    graph: Flat, name: str, readers: dict[str, list[int]], outputs: set[str], constants: Collection[str]
) -> list[int]:
    """Indices of the elementwise nodes that compute one value from `name` alone, through Erf or Tanh; else empty."""
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
        leaving = {
            one for one in values if one in outputs or any(reader not in inside for reader in readers.get(one, ()))
        }
        if leaving == {node.output[0]}:
            kinds = {graph.node[one].op_type for one in inside}
            return inside if kinds & {"Erf", "Tanh"} and not _is_halved_first(graph, inside, constants) else []
    return []


def _is_halved_first(graph: Flat, inside: list[int], constants: Collection[str]) -> bool:
    """Whether it is x (0.5 (1 + erf)), as torch writes it for old operator sets, which onnxruntime does not fuse."""
    nodes = [graph.node[index] for index in inside]
    curved = {node.output[0] for node in nodes if node.op_type in ("Erf", "Tanh")}
    raised = {node.output[0] for node in nodes if node.op_type == "Add" and curved.intersection(node.input)}
    return any(raised.intersection(node.input) and set(node.input) & set(constants) for node in nodes)
