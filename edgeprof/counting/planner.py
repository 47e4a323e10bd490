"""Which buffer each tensor lies in, and from which node to which it is held: as onnxruntime plans a sequential run.

A node writes over an input that nobody else needs, or into a buffer of its output's shape that has become free, or
into a new one. A buffer is held until the last tensor that is put into it is done: between two layers it waits.
Source: onnxruntime/core/framework/allocation_planner.cc.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeprof.counting.live_bytes import ALWAYS, last_uses
from edgeprof.counting.macs import IN_PLACE, VIEWS

if TYPE_CHECKING:
    from edgeprof.counting.flatten import Flat, Node
    from edgeprof.counting.tensors import Tensor


@dataclass(eq=False)
class Buffer:
    """Held from node `first` to node `last`, both included."""

    tensor: Tensor
    first: int
    last: int
    output: bool = False  # of the graph: it stays

    @property
    def nbytes(self) -> int:
        return self.tensor.nbytes


@dataclass
class Plan:
    """What a run allocates: inputs belong to the caller."""

    inputs_bytes: int
    buffers: list[Buffer] = field(default_factory=list)


def plan(graph: Flat, tensors: Mapping[str, Tensor], constants: Collection[str], fused: Mapping[str, int]) -> Plan:
    """
    Args:
        constants: weights, and what is made of nothing but weights.
        fused: tensors that are never made (`fusing.unmade`).
    """
    planner = _Planner(graph, tensors, constants, fused)
    for index, node in enumerate(graph.node):
        planner.place(index, node)
        planner.release(index, node)
    return planner.made


class _Planner:
    def __init__(
        self,
        graph: Flat,
        tensors: Mapping[str, Tensor],
        constants: Collection[str],
        fused: Mapping[str, int],
    ) -> None:
        inputs = {value.name for value in graph.input if value.name not in constants and value.name in tensors}
        self.made = Plan(sum(tensors[name].nbytes for name in inputs))
        self.tensors = tensors
        self.unplanned = {*inputs, *constants, *fused}
        self.outputs = {value.name for value in graph.output}
        self.uses = last_uses(graph, fused)
        self.at: dict[str, Buffer] = {}
        self.free: dict[Tensor, list[Buffer]] = {}

    def place(self, index: int, node: Node) -> None:
        kind = node.operator
        for name in node.output:
            if name not in self.tensors or name in self.unplanned:
                continue
            if kind in VIEWS and node.input[0] not in self.at:  # a view of an input or of weights
                continue
            buffer = self._choose(kind, index, node, name)
            self.at[name] = buffer
            buffer.output = buffer.output or name in self.outputs
            buffer.last = ALWAYS if buffer.output else max(buffer.last, self.uses.get(name, index))

    def _choose(self, kind: str, index: int, node: Node, name: str) -> Buffer:
        tensor = self.tensors[name]
        if kind in VIEWS:
            return self.at[node.input[0]]
        if name not in self.outputs:
            if kind in IN_PLACE:
                for source in node.input:
                    held = self.at.get(source)
                    if held and held.last == index and held.nbytes == tensor.nbytes:
                        return held
            if waiting := self.free.get(tensor):
                return waiting.pop()
        self.made.buffers.append(Buffer(tensor, index, index))
        return self.made.buffers[-1]

    def release(self, index: int, node: Node) -> None:
        """What nobody needs after a node waits for a tensor of its shape."""
        touched = {id(held): held for name in (*node.input, *node.output) if (held := self.at.get(name))}
        for buffer in touched.values():
            if buffer.last == index:
                self.free.setdefault(buffer.tensor, []).append(buffer)
