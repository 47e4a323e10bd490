"""What control flow runs, as far as sizes and known values tell: which branch, and how often a loop its body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeprof.counting.contrib_shapes import UNFIT
from edgeprof.counting.flatten import IF, LOOP, SCAN, SCANNED, STACKED, STATE, Choice, Node, bodies
from edgeprof.counting.reading import attributes
from edgeprof.counting.tensors import Tensor

if TYPE_CHECKING:
    import onnx

    from edgeprof.counting.known_values import Array

BOOL, INT64 = 9, 7  # TensorProto


def choose(node: Node, tensors: Mapping[str, Tensor], values: Mapping[str, Array]) -> Choice:
    """Which bodies a node runs and how often, or why that cannot be told."""
    try:
        choice = _choice(node, tensors, values)
    except UNFIT:
        choice = Choice(("",))
    if not choice.reason and not bodies(node).keys() >= set(choice.bodies):
        return Choice(reason=f"{named(node)} is malformed")
    return choice


def _choice(node: Node, tensors: Mapping[str, Tensor], values: Mapping[str, Array]) -> Choice:
    if node.operator == IF:
        return _branch(node, values)
    if node.operator == LOOP:
        return _loop(node, values)
    if node.operator == SCAN:
        return _scan(node, tensors)
    return Choice(reason=f"{named(node)} runs once for each element of a sequence")


def named(node: Node) -> str:
    return f"the node '{node.name or next(iter(node.output), '')}'"


def _branch(node: Node, values: Mapping[str, Array]) -> Choice:
    condition = values.get(node.input[0])
    if condition is None or condition.size != 1:
        return Choice(reason=f"which branch {named(node)} runs depends on data")
    return Choice(("then_branch" if condition.item() else "else_branch",))


def _loop(node: Node, values: Mapping[str, Array]) -> Choice:
    most, condition = values.get(node.input[0]), values.get(node.input[1]) if len(node.input) > 1 else None
    asked = len(node.input) > 1 and bool(node.input[1])
    if condition is not None and condition.size == 1 and not condition.item():
        return Choice(("body",), 0)
    if most is None or most.size != 1 or (asked and condition is None) or not _goes_on(bodies(node)["body"]):
        return Choice(reason=f"how often {named(node)} runs depends on data")
    return Choice(("body",), max(int(most.item()), 0))


def _goes_on(body: onnx.GraphProto) -> bool:
    """Whether the condition that a loop's body makes is always true: a constant, or the one it was given."""
    from onnx import numpy_helper

    makers = {name: node for node in body.node for name in node.output}
    held = {tensor.name: tensor for tensor in body.initializer}
    name = body.output[0].name
    while name in makers and makers[name].op_type == "Identity":
        name = makers[name].input[0]
    if name == body.input[1].name:
        return True
    if name in makers and makers[name].op_type == "Constant":
        value = attributes(makers[name]).get("value")
    else:
        value = held.get(name)
    return value is not None and bool(numpy_helper.to_array(value).all())


def _scan(node: Node, tensors: Mapping[str, Tensor]) -> Choice:
    options, body = node.attributes, bodies(node)["body"]
    count = int(options["num_scan_inputs"])
    if len(node.input) != len(body.input):
        return Choice(reason=f"{named(node)} is a Scan of opset 8, which has a batch axis")
    axes = options.get("scan_input_axes", [0] * count)
    scanned = [tensors.get(name) for name in node.input[-count:]]
    lengths = {
        tensor.shape[axis]
        for tensor, axis in zip(scanned, axes, strict=True)
        if tensor is not None and tensor.shape is not None
    }
    if len(lengths) != 1:
        return Choice(reason=f"the length that {named(node)} runs over depends on data")
    return Choice(("body",), lengths.pop())


def linked(node: Node, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """What a link between a graph and a body hands on; and why that does not hold for every round."""
    if node.operator == STATE:
        return _state(node, tensors)
    made = {name: tensors[source] for source, name in zip(node.input, node.output, strict=False) if source in tensors}
    if node.operator == LOOP:
        number, condition = node.output[:2]
        made |= {number: Tensor(INT64, ()), condition: Tensor(BOOL, ())}
    if node.operator in (SCANNED, STACKED):
        made = {name: _resliced(node, tensor) for name, tensor in made.items()}
    return made, ""


def _resliced(node: Node, tensor: Tensor) -> Tensor:
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
    made, given = (tensors.get(name) for name in node.input)
    if made is None:
        return {}, ""
    if given is not None and made.shape != given.shape:
        return {node.output[0]: Tensor(made.dtype, None)}, f"a state of {named(node)} changes its shape in every round"
    return {node.output[0]: made}, ""
