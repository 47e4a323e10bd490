"""Symmetric 8-bit quantization by rows, for tables and kernels: one scale for every row, no zero points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprof.stages import graph

if TYPE_CHECKING:
    import onnx_ir as ir

LARGEST = 127
SHORTEST = 32
"""Shortest row that gets a scale: in shorter rows the scale would be more than an eighth of the bytes."""

AT_ONCE = 4096
"""Rows that are converted at once, to limit the memory in fp32."""


def is_quantizable(value: ir.Value) -> bool:
    """Whether a tensor is fp32, finite (a mask may not be), and has long enough rows."""
    import numpy as np
    import onnx_ir as ir

    tensor = value.const_value
    if tensor is None or tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) < 2:
        return False
    rows, *others = tensor.shape.numpy()
    return rows > 0 and int(np.prod(others)) >= SHORTEST and bool(np.isfinite(tensor.numpy()).all())


def quantized_rows(model: ir.Model, value: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Integers in the shape of `value`, and a scale for each row, [rows, 1, ...], as new initializers."""
    import numpy as np

    assert value.const_value is not None
    numbers = value.const_value.numpy()
    integers = np.empty(numbers.shape, np.int8)
    scales = np.empty((len(numbers), *[1] * (numbers.ndim - 1)), np.float32)
    others = tuple(range(1, numbers.ndim))
    for first in range(0, len(numbers), AT_ONCE):
        some = slice(first, first + AT_ONCE)
        largest = np.abs(numbers[some]).max(others, keepdims=True)
        scales[some] = np.where(largest, largest / np.float32(LARGEST), 1)
        integers[some] = np.rint(numbers[some] / scales[some])
    return (
        graph.constant(model, f"{value.name}_quantized", integers),
        graph.constant(model, f"{value.name}_scale", scales),
    )
