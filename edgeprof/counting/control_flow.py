"""What control flow runs, as far as sizes and known values decide it: which branch, and how often a loop's body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeprof.counting.contrib_shapes import RULE_ERRORS
from edgeprof.counting.flatten import IF, LOOP, SCAN, SCANNED, STACKED, STATE, Choice, Node, bodies
from edgeprof.counting.reading import attributes
from edgeprof.counting.tensors import Tensor

if TYPE_CHECKING:
    import onnx

    from edgeprof.counting.known_values import Array

BOOL, INT64 = 9, 7  # TensorProto


def choose(node: Node, tensors: Mapping[str, Tensor], values: Mapping[str, Array]) -> Choice:
    """Which bodies a node runs and how often, or why that is not known."""
    try:
        choice = _choice(node, tensors, values)
    except RULE_ERRORS:
        choice = Choice(("",))
    if not choice.reason and not bodies(node).keys() >= set(choice.bodies):
        return Choice(reason=f"{node_name(node)} is malformed")
    return choice


def _choice(node: Node, tensors: Mapping[str, Tensor], values: Mapping[str, Array]) -> Choice:
    if node.operator == IF:
        return _branch(node, values)
    if node.operator == LOOP:
        return _loop(node, values)
    if node.operator == SCAN:
        return _scan(node, tensors)
    return Choice(reason=f"{node_name(node)} runs once for each element of a sequence")


def node_name(node: Node) -> str:
    return f"the node '{node.name or next(iter(node.output), '')}'"


def _branch(node: Node, values: Mapping[str, Array]) -> Choice:
    condition = values.get(node.input[0])
    if condition is None or condition.size != 1:
        return Choice(reason=f"which branch {node_name(node)} runs depends on data")
    return Choice(("then_branch" if condition.item() else "else_branch",))


def _loop(node: Node, values: Mapping[str, Array]) -> Choice:
    limit, condition = values.get(node.input[0]), values.get(node.input[1]) if len(node.input) > 1 else None
    has_condition = len(node.input) > 1 and bool(node.input[1])
    if condition is not None and condition.size == 1 and not condition.item():
        return Choice(("body",), 0)
    if (
        limit is None
        or limit.size != 1
        or (has_condition and condition is None)
        or not _continues(bodies(node)["body"])
    ):
        return Choice(reason=f"how often {node_name(node)} runs depends on data")
    return Choice(("body",), max(int(limit.item()), 0))


def _continues(body: onnx.GraphProto) -> bool:
    """Whether the condition that a loop's body returns is always true: a constant, or the condition it received."""
    from onnx import numpy_helper

    producers = {name: node for node in body.node for name in node.output}
    initializers = {tensor.name: tensor for tensor in body.initializer}
    name = body.output[0].name
    while name in producers and producers[name].op_type == "Identity":
        name = producers[name].input[0]
    if name == body.input[1].name:
        return True
    if name in producers and producers[name].op_type == "Constant":
        value = attributes(producers[name]).get("value")
    else:
        value = initializers.get(name)
    return value is not None and bool(numpy_helper.to_array(value).all())


def _scan(node: Node, tensors: Mapping[str, Tensor]) -> Choice:
    options, body = node.attributes, bodies(node)["body"]
    count = int(options["num_scan_inputs"])
    if len(node.input) != len(body.input):
        return Choice(reason=f"{node_name(node)} is a Scan of opset 8, which has a batch axis")
    axes = options.get("scan_input_axes", [0] * count)
    scanned = [tensors.get(name) for name in node.input[-count:]]
    lengths = {
        tensor.shape[axis]
        for tensor, axis in zip(scanned, axes, strict=True)
        if tensor is not None and tensor.shape is not None
    }
    if len(lengths) != 1:
        return Choice(reason=f"the length of the sequence that {node_name(node)} scans depends on data")
    return Choice(("body",), lengths.pop())


def link_outputs(node: Node, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """The tensors that a link between a graph and a body passes on; and why that does not hold for every iteration."""
    if node.operator == STATE:
        return _state(node, tensors)
    passed = {name: tensors[source] for source, name in zip(node.input, node.output, strict=False) if source in tensors}
    if node.operator == LOOP:
        number, condition = node.output[:2]
        passed |= {number: Tensor(INT64, ()), condition: Tensor(BOOL, ())}
    if node.operator in (SCANNED, STACKED):
        passed = {name: _sliced_or_stacked(node, tensor) for name, tensor in passed.items()}
    return passed, ""


def _sliced_or_stacked(node: Node, tensor: Tensor) -> Tensor:
    if tensor.shape is None:
        return tensor
    options, sizes = node.attributes, list(tensor.shape)
    rank = len(sizes) + (node.operator == STACKED)
    axis = options["axis"] % rank if rank else 0
    if node.operator == STACKED:
        sizes.insert(axis, options["length"])
    else:
        del sizes[axis]
    return Tensor(tensor.dtype, tuple(sizes))


def _state(node: Node, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    after, before = (tensors.get(name) for name in node.input)
    if after is None:
        return {}, ""
    if before is not None and after.shape != before.shape:
        reason = f"a state of {node_name(node)} changes its shape in every iteration"
        return {node.output[0]: Tensor(after.dtype, None)}, reason
    return {node.output[0]: after}, ""
