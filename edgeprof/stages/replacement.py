"""Several nodes in the place of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeprof.stages import graph

if TYPE_CHECKING:
    import onnx_ir as ir


class Replacement:
    """Nodes that replace one, in order. They are named after its result: nodes may lack a name or share one."""

    def __init__(self, model: ir.Model, node: ir.Node) -> None:
        self.model, self.node = model, node
        self.nodes: list[ir.Node] = []
        self.prefix = node.outputs[0].name

    def add(self, operator: str, name: str, inputs: list[ir.Value], **attributes: Any) -> ir.Value:
        """A node with one output; its type is that of the first input, unless the operator says otherwise."""
        import onnx_ir as ir

        node = ir.node(operator, inputs, attributes, name=f"{self.prefix}/{name}")
        output = node.outputs[0]
        output.name = f"{self.prefix}/{name}"
        known = {"Shape": ir.DataType.INT64, "LessOrEqual": ir.DataType.BOOL, "Greater": ir.DataType.BOOL}
        dtype = known.get(operator, inputs[-1].dtype if operator == "Where" else inputs[0].dtype)
        output.type = ir.TensorType(dtype) if dtype is not None else None  # an object of its own: types are changed
        self.nodes.append(node)
        return output

    def constant(self, array: Any, name: str) -> ir.Value:
        """A new initializer."""
        return graph.constant(self.model, f"{self.prefix}/{name}", array)

    def finish(self, result: ir.Value) -> None:
        """Put the new nodes where the old one was; `result` stands for its first output."""
        place = self.node.graph
        assert place is not None
        place.insert_before(self.node, self.nodes)
        graph.stand_in(self.node.outputs[0], result)
        place.remove(self.node, safe=True)
