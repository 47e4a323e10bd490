"""Einsum that multiplies by a weight, as the MatMul that it is: "bsd,dhk->bhsk" is x [b, s, d] times w [d, h k].

    y = Transpose(Reshape(MatMul(Reshape(Transpose(x)), w)))

Steps that would change nothing are left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from edgeprof.stages import graph

if TYPE_CHECKING:
    import onnx_ir as ir

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Projection(NamedTuple):
    """The letters of an equation, each of which stands for an axis."""

    x: str  # of the activation
    w: str  # of the weight
    y: str  # of the result

    @property
    def summed(self) -> str:
        return "".join(letter for letter in self.x if letter in self.w)

    @property
    def kept(self) -> str:
        """In the order of the result, so that it need not be transposed if the weight's axes are its last."""
        return "".join(letter for letter in self.y if letter in self.x)

    @property
    def new(self) -> str:
        return "".join(letter for letter in self.y if letter in self.w)

    def is_product(self) -> bool:
        """Whether every letter is of two of the three: an axis of all three is a batch, one of one is summed alone."""
        parts = (self.x, self.w, self.y)
        once = all(len(set(part)) == len(part) for part in parts)
        return (
            once and all(sum(letter in part for part in parts) == 2 for letter in "".join(parts)) and bool(self.summed)
        )


def write_out(model: ir.Model) -> None:
    """Replace every Einsum that multiplies an activation by a constant matrix."""
    for node in list(model.graph.all_nodes()):
        if node.op_type == "Einsum" and node.domain == "" and len(node.inputs) == 2:
            _write_out(model, node)


def _write_out(model: ir.Model, node: ir.Node) -> None:
    one, other = node.inputs
    if one is None or other is None or (one.const_value is None) == (other.const_value is None):
        return
    x, w = (one, other) if one.const_value is None else (other, one)
    found = _projection(node.attributes.get_string("equation", ""), x, swapped=x is other)
    if found is None or not found.is_product() or len(found.w) < 2:
        return
    assert w.const_value is not None
    sizes = dict(zip(found.w, w.const_value.shape.numpy(), strict=True))
    kept, new = [0] * len(found.kept), [sizes[letter] for letter in found.new]  # 0: as it was
    width = math.prod(sizes[letter] for letter in found.summed)
    steps = _Steps(model, node)
    rows = steps.transposed(x, found.x, found.kept + found.summed)
    if len(found.summed) > 1:
        rows = steps.reshaped(rows, [*kept, width])
    matrix = steps.transposed(w, found.w, found.summed + found.new)
    if len(found.w) > 2 or len(new) != 1:
        matrix = steps.reshaped(matrix, [width, math.prod(new)])
    result = steps.add("MatMul", [rows, matrix])
    if len(new) != 1:
        result = steps.reshaped(result, [*kept, *new])
    steps.finish(steps.transposed(result, found.kept + found.new, found.y))


def _projection(equation: str, x: ir.Value, *, swapped: bool) -> Projection | None:
    """None where an ellipsis stands for axes that cannot be told, or for some of the weight's."""
    operands, arrow, y = equation.replace(" ", "").partition("->")
    left, _, right = operands.partition(",")
    one, other = (right, left) if swapped else (left, right)
    if "..." in one:
        rank = len(x.shape) if x.shape is not None else 0
        spelled = LETTERS.translate(dict.fromkeys(map(ord, equation)))[: max(rank - len(one) + 3, 0)]
        one, y = one.replace("...", spelled), y.replace("...", spelled)
    if x.shape is not None and len(x.shape) != len(one):
        return None
    if not arrow:
        y = "".join(sorted(letter for letter in set(operands) - {","} if operands.count(letter) == 1))
    return Projection(one, other, y)


class _Steps:
    """Nodes in the place of one."""

    def __init__(self, model: ir.Model, node: ir.Node) -> None:
        self.model = model
        self.node = node
        self.count = 0

    def add(self, operator: str, inputs: list[ir.Value], **attributes: object) -> ir.Value:
        import onnx_ir as ir

        self.count += 1
        name = f"{self.node.outputs[0].name}/{operator}.{self.count}"
        made = ir.node(operator, inputs, attributes, name=name)  # type: ignore[arg-type]
        made.outputs[0].name, dtype = name, self.node.outputs[0].dtype
        made.outputs[0].type = None if dtype is None else ir.TensorType(dtype)  # changed later, each for itself
        assert self.node.graph is not None
        self.node.graph.insert_before(self.node, made)
        return made.outputs[0]

    def transposed(self, value: ir.Value, axes: str, wanted: str) -> ir.Value:
        if axes == wanted:
            return value
        return self.add("Transpose", [value], perm=[axes.index(letter) for letter in wanted])

    def reshaped(self, value: ir.Value, shape: list[int]) -> ir.Value:
        self.count += 1
        sizes = graph.constant(self.model, f"{self.node.outputs[0].name}/shape.{self.count}", np.array(shape, np.int64))
        return self.add("Reshape", [value, sizes])

    def finish(self, result: ir.Value) -> None:
        graph.stand_in(self.node.outputs[0], result)
        assert self.node.graph is not None
        self.node.graph.remove(self.node, safe=True)
