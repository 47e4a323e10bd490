"""The most bytes of tensors alive at once, in the order of the graph: what a run needs beside weights.

As onnxruntime plans memory: a tensor lives from the node that makes it to the last one that reads it; views share
their input's buffer, elementwise operators write over an input that nobody else needs; inputs and outputs of the graph
belong to the caller. What dynamic quantization writes as MatMulInteger, Cast, Mul becomes one node when a graph is
loaded; what else is fused then is not modelled. What a runtime holds is more: see `planner` and `arena`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from edgeprof.counting.reading import operator, reads
from edgeprof.counting.rules import IN_PLACE, VIEWS

if TYPE_CHECKING:
    import onnx

    from edgeprof.counting.shapes import Tensor

ALWAYS = 2**62  # the last use of what belongs to the caller


def peak(
    graph: onnx.GraphProto, tensors: Mapping[str, Tensor], constants: Collection[str], workspaces: Sequence[int]
) -> tuple[int, int]:
    """The most bytes alive at once, and the index of the node that runs then.

    Args:
        constants: weights, and what is made of nothing but weights (folded when the graph is loaded).
        workspaces: bytes that each node needs for itself while it runs.
    """
    buffers = _Buffers(graph, tensors, constants)
    most, at = buffers.alive, 0
    for index, node in enumerate(graph.node):
        buffers.make(index, node)
        if buffers.alive + workspaces[index] > most:
            most, at = buffers.alive + workspaces[index], index
        buffers.release(index)
    return most, at


class _Buffers:
    def __init__(self, graph: onnx.GraphProto, tensors: Mapping[str, Tensor], constants: Collection[str]) -> None:
        self.tensors, self.constants = tensors, constants
        self.kept = {value.name for value in (*graph.input, *graph.output)}
        self.never_made = never_made(graph)
        self.last_use = last_uses(graph)
        self.buffer: dict[str, str] = {}  # tensor -> the tensor whose buffer it shares
        self.size: dict[str, int] = {}  # of live buffers
        self.expiring: dict[int, list[str]] = {}
        for value in graph.input:
            if value.name not in constants and value.name in tensors:
                self._allocate(value.name, ALWAYS)

    @property
    def alive(self) -> int:
        return sum(self.size.values())

    def make(self, index: int, node: onnx.NodeProto) -> None:
        kind = operator(node)
        for name in node.output:
            if not name or name in self.constants or name not in self.tensors or name in self.never_made:
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
                self.size.pop(name, None)

    def _shared(self, kind: str, index: int, node: onnx.NodeProto, output: str) -> str:
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
        self.size[name] = self.tensors[name].nbytes
        self._expire(name, last_use)

    def _expire(self, name: str, index: int) -> None:
        self.last_use[name] = index
        self.expiring.setdefault(index, []).append(name)


def last_uses(graph: onnx.GraphProto) -> dict[str, int]:
    """Index of the last node that reads a tensor; views count as reads of what they show."""
    uses: dict[str, int] = {}
    for index in range(len(graph.node) - 1, -1, -1):
        node = graph.node[index]
        for name in reads(node):
            uses.setdefault(name, index)
        if operator(node) in VIEWS and node.input:
            shown = uses.get(node.output[0], index)
            uses[node.input[0]] = max(uses[node.input[0]], shown)
    return uses


def never_made(graph: onnx.GraphProto) -> set[str]:
    """Integer products before they are scaled: onnxruntime makes one MatMulIntegerToFloat of the three nodes."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found: set[str] = set()
    for node in graph.node:
        chain, name = [node.op_type], node.output[0] if node.output else ""
        names = [name]
        while chain[-1] in ("MatMulInteger", "Cast") and len(readers.get(name, ())) == 1:
            chain.append(readers[name][0].op_type)
            name = readers[name][0].output[0]
            names.append(name)
        if chain == ["MatMulInteger", "Cast", "Mul"]:
            found.update(names[:2])
    return found
