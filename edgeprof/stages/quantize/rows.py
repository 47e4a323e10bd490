"""8 bits for numbers that no matmul multiplies by: one scale for every row, and no zero points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprof.stages import graph

if TYPE_CHECKING:
    import onnx_ir as ir

LARGEST = 127
SHORTEST = 32
"""Numbers in a row for whose sake a scale is stored: of shorter rows it would be more than an eighth."""

AT_ONCE = 4096
"""Rows that are worked on at once: more of a large table would be in memory in fp32."""


def have_scales(value: ir.Value) -> bool:
    """Whether these are fp32 numbers in rows that are long enough. An infinity (of a mask) has no scale."""
    import numpy as np
    import onnx_ir as ir

    tensor = value.const_value
    if tensor is None or tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) < 2:
        return False
    rows, *others = tensor.shape.numpy()
    return rows > 0 and int(np.prod(others)) >= SHORTEST and bool(np.isfinite(tensor.numpy()).all())


def in_rows(model: ir.Model, value: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Integers of the shape of `value`, and as many scales as it has rows: of shape [rows, 1, ...]."""
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
