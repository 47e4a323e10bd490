"""Remove reshapes and transposes that cancel each other, as around an operator that takes heads merged."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

NORMS = ("LayerNormalization", "RMSNormalization")


def cancel_reshapes(model: ir.Model) -> int:
    """Let values be read before reshapes and transposes that come to nothing; returns how many were removed.

    A reshape of a reshape reads what the first one read. A transpose that undoes another, also across a norm over the
    last axis, and a reshape to the shape that a value has, are no nodes at all.
    """
    import onnx_ir.passes.common as passes

    before = len(model.graph)
    for node in model.graph:
        if node.domain:
            continue
        if node.op_type == "Reshape":
            _reshape(node)
        elif node.op_type == "Transpose" and (source := _undone(node)) is not None:
            _replace(node.outputs[0], source)
    passes.RemoveUnusedNodesPass()(model)
    return before - len(model.graph)


def _reshape(node: ir.Node) -> None:
    source = node.inputs[0]
    assert source is not None
    inner = source.producer()
    if inner is not None and inner.op_type == "Reshape" and not inner.domain:
        node.replace_input_with(0, inner.inputs[0])
        source = inner.inputs[0]
    result = node.outputs[0]
    if source is not None and source.shape is not None and source.shape == result.shape and None not in _dims(source):
        _replace(result, source)


def _dims(value: ir.Value) -> list[int | str | None]:
    """Sizes, symbols, and None for unnamed ones."""
    assert value.shape is not None
    return [dim if isinstance(dim, int) else dim.value for dim in value.shape]


def _undone(node: ir.Node) -> ir.Value | None:
    """What a transpose of a transpose comes to, if that is no transpose."""
    source = node.inputs[0]
    inner = source.producer() if source is not None else None
    norm = inner if inner is not None and inner.op_type in NORMS else None
    if norm is not None:
        if len(norm.outputs[0].uses()) > 1 or norm.attributes.get_int("axis", -1) != -1:
            return None
        inner = norm.inputs[0].producer() if norm.inputs[0] is not None else None
    if inner is None or inner.op_type != "Transpose" or inner.domain:
        return None
    first, second = (list(each.attributes["perm"].as_ints()) for each in (inner, node))
    if [first[axis] for axis in second] != sorted(first) or (norm is not None and second[-1] != len(second) - 1):
        return None
    if norm is None:
        return inner.inputs[0]
    norm.replace_input_with(0, inner.inputs[0])
    norm.outputs[0].shape = node.outputs[0].shape
    return norm.outputs[0]


def _replace(result: ir.Value, source: ir.Value) -> None:
    if not result.is_graph_output():
        result.replace_all_uses_with(source)
