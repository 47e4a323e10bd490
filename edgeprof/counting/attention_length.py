"""How many positions attention runs over: queries of a fused operator, or rows of scores before a Softmax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeprof.counting.contrib_shapes import MS, RULE_ERRORS
from edgeprof.counting.macs import ATTENTION, PRODUCTS, NotCountable

if TYPE_CHECKING:
    from edgeprof.counting.flatten import Flat, Node
    from edgeprof.counting.tensors import Tensor
    from edgeprof.counting.weights import StoredWeights

SOFTMAX = {"Softmax", MS + "BiasSoftmax", MS + "QLinearSoftmax"}
BETWEEN = {
    *("Add", "Cast", "Clip", "DequantizeLinear", "Div", "Identity", "Max", "Mul", "QuantizeLinear", "Reshape", "Sub"),
    *("Tanh", "Where", MS + "QLinearAdd", MS + "QLinearMul", MS + "DequantizeLinear", MS + "QuantizeLinear"),
}
"""Operators between the product of queries and keys and its Softmax: a scale, a mask, a bias, a cap."""


def queries(graph: Flat, tensors: Mapping[str, Tensor], weights: StoredWeights) -> int | None:
    """Query positions of the attention with most MACs; None where there is no attention or its size is not known."""
    producers: dict[str, Node] = {}
    attentions: list[tuple[int, int]] = []  # MACs and queries of each
    for node in graph.node:
        producers.update(dict.fromkeys(node.output, node))
        if node.operator in ATTENTION:
            attentions += _fused(node, tensors)
        elif node.operator in SOFTMAX:
            attentions += _decomposed(node, producers, tensors, weights)
    return max(attentions, key=lambda one: one[0])[1] if attentions else None


def _fused(node: Node, tensors: Mapping[str, Tensor]) -> list[tuple[int, int]]:
    try:
        heads = ATTENTION[node.operator]([tensors.get(name) for name in node.input], node.attributes)
    except (NotCountable, *RULE_ERRORS):
        return []
    return [(heads.macs, heads.queries)]


def _decomposed(
    node: Node, producers: Mapping[str, Node], tensors: Mapping[str, Tensor], weights: StoredWeights
) -> list[tuple[int, int]]:
    """Rows of scores, where a Softmax runs along the last axis of a product of two activations."""
    scores = tensors.get(node.input[0])
    product = _product(node.input[0], producers, weights)
    if product is None or scores is None or not scores.shape or len(scores.shape) < 2:
        return []
    if node.attributes.get("axis", -1) not in (-1, len(scores.shape) - 1):
        return []
    operand = tensors.get(product.input[0])
    size = operand.shape[-1] if operand is not None and operand.shape else 1
    return [(2 * scores.size * size, scores.shape[-2])]


def _product(name: str, producers: Mapping[str, Node], weights: StoredWeights) -> Node | None:
    """The product of two activations from which a tensor is computed element by element."""
    waiting, seen = [name], set[str]()
    while waiting:
        at = waiting.pop()
        node = producers.get(at)
        if node is None or at in seen:
            continue
        seen.add(at)
        if node.operator in PRODUCTS and not weights.operands(node):
            return node
        if node.operator in BETWEEN:
            waiting += reversed(node.input)
    return None
