"""Store the scales of 8-bit weights in 16 bits: that rounds them by 1/2,000, as their weights are rounded by 1/250.

The Cast back to fp32 is folded when onnxruntime loads the graph, before it fuses operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprof.stages import graph

if TYPE_CHECKING:
    import onnx_ir as ir

INTEGERS, SCALE = "_quantized", "_scale"
SMALLEST, LARGEST = 2.0**-14, 65504.0
"""The range in which a 16-bit number has full precision."""


def store_in_16_bits(model: ir.Model) -> None:
    """Store the scales of matrix columns, and of the rows of tables and kernels, in half the bytes."""
    for scale in list(model.graph.initializers.values()):
        if _scales_integers(model, scale) and _fits(scale):
            _halve(model, scale)


def _scales_integers(model: ir.Model, scale: ir.Value) -> bool:
    import onnx_ir as ir

    name = scale.name or ""
    weights = model.graph.initializers.get(name.removesuffix(SCALE) + INTEGERS) if name.endswith(SCALE) else None
    readers = {node.op_type for node in scale.consumers()}
    return (
        weights is not None and weights.dtype == ir.DataType.INT8 and readers <= {"DequantizeLinear", "Gather", "Mul"}
    )


def _fits(scale: ir.Value) -> bool:
    import numpy as np
    import onnx_ir as ir

    if scale.const_value is None or scale.const_value.dtype != ir.DataType.FLOAT:
        return False
    numbers = np.abs(scale.const_value.numpy())
    return bool(((numbers >= SMALLEST) & (numbers <= LARGEST)).all())


def _halve(model: ir.Model, scale: ir.Value) -> None:
    import numpy as np
    import onnx_ir as ir

    assert scale.const_value is not None
    name, numbers = scale.name or "", scale.const_value.numpy().astype(np.float16)
    del model.graph.initializers[name]
    half = graph.constant(model, f"{name}_16", numbers)
    cast = ir.node("Cast", [half], {"to": ir.DataType.FLOAT}, name=name)
    model.graph.insert_before(model.graph[0], cast)
    ir.convenience.replace_all_uses_with(scale, cast.outputs[0])
