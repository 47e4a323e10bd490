"""The most bytes of tensors alive at once, in the order of the graph: what a run needs beside weights.

As onnxruntime plans memory: a tensor lives from the node that makes it to the last one that reads it; views share
their input's buffer, elementwise operators write over an input that nobody else needs; inputs and outputs of the graph
belong to the caller; what is fused when a graph is loaded is not made (`fusing`). What a runtime holds is more: see
`planner` and `arena`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from edgeprof.counting.macs import IN_PLACE, VIEWS

if TYPE_CHECKING:
    from edgeprof.counting.flatten import Flat, Node
    from edgeprof.counting.tensors import Tensor

ALWAYS = 2**62  # the last use of what belongs to the caller


def peak(
    graph: Flat,
    tensors: Mapping[str, Tensor],
    constants: Collection[str],
    fused: Mapping[str, int],
    workspaces: Sequence[int],
) -> tuple[int, int]:
    """The most bytes alive at once, and the index of the node that runs then.

    Args:
        constants: weights, and what is made of nothing but weights (folded when the graph is loaded).
        fused: tensors that are never made (`fusing.unmade`).
        workspaces: bytes that each node needs for itself while it runs.
    """
    buffers = _Buffers(graph, tensors, constants, fused)
    most, at = buffers.alive, 0
    for index, node in enumerate(graph.node):
        buffers.make(index, node)
        if (alive := buffers.alive + workspaces[index]) > most:
            most, at = alive, index
        buffers.release(index)
    return most, at


class _Buffers:
    def __init__(
        self,
        graph: Flat,
        tensors: Mapping[str, Tensor],
        constants: Collection[str],
        fused: Mapping[str, int],
    ) -> None:
        self.tensors, self.constants, self.fused = tensors, constants, fused
        self.kept = {value.name for value in (*graph.input, *graph.output)}
        self.last_use = last_uses(graph, fused)
        self.buffer: dict[str, str] = {}  # tensor -> the tensor whose buffer it shares
        self.size: dict[str, int] = {}  # of live buffers
        self.alive = 0  # bytes of all of them
        self.expiring: dict[int, list[str]] = {}
        for value in graph.input:
            if value.name not in constants and value.name in tensors:
                self._allocate(value.name, ALWAYS)

    def make(self, index: int, node: Node) -> None:
        kind = node.operator
        for name in node.output:
            if not name or name in self.constants or name not in self.tensors or name in self.fused:
                continue
            shared = "" if name in self.kept else self._shared(kind, index, node, name)
            if shared:
                self.buffer[name] = shared
                self._expire(shared, max(self.last_use.get(name, index), self.last_use[shared]))
            else:
                self._allocate(name, ALWAYS if name in self.kept else self.last_use.get(name, index))

    def release(self, index: int) -> None:
        for name in self.expiring.pop(index, ()):
            if self.last_use[name] == index:  # a view may have made it live longer
                self.alive -= self.size.pop(name, 0)

    def _shared(self, kind: str, index: int, node: Node, output: str) -> str:
        """The buffer that an output is written into, if it is one that is there already."""
        if kind in VIEWS:
            return self.buffer.get(node.input[0], "")
        if kind not in IN_PLACE:
            return ""
        wanted = self.tensors[output]
        for name in node.input:
            shared = self.buffer.get(name, "")
            fits = shared and shared not in self.kept and self.size.get(shared) == wanted.nbytes
            if fits and self.last_use[shared] == index:
                return shared
        return ""

    def _allocate(self, name: str, last_use: int) -> None:
        self.buffer[name] = name
        self.alive += self.tensors[name].nbytes - self.size.get(name, 0)
        self.size[name] = self.tensors[name].nbytes
        self._expire(name, last_use)

    def _expire(self, name: str, index: int) -> None:
        self.last_use[name] = index
        self.expiring.setdefault(index, []).append(name)


def last_uses(graph: Flat, fused: Mapping[str, int]) -> dict[str, int]:
    """Index of the last node that reads a tensor. Who reads a view reads what it shows; who reads for a fused node
    reads when that runs."""
    uses: dict[str, int] = {}
    for index in range(len(graph.node) - 1, -1, -1):
        node = graph.node[index]
        at = max((fused.get(name, index) for name in node.output), default=index)
        if node.operator in VIEWS and node.output:
            at = max(at, uses.get(node.output[0], at))
        for name in node.input:
            uses[name] = max(uses.get(name, at), at)
    return uses
