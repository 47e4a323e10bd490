"""Rewrite an Einsum that multiplies by a weight as a MatMul: "bsd,dhk->bhsk" is x [b, s, d] times w [d, h k].

    y = Transpose(Reshape(MatMul(Reshape(Transpose(x)), w)))

Steps that would change nothing are left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgeprof.stages.replacement import Replacement

if TYPE_CHECKING:
    import onnx_ir as ir

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Projection(NamedTuple):
    """The letters of an equation; each stands for an axis."""

    x: str  # of the activation
    w: str  # of the weight
    y: str  # of the result

    @property
    def summed(self) -> str:
        return "".join(letter for letter in self.x if letter in self.w)

    @property
    def kept(self) -> str:
        """In the order of the result, which then needs no transpose if the weight's axes are its last."""
        return "".join(letter for letter in self.y if letter in self.x)

    @property
    def new(self) -> str:
        return "".join(letter for letter in self.y if letter in self.w)

    def is_product(self) -> bool:
        """Whether every letter occurs in two of the three: an axis in all three is a batch axis, an axis in one alone
        is summed by itself."""
        parts = (self.x, self.w, self.y)
        once = all(len(set(part)) == len(part) for part in parts)
        return (
            once and all(sum(letter in part for part in parts) == 2 for letter in "".join(parts)) and bool(self.summed)
        )


def rewrite(model: ir.Model) -> None:
    """Replace every Einsum that multiplies an activation by a constant matrix."""
    for node in list(model.graph.all_nodes()):
        if node.op_type == "Einsum" and node.domain == "" and len(node.inputs) == 2:
            _rewrite(model, node)


def _rewrite(model: ir.Model, node: ir.Node) -> None:
    one, other = node.inputs
    if one is None or other is None or (one.const_value is None) == (other.const_value is None):
        return
    x, w = (one, other) if one.const_value is None else (other, one)
    axes = _projection(node.attributes.get_string("equation", ""), x, swapped=x is other)
    if axes is None or not axes.is_product() or len(axes.w) < 2:
        return
    assert w.const_value is not None
    sizes = dict(zip(axes.w, w.const_value.shape.numpy(), strict=True))
    kept, new = [0] * len(axes.kept), [sizes[letter] for letter in axes.new]  # 0: the size stays
    width = math.prod(sizes[letter] for letter in axes.summed)
    steps = _EinsumNodes(model, node)
    rows = steps.transposed(x, "x_transposed", axes.x, axes.kept + axes.summed)
    if len(axes.summed) > 1:
        rows = steps.reshaped(rows, "x_rows", [*kept, width])
    matrix = steps.transposed(w, "w_transposed", axes.w, axes.summed + axes.new)
    if len(axes.w) > 2 or len(new) != 1:
        matrix = steps.reshaped(matrix, "w_matrix", [width, math.prod(new)])
    result = steps.add("MatMul", "product", [rows, matrix])
    if len(new) != 1:
        result = steps.reshaped(result, "y_split", [*kept, *new])
    steps.finish(steps.transposed(result, "y_transposed", axes.kept + axes.new, axes.y))


def _projection(equation: str, x: ir.Value, *, swapped: bool) -> Projection | None:
    """None where an ellipsis stands for axes of the weight, or for an unknown number of axes."""
    operands, arrow, y = equation.replace(" ", "").partition("->")
    left, _, right = operands.partition(",")
    one, other = (right, left) if swapped else (left, right)
    if "..." in one:
        rank = len(x.shape) if x.shape is not None else 0
        letters = LETTERS.translate(dict.fromkeys(map(ord, equation)))[: max(rank - len(one) + 3, 0)]
        one, y = one.replace("...", letters), y.replace("...", letters)
    if x.shape is not None and len(x.shape) != len(one):
        return None
    if not arrow:
        y = "".join(sorted(letter for letter in set(operands) - {","} if operands.count(letter) == 1))
    return Projection(one, other, y)


class _EinsumNodes(Replacement):
    """Nodes that compute one Einsum."""

    def transposed(self, value: ir.Value, name: str, axes: str, order: str) -> ir.Value:
        """A value whose axes are lettered `axes`, with its axes in another order."""
        if axes == order:
            return value
        return self.add("Transpose", name, [value], perm=[axes.index(letter) for letter in order])

    def reshaped(self, value: ir.Value, name: str, shape: list[int]) -> ir.Value:
        return self.add("Reshape", name, [value, self.constant(np.array(shape, np.int64), f"{name}_shape")])
