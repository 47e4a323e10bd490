"""Count a graph: one pass over its nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeprof.counting import arena, attention_length, flatten, loading, macs, planner
from edgeprof.counting.contrib_shapes import FLOAT, RULE_ERRORS, options
from edgeprof.counting.flatten import CONTROL_FLOW, Node
from edgeprof.counting.fusion import fused_away
from edgeprof.counting.modules import Attribution
from edgeprof.counting.node_sizes import node_kind, node_sizes
from edgeprof.counting.product_precision import IN_BLOCKS
from edgeprof.counting.qdq_fusion import absorbed, unpacked
from edgeprof.counting.records import GraphCosts, NodeCost, NodeWork
from edgeprof.counting.shapes import Inference
from edgeprof.counting.tensors import Tensor
from edgeprof.counting.weights import FirstUses, StoredWeights
from edgeprof.counting.workspace import WORKSPACES, workspace
from edgeprof.errors import ModelFileError
from edgeprof.process import Progress, silent
from edgeprof.schema import Uncounted

if TYPE_CHECKING:
    import onnx

    from edgeprof.counting.known_values import Array

FLOAT16 = 10  # TensorProto.FLOAT16
UNUSED = "unused weights"
LARGEST = 2**63 - 1  # the largest integer in a record


class Counter:
    def __init__(
        self,
        model: onnx.ModelProto,
        shapes: Mapping[str, tuple[int, ...]],
        values: Mapping[str, Array] | None = None,
        progress: Progress = silent,
    ) -> None:
        progress("reading the graph", 0.0)
        self.file = flatten.everything(model.graph)
        self.weights = StoredWeights(self.file)
        inference = Inference(model, shapes, values, progress=progress)
        self.graph, self.tensors, self.problems = inference.flat, inference.tensors, tuple(inference.problems)
        self.values = inference.values
        self.first_uses = FirstUses(self.weights)
        self.uncounted: dict[tuple[str, str], int] = {}
        for operator, reason in inference.uncounted:
            self._note_uncounted(operator, reason)
        self.progress = progress

    def costs(self) -> GraphCosts:
        self.progress("counting", 1.0)
        nodes = [*map(self._node, self.graph.node), *self._unused()]
        workspaces = [self._workspace(node) for node in self.graph.node]
        constants = self.weights.constants
        integers = absorbed(self.graph, self.tensors, constants)
        fused = fused_away(self.graph, constants) | integers
        loaded = constants - unpacked(self.graph, constants, integers)
        tensors = self._as_computed()
        most, at = planner.peak(self.graph, tensors, loaded, fused, workspaces)
        plan = planner.plan(self.graph, tensors, loaded, fused)
        costs = GraphCosts(
            nodes=tuple(nodes),
            uncounted=tuple(
                Uncounted(operator=name, count=count, reason=reason) for (name, reason), count in self.uncounted.items()
            ),
            problems=self.problems,
            params=sum(node.params for node in nodes),
            weights_bytes=self.weights.total_bytes,
            attended=attention_length.queries(self.graph, self.tensors, self.weights),
            live_bytes=most,
            live_at=self.graph.node[at].label if self.graph.node else "",
            working_bytes=arena.resident_bytes(plan, workspaces),
            held=loading.held(self.file, {**self.weights.stored, **self.tensors}, loaded, run=self.graph),
            unsized=sum(not self._sized(name) for node in self.graph.node for name in node.output if name),
        )
        if max(costs.macs, costs.params, costs.live_bytes, costs.working_bytes) > LARGEST:
            raise ModelFileError("The tensors of the graph are larger than any memory.", "Check its shapes.")
        return costs

    def by_node(self) -> list[NodeWork]:
        """What each node computes and moves, and the module that it belongs to."""
        modules = Attribution(self.graph, self.weights)
        return [
            NodeWork(
                name=node.name,
                operator=node.op_type,
                module=modules.of(node),
                precision=self._multiplied_in(node),
                macs=node.times * self._macs(node, node.operator),
                weights_bytes=node.times * self._weights_read(node),
                activation_bytes=node.times * self._moved(node),
                sizes=self._sizes(node),
                times=node.times,
                kind="unknown" if self._is_uncounted(node) else node_kind(node.operator),
            )
            for node in self.graph.node
            if not node.link and node.operator != "Constant"
        ]

    def _sizes(self, node: Node) -> dict[str, int]:
        weighted = any(name in self.weights.constants for name in self.weights.operands(node)[-1:])
        return node_sizes(node.operator, *self._tensors_of(node), options(node, self.values), weighted=weighted)

    def _is_uncounted(self, node: Node) -> bool:
        return any(name == node.operator for name, _ in self.uncounted)

    def _weights_read(self, node: Node) -> int:
        """Bytes of constants that a node reads: of a table those of the rows that it looks up."""
        if node.operator in macs.LOOKUPS:
            return self._bytes(node) if node.input[0] in self.weights.constants else 0
        names = {name for name in node.input if name in self.weights.constants}
        return sum(self.tensors[name].nbytes for name in names if self._sized(name))

    def _moved(self, node: Node) -> int:
        """Bytes that a node reads and writes besides weights; views move nothing."""
        if node.operator in macs.VIEWS or node.operator in ("Shape", "Size"):
            return 0
        read = {name for name in node.input if name and name not in self.weights.constants}
        return self._bytes(node) + sum(self.tensors[name].nbytes for name in read if self._sized(name))

    def _multiplied_in(self, node: Node) -> str:
        """The precision of a product, by what its kernel multiplies."""
        if node.operator in IN_BLOCKS:
            return f"int{node.attributes.get(IN_BLOCKS[node.operator], 4)}"
        if any(word in node.op_type for word in ("Integer", "QLinear", "DynamicQuantize", "QGemm", "QAttention")):
            return "int8"
        first = self.tensors.get(node.input[0]) if node.input else None
        return "fp16" if first is not None and first.dtype == FLOAT16 else "fp32"

    def _as_computed(self) -> dict[str, Tensor]:
        """Tensors in the types in which they are computed. onnxruntime's CPU provider has few fp16 kernels on x86 and
        works in fp32 from the first operator without one; only inputs and outputs of the graph keep their types."""
        outside = {value.name for value in (*self.graph.input, *self.graph.output)}
        return {
            name: Tensor(FLOAT, tensor.shape) if tensor.dtype == FLOAT16 and name not in outside else tensor
            for name, tensor in self.tensors.items()
        }

    def _sized(self, name: str) -> bool:
        return name in self.tensors and self.tensors[name].shape is not None

    def _node(self, node: Node) -> NodeCost:
        kind = node.operator
        params, weight_bytes = self.first_uses.of(node)
        written = 0 if kind in macs.VIEWS or kind == "Constant" else self._bytes(node)
        return NodeCost(
            name=node.name,
            operator=kind,
            role=macs.role(kind, self._weight_operands(node)),
            macs=node.times * self._macs(node, kind),
            params=params,
            weight_bytes=weight_bytes,
            activation_bytes=node.times * written,
        )

    def _unused(self) -> list[NodeCost]:
        """StoredWeights that no node uses in this run: those of another branch, and those that nothing reads."""
        params, weight_bytes = self.first_uses.unused()
        if not params:
            return []
        return [NodeCost(name="", operator="", role=UNUSED, params=params, weight_bytes=weight_bytes)]

    def _weight_operands(self, node: Node) -> list[int]:
        """Ranks of the operands that are weights, or are computed from nothing else."""
        weights = [self.tensors.get(name) for name in self.weights.operands(node)]
        return [len(tensor.shape) for tensor in weights if tensor is not None and tensor.shape is not None]

    def _bytes(self, node: Node) -> int:
        names = [name for name in node.output if name in self.tensors and name not in self.weights.constants]
        return sum(self.tensors[name].nbytes for name in names)

    def _macs(self, node: Node, kind: str) -> int:
        if kind in macs.WITHOUT_MACS or kind in CONTROL_FLOW or node.link:
            return 0
        rule = macs.MACS.get(kind)
        if rule is None:
            self._note_uncounted(kind, "edgeprof has no rule for it")
            return 0
        try:
            return rule(*self._tensors_of(node), options(node, self.values))
        except macs.NotCountable as problem:
            self._note_uncounted(kind, str(problem))
        except RULE_ERRORS:
            self._note_uncounted(kind, "its shapes depend on data, or are not in the file")
        return 0

    def _note_uncounted(self, kind: str, reason: str) -> None:
        self.uncounted[kind, reason] = self.uncounted.get((kind, reason), 0) + 1

    def _tensors_of(self, node: Node) -> tuple[list[Tensor | None], list[Tensor | None]]:
        return [self.tensors.get(name) for name in node.input], [self.tensors.get(name) for name in node.output]

    def _workspace(self, node: Node) -> int:
        """Bytes of scratch memory that a node needs while it runs."""
        kind = node.operator
        return sum(workspace(kind, *self._tensors_of(node), options(node, self.values))) if kind in WORKSPACES else 0
