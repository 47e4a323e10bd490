"""A graph for one shape: no dynamic dimension, no shape arithmetic, a KV cache of fixed size that is written in place.

Only the graph is changed. Weights are neither read nor copied: the result refers to the same data file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from edgeprof.counting import shapes
from edgeprof.counting.tensors import Tensor
from edgeprof.errors import EdgeprofError, UsageError
from edgeprof.stages import graph

if TYPE_CHECKING:
    import onnx_ir as ir

FOLDED = 1 << 22
"""Elements up to which what depends on sizes alone is made beforehand: a causal mask of 2,048 tokens."""

PAST = "past"
"""How the names of a KV cache begin among inputs, as everybody writes them."""

POSITIONS = "position_ids"
HANDED_ON = ("QuantizeLinear", "DequantizeLinear", "Cast", "Identity")
"""Operators that may stand between a cache and what extends it."""


def pin(model: ir.Model, sizes: Mapping[str, tuple[int, ...]]) -> None:
    """Fix the shapes of all inputs, and fold what follows from them.

    Prefill has no cache: inputs of no tokens vanish. In decode the cache gets a slot for the new token, into which the
    graph writes it; `present` has the shape of `past`, and both may be one buffer.

    Args:
        sizes: the shape of every input, in a run with a cache that grows.

    Raises:
        UsageError: several new tokens follow a past, or nothing tells where they belong.
    """
    _fold(model, sizes)
    caches = _caches(model)
    physical = dict(sizes)
    if caches:
        extended = [(past, concat) for past, concat in caches if sizes[past.name or ""][_axis(concat)]]
        for past, concat in caches:
            if (past, concat) not in extended:
                _replace(model, concat, concat.inputs[1])
        if extended:
            physical |= _hold(model, extended, sizes)
    _remove_unused(model)
    _name_shapes(model, physical)


def _fold(model: ir.Model, sizes: Mapping[str, tuple[int, ...]]) -> None:
    """Make constants of what depends on sizes alone."""
    import onnx_ir as ir

    tensors, values = shapes.evaluate(ir.to_proto(model), sizes, FOLDED)
    main = model.graph
    for node in list(main):
        if not node.outputs or not all(output.name in values for output in node.outputs if output.name):
            continue
        if any(output.is_graph_output() for output in node.outputs):
            continue
        for output in node.outputs:
            if output.name and output.uses():
                array = np.ascontiguousarray(values[output.name])
                output.replace_all_uses_with(graph.constant(model, f"{output.name}/folded", array))
        main.remove(node, safe=True)
    _skip_what_changes_nothing(model, tensors)


def _skip_what_changes_nothing(model: ir.Model, tensors: Mapping[str, Tensor]) -> None:
    """Slices of all, reshapes to the same shape: with fixed sizes many are left, and not every provider has them."""
    for node in list(model.graph):
        if node.op_type not in ("Slice", "Reshape", "Expand") or node.outputs[0].is_graph_output():
            continue
        source = node.inputs[0]
        before, after = (tensors.get(value.name or "") if value else None for value in (source, node.outputs[0]))
        if source is None or before is None or after is None or before.shape is None:
            continue
        if before.shape == after.shape and not _reverses(node):
            _replace(model, node, source)


def _reverses(node: ir.Node) -> bool:
    """Whether a slice goes backwards, or it is not known: as large as its source, and something else."""
    if node.op_type != "Slice" or len(node.inputs) < 5:
        return False
    steps = node.inputs[4]
    return steps is not None and (steps.const_value is None or bool((steps.const_value.numpy() != 1).any()))


# --- the KV cache ------------------------------------------------------------------------------------------


def _caches(model: ir.Model) -> list[tuple[ir.Value, ir.Node]]:
    """Caches among the inputs, and the Concat that extends each of them."""
    found = []
    for node in model.graph:
        if node.op_type != "Concat" or len(node.inputs) != 2:
            continue
        past = node.inputs[0]
        while past is not None and (producer := past.producer()) is not None and producer.op_type in HANDED_ON:
            past = producer.inputs[0]
        if past is not None and past.is_graph_input() and (past.name or "").startswith(PAST):
            found.append((past, node))
    return found


def _axis(concat: ir.Node) -> int:
    """Of the cache, along which it grows: its last but one of four in every layout known here."""
    axis = concat.attributes["axis"].as_int()
    return axis + 4 if axis < 0 else axis


def _hold(
    model: ir.Model, caches: list[tuple[ir.Value, ir.Node]], sizes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Write the new token into the slot of its position; the shapes of the caches with that slot."""
    import onnx_ir as ir

    positions = next((value for value in model.graph.inputs if value.name == POSITIONS), None)
    if positions is None:
        raise UsageError(
            f"This graph has no input '{POSITIONS}', which would tell the slot that a new token is written to.",
            "Profile it in prefill, or on a provider that takes dynamic shapes.",
        )
    if sizes[POSITIONS][-1] != 1:
        raise UsageError(
            "A cache of fixed size takes one new token a step.", "Ask for decode, or for prefill without a past."
        )
    past, concat = caches[0]
    axis = _axis(concat)
    if axis != 2:
        raise EdgeprofError(f"The KV cache '{past.name}' grows along axis {axis}, and not along its tokens.")
    slots = sizes[past.name or ""][axis] + 1
    chosen, held = _slot(model, positions, slots), dict[str, tuple[int, ...]]()
    for value, node in caches:
        written = ir.node("Where", [chosen, node.inputs[1], node.inputs[0]], name=f"{node.name}/written")
        written.outputs[0].type = node.outputs[0].type
        model.graph.insert_before(node, written)
        _replace(model, node, written.outputs[0])
        shape = sizes[value.name or ""]
        held[value.name or ""] = (*shape[:axis], slots, *shape[axis + 1 :])
    return held


def _slot(model: ir.Model, positions: ir.Value, slots: int) -> ir.Value:
    """[batch, 1, slots, 1], true at the slot that each sequence writes to."""
    import onnx_ir as ir

    places = np.arange(slots, dtype=np.int32).reshape(1, 1, slots, 1)
    column = graph.constant(model, "cache/column", np.array([-1, 1, 1, 1]))
    narrow = ir.node("Cast", [positions], {"to": ir.DataType.INT32}, name="cache/position")
    spread = ir.node("Reshape", [narrow.outputs[0], column], name="cache/positions")
    equal = ir.node("Equal", [spread.outputs[0], graph.constant(model, "cache/slots", places)], name="cache/slot")
    steps = [narrow, spread, equal]
    for step in steps:
        step.outputs[0].name = step.name
    model.graph.insert_before(next(iter(model.graph)), steps)
    return equal.outputs[0]


# --- shared ------------------------------------------------------------------------------------------------


def _replace(model: ir.Model, node: ir.Node, value: ir.Value | None) -> None:
    """Take a node with one output out; `value` stands for that."""
    import onnx_ir as ir

    assert value is not None
    if node.outputs[0].is_graph_output() and (value.producer() is None or value.is_graph_output()):
        same = ir.node("Identity", [value], name=f"{node.name}/same")
        model.graph.insert_before(node, same)
        value = same.outputs[0]
    graph.stand_in(node.outputs[0], value)
    model.graph.remove(node, safe=True)


def _remove_unused(model: ir.Model) -> None:
    import onnx_ir.passes.common as passes

    passes.RemoveUnusedNodesPass()(model)
    for value in list(model.graph.inputs):
        if not value.uses() and not value.is_graph_output():
            model.graph.inputs.remove(value)


def _name_shapes(model: ir.Model, sizes: Mapping[str, tuple[int, ...]]) -> None:
    """Write every shape into the file: providers look at what it declares."""
    import onnx_ir as ir

    for value in model.graph.inputs:
        value.shape = ir.Shape(sizes[value.name or ""])
    tensors = shapes.infer(ir.to_proto(model), sizes)
    for node in model.graph.all_nodes():
        for value in node.outputs:
            found = tensors.get(value.name or "")
            if found is not None and found.shape is not None:
                value.shape, value.type = ir.Shape(found.shape), ir.TensorType(ir.DataType(found.dtype))
            elif not value.is_graph_output():
                value.shape = None
