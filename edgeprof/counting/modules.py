"""Which part of a transformer a node belongs to, by its place in the flow of data: names are not read.

    embedding                 look-ups in tables of weights, convolutions before any layer, and what combines them
    attention scores          products of two activations, fused attention, and what lies between; rotary embedding
    attention projections     weight products whose results attention reads, and the first ones that read its results
    head                      weight products whose results leave the graph without a norm or a residual between
    MLP                       all other weight products, experts among them, and what follows each
    norms and residuals       norms, and sums of two different modules

Nodes without a place of their own (reshapes, biases, activations, conversions) belong to the module that they read, or
to the one that reads them where they read none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from edgeprof.counting.contrib_shapes import MS
from edgeprof.counting.macs import ATTENTION, CONVOLUTIONS, EXPERTS, LOOKUPS, NORMS, PRODUCTS
from edgeprof.schema import MODULES

if TYPE_CHECKING:
    from edgeprof.counting.flatten import Flat, Node
    from edgeprof.counting.weights import StoredWeights

EMBEDDING, PROJECTIONS, SCORES, MLP, NORM, HEAD, OTHER = MODULES

ROTARY = {"RotaryEmbedding", MS + "RotaryEmbedding", MS + "GemmaRotaryEmbedding", MS + "MRotaryEmbedding"}
SUMS = {"Add", "Sum"}
OPEN = {"ReduceMean", MS + "SkipLayerNormalization", MS + "SkipSimplifiedLayerNormalization"}
"""Parts of a norm that is written out, and norms with a residual."""

DYNAMIC = "DynamicQuantizeLinear"
CONVERSIONS = {DYNAMIC, "QuantizeLinear", MS + "QuantizeLinear"}
"""Before a product, and part of it."""


class Attribution:
    """The module of every node of a graph."""

    def __init__(self, graph: Flat, weights: StoredWeights) -> None:
        self.graph, self.weights = graph, weights
        self.producers = {name: node for node in graph.node for name in node.output if name}
        self.readers: dict[str, list[Node]] = {}
        for node in graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.module: dict[int, str] = {}
        self._products()
        self._forward()
        self._backward()

    def of(self, node: Node) -> str:
        return self.module.get(id(node), OTHER)

    # --- products ---

    def _products(self) -> None:
        weighted = [node for node in self.graph.node if self._is_weighted(node)]
        scores = [node for node in self.graph.node if self._is_score(node)]
        self.weighted = set(map(id, weighted))
        self._set(scores, SCORES)
        self._set(weighted, MLP)
        self._set(self._leaving(), HEAD)
        for node in scores:
            self._set(self._nearest(node, self._before), PROJECTIONS)
            self._set(self._nearest(node, self._after), PROJECTIONS)
        self._set((node for node in self.graph.node if self._is_embedding(node)), EMBEDDING)
        self._set((node for node in self.graph.node if node.operator in NORMS or node.operator in OPEN), NORM)
        self._set((node for node in self.graph.node if node.operator in ROTARY), SCORES)

    def _set(self, nodes: Iterator[Node] | list[Node], module: str) -> None:
        self.module.update((id(node), module) for node in nodes)

    def _is_weighted(self, node: Node) -> bool:
        if node.operator in EXPERTS:
            return True
        return node.operator in PRODUCTS and bool(self.weights.operands(node)) and not self._is_constant(node)

    def _is_score(self, node: Node) -> bool:
        return node.operator in ATTENTION or (
            node.operator in PRODUCTS and not self.weights.operands(node) and not self._is_constant(node)
        )

    def _is_embedding(self, node: Node) -> bool:
        if node.operator in CONVOLUTIONS:
            return not self._nearest(node, self._before)
        return node.operator in LOOKUPS and bool(self.weights.operands(node)) and not self._is_constant(node)

    def _is_constant(self, node: Node) -> bool:
        return bool(node.output) and node.output[0] in self.weights.constants

    # --- neighbours ---

    def _before(self, node: Node) -> Iterator[Node]:
        for name in node.input:
            if name in self.producers and name not in self.weights.constants:
                yield self.producers[name]

    def _after(self, node: Node) -> Iterator[Node]:
        for name in node.output[:1] if node.operator == DYNAMIC else node.output:  # a scale only follows its values
            yield from self.readers.get(name, ())

    def _nearest(self, node: Node, way: Callable[[Node], Iterator[Node]]) -> list[Node]:
        """The weight products that are reached without passing one, or another score.

        On the way back, the scale that activations were quantized with belongs to the product that it was made for.
        """
        back = way == self._before
        return self._reached(way(node), way, lambda at: at.operator in LOOKUPS or (back and at.operator == DYNAMIC))

    def _leaving(self) -> list[Node]:
        """Weight products that outputs of the graph are computed from, with no norm and no sum of tensors between."""
        last = (self.producers[value.name] for value in self.graph.output if value.name in self.producers)
        return self._reached(
            last, self._before, lambda at: at.operator in NORMS or at.operator in OPEN or self._adds_tensors(at)
        )

    def _reached(
        self, start: Iterator[Node], way: Callable[[Node], Iterator[Node]], ends: Callable[[Node], bool]
    ) -> list[Node]:
        """The first weight product of each path that neither a score nor another end cuts off."""
        waiting, seen, found = list(start), set[int](), []
        while waiting:
            at = waiting.pop()
            if id(at) in seen:
                continue
            seen.add(id(at))
            if id(at) in self.weighted:
                found.append(at)
            elif not (self._is_score(at) or ends(at)):
                waiting += way(at)
        return found

    def _adds_tensors(self, node: Node) -> bool:
        return node.operator in SUMS and sum(name not in self.weights.constants for name in node.input) > 1

    # --- all other nodes ---

    def _forward(self) -> None:
        """Each node belongs to what it reads, in the order of the graph."""
        for node in self.graph.node:
            if id(node) in self.module or self._is_constant(node):
                continue
            read = [self.module[id(one)] for one in self._before(node) if id(one) in self.module]
            if not read or node.operator in CONVERSIONS:
                continue
            if SCORES in read and not (self._adds_tensors(node) and set(read) - {SCORES}):
                self.module[id(node)] = SCORES
            elif self._adds_tensors(node) and len(set(read)) > 1:
                self.module[id(node)] = NORM
            else:
                self.module[id(node)] = read[0]

    def _backward(self) -> None:
        """What is left belongs to its readers, if they agree."""
        for node in reversed(self.graph.node):
            if id(node) not in self.module:
                reading = {self.module.get(id(one), OTHER) for one in self._after(node)}
                self.module[id(node)] = reading.pop() if len(reading) == 1 else OTHER
