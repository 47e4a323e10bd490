"""A graph for one shape: no dynamic dimension, no shape arithmetic, a KV cache of fixed size that is written in place.

Only the graph is changed. Weights are neither read nor copied: the result refers to the same data file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof.counting import shapes
from edgeprof.counting.tensors import Tensor
from edgeprof.errors import UsageError
from edgeprof.kv_cache import RANK, TOKENS, is_past
from edgeprof.stages import graph

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

FOLDED = 1 << 22
"""Most elements of a tensor that is folded because it depends on sizes alone: a causal mask of 2,048 tokens."""

FOLDED_BYTES = 1 << 28
"""Most bytes of all folded constants together: a graph file holds at most 2 GB."""

POSITIONS = "position_ids"
MOST_AXES = 2
"""Of positions that are places in a cache: [batch, tokens]."""

PASS_THROUGH = ("QuantizeLinear", "DequantizeLinear", "Cast", "Identity")
"""Operators that may stand between a cache and what extends it."""


def pin(
    model: ir.Model, sizes: Mapping[str, tuple[int, ...]], switches: Mapping[str, NDArray[np.bool_]] | None = None
) -> None:
    """Fix the shapes of all inputs, and fold what follows from them.

    Prefill has no cache: inputs of no tokens vanish. In decode the cache gets a slot for the new token, into which the
    graph writes it where `position_ids` tell; `present` has the shape of `past`, and both may be one buffer.

    Args:
        sizes: the shape of every input, in a run with a cache that grows.
        switches: values of inputs that choose branches; these inputs are removed, with the branches that do not run.

    Raises:
        UsageError: an input is no tensor, or several new tokens follow a past.
    """
    _require_tensors(model, sizes)
    graph.fix_weights(model)
    _fold(model, sizes, switches or {})
    caches = _caches(model, sizes)
    physical = dict(sizes)
    if caches:
        extended = [(past, concat) for past, concat in caches if sizes[past.name or ""][TOKENS]]
        for past, concat in caches:
            if (past, concat) not in extended:
                _replace(model, concat, concat.inputs[1])
        if extended:
            physical |= _hold(model, extended, sizes)
    _remove_unused(model)
    graph.name_apart(model)
    _name_shapes(model, physical)


def _require_tensors(model: ir.Model, sizes: Mapping[str, tuple[int, ...]]) -> None:
    import onnx_ir as ir

    for value in model.graph.inputs:
        if value.name in model.graph.initializers:
            continue
        if not isinstance(value.type, ir.TensorType) or value.name not in sizes:
            raise UsageError(
                f"Input '{value.name}' is no tensor of a fixed shape, and a static graph takes nothing else.",
                "Profile it on a provider that takes dynamic shapes.",
            )


def _fold(model: ir.Model, sizes: Mapping[str, tuple[int, ...]], switches: Mapping[str, NDArray[np.bool_]]) -> None:
    """Make constants of what depends on sizes alone."""
    import onnx_ir as ir

    tensors, values = shapes.evaluate(ir.to_proto(model), sizes, FOLDED, switches)
    while _inline_branches(model, values):  # which may hold others
        graph.name_apart(model)
        tensors, values = shapes.evaluate(ir.to_proto(model), sizes, FOLDED, switches)
    main, folded, left = model.graph, dict[tuple[str, tuple[int, ...], bytes], ir.Value](), FOLDED_BYTES
    for node in list(main):
        outputs = [output for output in node.outputs if output.name]
        if not outputs or not all(_foldable(output, values.get(output.name or "")) for output in outputs):
            continue
        arrays = [np.asarray(values[output.name or ""], order="C") for output in outputs]  # a scalar stays one
        left -= sum(array.nbytes for array in arrays)
        if left < 0:
            break
        for output, array in zip(outputs, arrays, strict=True):
            key = (array.dtype.name, array.shape, hashlib.sha256(array.data).digest())
            if key not in folded:
                folded[key] = graph.constant(model, f"{output.name}/folded", array)
            output.replace_all_uses_with(folded[key])
        main.remove(node, safe=True)
    _skip_what_changes_nothing(model, tensors, values)


def _inline_branches(model: ir.Model, values: Mapping[str, Any]) -> bool:
    """Replace each If with a known condition by its branch; returns whether there was one."""
    inlined = False
    for node in list(model.graph):
        condition = values.get(node.inputs[0].name or "") if node.op_type == "If" and node.inputs[0] else None
        if condition is None:
            continue
        branch = node.attributes["then_branch" if condition.item() else "else_branch"].as_graph()
        results, nodes = list(branch.outputs), list(branch)
        branch.outputs.clear()
        for name, value in list(branch.initializers.items()):
            del branch.initializers[name]
            graph.add_initializer(model, value)
        for inner in nodes:
            branch.remove(inner)
        model.graph.insert_before(node, nodes)
        for output, result in zip(node.outputs, results, strict=True):
            _stand_in(model, node, output, result)
        model.graph.remove(node, safe=True)
        inlined = True
    return inlined


def _foldable(output: ir.Value, array: Any) -> bool:
    """Whether a constant may stand for it, and numpy computes with such numbers as onnxruntime does.

    Strings stay, and types of 8 bits and fewer that numpy lacks, to which numbers are rounded in several ways.
    """
    return (
        array is not None and not output.is_graph_output() and array.dtype.kind in "biuf" and array.dtype.isbuiltin == 1
    )


def _skip_what_changes_nothing(model: ir.Model, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Slices of all, reshapes to the same shape: with fixed sizes many are left, and not every provider has them."""
    for node in list(model.graph):
        source = _stands_for(node, values)
        if source is None or node.outputs[0].is_graph_output():
            continue
        before, after = (tensors.get(value.name or "") for value in (source, node.outputs[0]))
        if before is not None and after is not None and before.shape is not None and before.shape == after.shape:
            _replace(model, node, source)


def _stands_for(node: ir.Node, values: Mapping[str, Any]) -> ir.Value | None:
    """The input that an operator hands on as it is, if its shape stays the same; None of all others."""
    if node.domain:
        return None
    if node.op_type == "Where":
        chosen = values.get(node.inputs[0].name or "") if node.inputs[0] is not None else None
        return node.inputs[1] if chosen is not None and chosen.size and chosen.all() else None
    if node.op_type in ("Slice", "Reshape", "Expand") and not _reverses(node):
        return node.inputs[0]
    return None


def _reverses(node: ir.Node) -> bool:
    """Whether a slice goes backwards, or it is not known: as large as its source, and something else."""
    if node.op_type != "Slice" or len(node.inputs) < 5:
        return False
    steps = node.inputs[4]
    return steps is not None and (steps.const_value is None or bool((steps.const_value.numpy() != 1).any()))


# --- the KV cache ------------------------------------------------------------------------------------------


def _caches(model: ir.Model, sizes: Mapping[str, tuple[int, ...]]) -> list[tuple[ir.Value, ir.Node]]:
    """Caches among the inputs, and the Concat that extends each of them along its tokens.

    [batch, heads, tokens, width] is the one layout that is written in place. What is called past and joined otherwise
    stays as it is: its sizes are fixed like all others.
    """
    caches = []
    for node in model.graph:
        if node.op_type != "Concat" or node.domain or len(node.inputs) != 2 or node.inputs[1] is None:
            continue
        past = node.inputs[0]
        while past is not None and (producer := past.producer()) is not None and producer.op_type in PASS_THROUGH:
            past = producer.inputs[0]
        if past is None or not past.is_graph_input() or not is_past(past.name or ""):
            continue
        if len(sizes[past.name or ""]) == RANK and _axis(node) == TOKENS:
            caches.append((past, node))
    return caches


def _axis(concat: ir.Node) -> int:
    return concat.attributes["axis"].as_int() % RANK


def _hold(
    model: ir.Model, caches: list[tuple[ir.Value, ir.Node]], sizes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Write the new token into the slot of its position; the shapes of the caches with that slot.

    Where nothing tells the position, caches stay as they are: of one size before, and of one more token after.
    Positions along several axes, as of parts of an image, do not tell it.
    """
    import onnx_ir as ir

    positions = next((value for value in model.graph.inputs if value.name == POSITIONS), None)
    if positions is None or len(sizes[POSITIONS]) > MOST_AXES:
        return {}
    if sizes[POSITIONS][-1] != 1:
        raise UsageError(
            "A cache of fixed size takes one new token a step.", "Use decode, or prefill without cached tokens."
        )
    slots = sizes[caches[0][0].name or ""][TOKENS] + 1
    chosen, held = _slot(model, positions, slots), dict[str, tuple[int, ...]]()
    for value, node in caches:
        written = ir.node("Where", [chosen, node.inputs[1], node.inputs[0]], name=f"{node.name}/written")
        written.outputs[0].type = node.outputs[0].type
        model.graph.insert_before(node, written)
        _replace(model, node, written.outputs[0])
        shape = sizes[value.name or ""]
        held[value.name or ""] = (*shape[:TOKENS], slots, *shape[TOKENS + 1 :])
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
    assert value is not None
    _stand_in(model, node, node.outputs[0], value)
    model.graph.remove(node, safe=True)


def _stand_in(model: ir.Model, node: ir.Node, output: ir.Value, value: ir.Value) -> None:
    """Let a value stand for an output of a node, by a copy where that is needed for an output of the graph."""
    import onnx_ir as ir

    if output.is_graph_output() and (value.producer() is None or value.is_graph_output()):
        same = ir.node("Identity", [value], name=f"{node.name}/same")
        model.graph.insert_before(node, same)
        value = same.outputs[0]
    graph.stand_in(output, value)


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
    for node in model.graph:  # within control flow shapes may change from one round to the next
        for value in node.outputs:
            inferred = tensors.get(value.name or "")
            if inferred is not None and inferred.shape is not None:
                value.shape, value.type = ir.Shape(inferred.shape), ir.TensorType(ir.DataType(inferred.dtype))
            elif not value.is_graph_output():
                value.shape = None
