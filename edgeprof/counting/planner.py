"""Which buffer each tensor lies in, and from which node to which it is held, as onnxruntime plans a sequential run.

A node writes over an input that nothing else needs, or into a free buffer of its output's shape, or into a new one.
Views share their input's buffer; an output of the graph always has its own. A buffer is held until the last tensor in
it has been read: between two layers it waits. Inputs and outputs belong to the caller; tensors between fused nodes are
never allocated (`fusion`, `qdq_fusion`). Source: onnxruntime/core/framework/allocation_planner.cc.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edgeprof.counting.macs import IN_PLACE, VIEWS

if TYPE_CHECKING:
    from edgeprof.counting.flatten import Flat, Node
    from edgeprof.counting.tensors import Tensor

ALWAYS = 2**62  # the last use of what belongs to the caller


@dataclass(eq=False)
class Buffer:
    """Held from node `first` to node `last`, both included."""

    tensor: Tensor
    first: int
    last: int
    output: bool = False  # of the graph: never freed

    @property
    def nbytes(self) -> int:
        return self.tensor.nbytes


@dataclass
class AllocationPlan:
    """What a run allocates, and the bytes of its inputs, which belong to the caller."""

    inputs_bytes: int
    buffers: list[Buffer] = field(default_factory=list)


class Lifetimes:
    """Buffers by the node that first needs them, and by the one after which they are free."""

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self._allocated: dict[int, list[Buffer]] = {}
        self._freed: dict[int, list[Buffer]] = {}
        for buffer in buffers:
            self._allocated.setdefault(buffer.first, []).append(buffer)
            self._freed.setdefault(buffer.last, []).append(buffer)

    def allocated_at(self, index: int) -> list[Buffer]:
        return self._allocated.get(index, [])

    def freed_after(self, index: int) -> list[Buffer]:
        return self._freed.get(index, [])


def plan(
    graph: Flat,
    tensors: Mapping[str, Tensor],
    constants: Collection[str],
    fused: Mapping[str, int],
    *,
    reuse: bool = True,
) -> AllocationPlan:
    """Plan the buffers of a run.

    Args:
        constants: weights, and what is computed from nothing but weights (folded when the graph is loaded).
        fused: tensors that are never allocated (`fusion.fused_away`, `qdq_fusion.absorbed`), with their last reader.
        reuse: whether a free buffer waits for another tensor of its shape. False frees each after its last use.
    """
    planner = _Planner(graph, tensors, constants, fused, reuse=reuse)
    for index, node in enumerate(graph.node):
        planner.allocate(index, node)
        planner.free(index, node)
    return planner.plan


def peak(
    graph: Flat,
    tensors: Mapping[str, Tensor],
    constants: Collection[str],
    fused: Mapping[str, int],
    workspaces: Sequence[int],
) -> tuple[int, int]:
    """The most bytes of tensors alive at once, beside weights, and the index of the node that runs then.

    Args:
        constants, fused: as in `plan`.
        workspaces: bytes that each node needs for itself while it runs.
    """
    needed = plan(graph, tensors, constants, fused, reuse=False)
    lifetimes = Lifetimes(needed.buffers)
    alive = most = needed.inputs_bytes
    at = 0
    for index, workspace in enumerate(workspaces):
        alive += sum(buffer.nbytes for buffer in lifetimes.allocated_at(index))
        if alive + workspace > most:
            most, at = alive + workspace, index
        alive -= sum(buffer.nbytes for buffer in lifetimes.freed_after(index))
    return most, at


class _Planner:
    def __init__(
        self,
        graph: Flat,
        tensors: Mapping[str, Tensor],
        constants: Collection[str],
        fused: Mapping[str, int],
        *,
        reuse: bool,
    ) -> None:
        inputs = {value.name for value in graph.input if value.name not in constants and value.name in tensors}
        self.plan = AllocationPlan(sum(tensors[name].nbytes for name in inputs))
        self.tensors, self.reuse = tensors, reuse
        self.unplanned = {*inputs, *constants, *fused}
        self.outputs = {value.name for value in graph.output}
        self.last_uses = _last_uses(graph, fused)
        self.buffer_of: dict[str, Buffer] = {}
        self.waiting: dict[Tensor, list[Buffer]] = {}

    def allocate(self, index: int, node: Node) -> None:
        kind = node.operator
        for name in node.output:
            if name not in self.tensors or name in self.unplanned:
                continue
            is_view = kind in VIEWS and name not in self.outputs
            if is_view and node.input[0] not in self.buffer_of:  # of an input or of weights
                continue
            buffer = self.buffer_of[node.input[0]] if is_view else self._choose(kind, index, node, name)
            self.buffer_of[name] = buffer
            buffer.output = buffer.output or name in self.outputs
            buffer.last = ALWAYS if buffer.output else max(buffer.last, self.last_uses.get(name, index))

    def free(self, index: int, node: Node) -> None:
        """Let the buffers that nothing needs after a node wait for a tensor of their shape."""
        if not self.reuse:
            return
        names = (*node.input, *node.output)
        touched = {id(buffer): buffer for name in names if (buffer := self.buffer_of.get(name))}
        for buffer in touched.values():
            if buffer.last == index:
                self.waiting.setdefault(buffer.tensor, []).append(buffer)

    def _choose(self, kind: str, index: int, node: Node, name: str) -> Buffer:
        tensor = self.tensors[name]
        if name not in self.outputs:
            if kind in IN_PLACE:
                for source in node.input:
                    held = self.buffer_of.get(source)
                    if held and held.last == index and held.nbytes == tensor.nbytes:
                        return held
            if waiting := self.waiting.get(tensor):
                return waiting.pop()
        self.plan.buffers.append(Buffer(tensor, index, index))
        return self.plan.buffers[-1]


def _last_uses(graph: Flat, fused: Mapping[str, int]) -> dict[str, int]:
    """Index of the last node that reads a tensor. A reader of a view reads its source; what is read by a part of a
    fused node is read when that node runs."""
    uses: dict[str, int] = {}
    for index in range(len(graph.node) - 1, -1, -1):
        node = graph.node[index]
        at = max((fused.get(name, index) for name in node.output), default=index)
        if node.operator in VIEWS and node.output:
            at = max(at, uses.get(node.output[0], at))
        for name in node.input:
            uses[name] = max(uses.get(name, at), at)
    return uses
