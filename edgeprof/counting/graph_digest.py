"""A digest of what a graph computes, whatever its names and the values of its weights.

Two graphs with one digest cost the same: they have the same nodes in the same order, with the same attributes, and
read each other's values and tensors of the same types and shapes. Values of integers count, for they are sizes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from edgeprof.counting.weights import NO_NUMBERS, stored_tensor

if TYPE_CHECKING:
    import onnx

SIZES_BYTES = 1024
"""Integers up to this size are sizes, axes and indices; larger ones are weights."""


def structure(model: onnx.ModelProto) -> str:
    """The digest of a graph, in hexadecimal digits."""
    digest = hashlib.sha256()
    for part in _of_graph(model.graph, {}):
        digest.update(repr(part).encode())
    return digest.hexdigest()[:32]


def _of_graph(graph: onnx.GraphProto, outside: dict[str, int]) -> Iterator[object]:
    numbers = dict(outside)  # names -> numbers, in order of appearance

    def number(name: str) -> int:
        return numbers.setdefault(name, len(numbers)) if name else -1

    for value in graph.input:
        tensor = value.type.tensor_type
        yield ("input", number(value.name), tensor.elem_type, [dim.dim_value for dim in tensor.shape.dim])
    for stored in (*graph.initializer, *graph.sparse_initializer):
        name = stored.name if hasattr(stored, "data_type") else stored.values.name
        yield ("weight", number(name), *_of_tensor(stored))
    for node in graph.node:
        yield (node.domain, node.op_type, [number(name) for name in node.input], [number(name) for name in node.output])
        for attribute in sorted(node.attribute, key=lambda one: one.name):
            yield from _of_attribute(attribute, numbers)
    yield ("output", [number(value.name) for value in graph.output])


def _of_attribute(attribute: Any, numbers: dict[str, int]) -> Iterator[object]:
    from onnx import helper

    yield attribute.name
    match attribute.type:
        case attribute.TENSOR:
            yield _of_tensor(attribute.t)
        case attribute.GRAPH:
            yield from _of_graph(attribute.g, numbers)
        case attribute.GRAPHS | attribute.TENSORS | attribute.SPARSE_TENSOR | attribute.SPARSE_TENSORS:
            yield attribute.SerializeToString()
        case _:
            yield helper.get_attribute_value(attribute)


def _of_tensor(tensor: Any) -> tuple[object, ...]:
    """Type and shape; of a few integers also their values."""
    kind = stored_tensor(tensor)
    values = b""
    if kind.dtype in NO_NUMBERS and kind.nbytes <= SIZES_BYTES and not getattr(tensor, "external_data", ()):
        from onnx import numpy_helper

        values = repr(numpy_helper.to_array(tensor).tolist()).encode()
    return (kind.dtype, kind.shape, values)
