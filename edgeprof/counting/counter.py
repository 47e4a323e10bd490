"""Putting the parts together: one pass over the nodes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from edgeprof.counting import arena, live, planner, rules
from edgeprof.counting.contrib import FLOAT, MS, UNFIT, packing
from edgeprof.counting.dequantizing import EIGHT_BITS, absorbed, unpacked
from edgeprof.counting.fusing import unmade
from edgeprof.counting.reading import attributes, operator, reads, subgraphs
from edgeprof.counting.records import GraphCosts, NodeCost
from edgeprof.counting.shapes import Tensor, infer, stored_bytes
from edgeprof.counting.workspace import WORKSPACES, workspace
from edgeprof.schema import Uncounted

if TYPE_CHECKING:
    import onnx

FLOAT16 = 10  # TensorProto.FLOAT16
INDICES = {6, 7, 9}  # TensorProto: INT32, INT64, BOOL


class Counter:
    def __init__(self, model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.graph = model.graph
        self.tensors = infer(model, shapes)
        self.weights = _Weights(model.graph, self.tensors)
        self.uncounted: dict[tuple[str, str], int] = {}

    def costs(self) -> GraphCosts:
        nodes = tuple(map(self._node, self.graph.node))
        workspaces = [self._workspace(node) for node in self.graph.node]
        integers = absorbed(self.graph, self.tensors, self.weights.constants)
        fused = unmade(self.graph, self.weights.constants) | integers
        loaded = self.weights.constants - unpacked(self.graph, self.weights.constants, integers)
        tensors = self._as_computed()
        most, at = live.peak(self.graph, tensors, loaded, fused, workspaces)
        planned = planner.plan(self.graph, tensors, loaded, fused)
        return GraphCosts(
            nodes=nodes,
            uncounted=tuple(
                Uncounted(operator=name, count=count, reason=reason) for (name, reason), count in self.uncounted.items()
            ),
            params=sum(node.params for node in nodes),
            weights_bytes=self.weights.total_bytes,
            live_bytes=most,
            live_at=_label(self.graph.node[at]) if nodes else "",
            working_bytes=arena.resident_bytes(planned, workspaces),
            unsized=sum(not self._sized(name) for node in self.graph.node for name in node.output if name),
        )

    def _as_computed(self) -> dict[str, Tensor]:
        """Tensors in the types in which they are made. onnxruntime's CPU provider has few kernels for fp16 on x86, and
        works in fp32 from the first operator that has none; only inputs and outputs of the graph stay what they are."""
        outside = {value.name for value in (*self.graph.input, *self.graph.output)}
        return {
            name: Tensor(FLOAT, tensor.shape) if tensor.dtype == FLOAT16 and name not in outside else tensor
            for name, tensor in self.tensors.items()
        }

    def _sized(self, name: str) -> bool:
        return name in self.tensors and self.tensors[name].shape is not None

    def _node(self, node: onnx.NodeProto) -> NodeCost:
        kind = operator(node)
        params, weight_bytes = self.weights.claim(node)
        written = 0 if kind in rules.VIEWS or kind == "Constant" else self._bytes(node)
        return NodeCost(
            name=node.name,
            operator=kind,
            role=rules.role(kind, self._weight_operands(node, kind)),
            macs=self._macs(node, kind),
            params=params,
            weight_bytes=weight_bytes,
            activation_bytes=written,
        )

    def _weight_operands(self, node: onnx.NodeProto, kind: str) -> list[int]:
        """Dimensions of the operands that are weights, or come from nothing else."""
        names = [node.input[at] for at in rules.OPERANDS.get(kind, ()) if at < len(node.input)]
        weights = [self.tensors.get(name) for name in names if self.weights.is_weight(name)]
        return [len(tensor.shape) for tensor in weights if tensor is not None and tensor.shape is not None]

    def _bytes(self, node: onnx.NodeProto) -> int:
        names = [name for name in node.output if name in self.tensors and name not in self.weights.constants]
        return sum(self.tensors[name].nbytes for name in names)

    def _macs(self, node: onnx.NodeProto, kind: str) -> int:
        if kind in rules.WITHOUT_MACS:
            return 0
        if kind in rules.CONTROL_FLOW:
            self._miss(kind, "its subgraphs run as often as the data say")
            return 0
        rule = rules.MACS.get(kind)
        if rule is None:
            self._miss(kind, "edgeprof has no rule for it")
            return 0
        try:
            return rule(*self._around(node), attributes(node))
        except rules.NotCountable as problem:
            self._miss(kind, str(problem))
        except UNFIT:
            self._miss(kind, "its shapes depend on data, or are not in the file")
        return 0

    def _miss(self, kind: str, reason: str) -> None:
        self.uncounted[kind, reason] = self.uncounted.get((kind, reason), 0) + 1

    def _around(self, node: onnx.NodeProto) -> tuple[list[Tensor | None], list[Tensor | None]]:
        return [self.tensors.get(name) for name in node.input], [self.tensors.get(name) for name in node.output]

    def _workspace(self, node: onnx.NodeProto) -> int:
        """Bytes a node needs for itself while it runs."""
        kind = operator(node)
        return sum(workspace(kind, *self._around(node), attributes(node))) if kind in WORKSPACES else 0


class _Weights:
    """Initializers, what is made of nothing else, and who uses them first."""

    def __init__(self, graph: onnx.GraphProto, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.stored: dict[str, Tensor] = {}
        self.origins: dict[str, set[str]] = {}
        self._hold(graph)
        self.formats: set[str] = set()  # scales and zero points
        self.integers: set[str] = set()  # weights in integers of 32 bits: biases of quantized products
        self.rows: dict[str, set[str]] = {}  # what is looked up, and the weights it is looked up in
        self.real: set[str] = set()  # weights of 8 bits, or rows of them, made real: what they are multiplied by scales
        scales = {name for node in graph.node if node.op_type == "DynamicQuantizeLinear" for name in node.output[1:]}
        for node in graph.node:
            for subgraph in subgraphs(node):
                self._hold(subgraph)
            self._trace(node, scales)
        self.constants = set(self.origins)
        self.total_bytes = sum(stored_bytes(tensor.dtype, tensor.size) for tensor in self.stored.values())
        self.claimed: set[str] = set()

    def _hold(self, graph: onnx.GraphProto) -> None:
        for tensor in graph.initializer:
            self.stored[tensor.name] = Tensor(tensor.data_type, tuple(tensor.dims))
            self.origins[tensor.name] = {tensor.name}

    def _trace(self, node: onnx.NodeProto, scales: set[str]) -> None:
        """Follow weights through nodes that have nothing but weights to work on, and see which are only formats."""
        used = [name for name in node.input if name]
        for position in rules.QUANTIZATION.get(operator(node), ()):
            if position < len(node.input):
                self.formats |= self.origins.get(node.input[position], set())
        if node.op_type == "DequantizeLinear" and node.input[0] in self.stored:
            self.integers.add(node.input[0])
        if node.op_type == "Mul" and scales & set(used):  # the scale of the product of two quantized matrices
            self.formats |= set().union(*(self.origins.get(name, set()) for name in used))
        self._trace_scales(node, used)
        if operator(node) in rules.CONTROL_FLOW:
            return
        if node.op_type == "Constant" or (used and all(name in self.origins for name in used)):
            made = set().union(*(self.origins[name] for name in used)) if used else set()
            if node.op_type == "Constant" and node.output[0] in self.tensors:
                self.stored[node.output[0]] = self.tensors[node.output[0]]
                made = {node.output[0]}
            for name in node.output:
                self.origins[name] = made

    def _trace_scales(self, node: onnx.NodeProto, used: list[str]) -> None:
        """Integers that a Cast makes real and a Mul scales: what stands for a DequantizeLinear that would stay."""
        if node.op_type == "Gather":
            self.rows[node.output[0]] = self.origins.get(used[0], set())
        if node.op_type == "Cast" and self._weights_of(used[0]):
            tensor = self.tensors.get(used[0])
            self.real |= {node.output[0]} if tensor is not None and tensor.dtype in EIGHT_BITS else set()
        if node.op_type == "Mul" and self.real.intersection(used):
            self.formats |= set().union(*(self._weights_of(name) for name in used if name not in self.real))

    def _weights_of(self, name: str) -> set[str]:
        """What a tensor is made of, or is looked up in."""
        return self.origins.get(name) or self.rows.get(name, set())

    def is_weight(self, name: str) -> bool:
        """Whether a tensor is made of nothing but weights, and is not only their scales."""
        made = self.origins.get(name)
        return made is not None and not (made and made <= self.formats)

    def claim(self, node: onnx.NodeProto) -> tuple[int, int]:
        """Parameters and bytes of the weights that this node is the first to use."""
        if node.output and node.output[0] in self.constants:
            return 0, 0
        params = total = 0
        for position, name in enumerate(reads(node)):
            for origin in sorted(self.origins.get(name, set()) - self.claimed):
                self.claimed.add(origin)
                tensor = self.stored[origin]
                total += stored_bytes(tensor.dtype, tensor.size)
                indices = tensor.dtype in INDICES and origin not in self.integers
                if origin not in self.formats and not indices and tensor.size > 1:
                    params += _elements(tensor, operator(node), position, attributes(node))
        return params, total


def _elements(tensor: Tensor, kind: str, position: int, options: dict[str, Any]) -> int:
    """Weights that a tensor holds: several in an element where they are packed."""
    if kind == MS + "MatMulNBits" and position == 1:
        return int(options["N"]) * int(options["K"])
    if kind == MS + "GatherBlockQuantized" and position == 0:
        return prod(tensor.shape or ()) * packing(tensor.dtype, options)
    return tensor.size


def _label(node: onnx.NodeProto) -> str:
    return f"{operator(node)} ({node.name})" if node.name else operator(node)
