"""Tensors that are never made, because onnxruntime makes one node of several when it loads a graph.

Only what changes memory: the product of integer matrices before it is scaled (MatMulIntegerToFloat), and the sum that
goes into a norm and nowhere else (SkipLayerNormalization), whose operands then live until the norm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

CHAINS = (("MatMulInteger", "Cast", "Mul"), ("Add", "LayerNormalization"))


def unmade(graph: onnx.GraphProto) -> dict[str, int]:
    """Each such tensor, with the index of the last of the nodes that become one."""
    readers: dict[str, list[int]] = {}
    for index, node in enumerate(graph.node):
        for name in node.input:
            readers.setdefault(name, []).append(index)
    kept = {value.name for value in graph.output}
    found: dict[str, int] = {}
    for first in range(len(graph.node)):
        for chain in CHAINS:
            indices = _follow(graph, first, chain, readers, kept)
            found |= {graph.node[index].output[0]: indices[-1] for index in indices[:-1]}
    return found


def _follow(
    graph: onnx.GraphProto, first: int, chain: tuple[str, ...], readers: dict[str, list[int]], kept: set[str]
) -> list[int]:
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
