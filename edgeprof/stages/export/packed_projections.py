"""Queries, keys and values of a fused decoder by one product, split afterwards.

Measured with onnxruntime 1.32 on two cores, on 30 layers of width 576 in fp32: a step of decode takes 4 to 6 % less
time, a prefill of 128 tokens 1 to 2 % less, as each product wakes the threads once.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np

from edgeprof.stages import graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

ATTENTION = "GroupQueryAttention"
PARTS = 3
"""Inputs of an attention that are projections: query, key and value."""


def pack_projections(model: ir.Model) -> int:
    """Pack the products of each attention that have one input, and weights that nothing else reads.

    Returns how many attentions have a packed product now.
    """
    found = [products for node in model.graph if node.op_type == ATTENTION and (products := _products(node))]
    for products in found:
        _pack(model, products)
    return len(found)


def _products(attention: ir.Node) -> list[ir.Node]:
    """The products behind query, key and value, in this order; empty where they cannot be one."""
    products = [_product(value) for value in attention.inputs[:PARTS]]
    found = [product for product in products if product is not None]
    sources = {product.inputs[0] for product in found}
    return found if len(set(found)) == PARTS and len(sources) == 1 else []


def _product(value: ir.Value | None) -> ir.Node | None:
    """The product with a matrix of weights that a value comes from, through operators that have one input besides
    constants: biases, norms, rotations, reshapes."""
    while value is not None and (node := value.producer()) is not None:
        if node.op_type == "MatMul":
            weight = node.inputs[1]
            own = weight is not None and weight.const_value is not None and len(weight.uses()) == 1
            return node if own and len(weight.const_value.shape) == 2 else None  # type: ignore[union-attr]
        if node.op_type == "Add":
            value = next((one for one in node.inputs if one is not None and one.const_value is None), None)
        else:
            value = node.inputs[0]
    return None


def _pack(model: ir.Model, products: Sequence[ir.Node]) -> None:
    import onnx_ir as ir

    weights = [product.inputs[1] for product in products]
    names = [weight.name or "" for weight in weights if weight]
    name = f"{_common(names)}.qkv.weight"
    packed = _side_by_side([weight for weight in weights if weight], name)
    graph.add_initializer(model, packed)
    sizes = graph.constant(model, f"{name}/sizes", np.array([_columns(weight) for weight in weights], np.int64))
    first = products[0]
    product = ir.node("MatMul", [first.inputs[0], packed])
    split = ir.node("Split", [product.outputs[0], sizes], {"axis": -1}, num_outputs=PARTS)
    model.graph.insert_before(_earliest(model, products), [product, split])
    for old, new in zip(products, split.outputs, strict=True):
        graph.stand_in(old.outputs[0], new)
        model.graph.remove(old, safe=True)
    for one in names:
        del model.graph.initializers[one]


def _common(names: Sequence[str]) -> str:
    """The path of the module that owns the weights."""
    same = takewhile(lambda parts: len(set(parts)) == 1, zip(*(name.split(".") for name in names), strict=False))
    return ".".join(parts[0] for parts in same)


def _earliest(model: ir.Model, nodes: Sequence[ir.Node]) -> ir.Node:
    return next(node for node in model.graph if node in nodes)


def _columns(weight: ir.Value | None) -> int:
    assert weight is not None and weight.const_value is not None
    return int(weight.const_value.shape.numpy()[1])


def _side_by_side(weights: Sequence[ir.Value], name: str) -> ir.Value:
    """A new initializer of the columns of several, put together when it is written."""
    import onnx_ir as ir

    tensors = [weight.const_value for weight in weights if weight.const_value is not None]
    rows, columns = tensors[0].shape.numpy()[0], sum(map(_columns, weights))
    tensor = ir.LazyTensor(
        lambda: ir.Tensor(np.concatenate([one.numpy() for one in tensors], axis=1), name=name),
        dtype=tensors[0].dtype,
        shape=ir.Shape([rows, columns]),
        name=name,
    )
    return ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensors[0].dtype), const_value=tensor)
