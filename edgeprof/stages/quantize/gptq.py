"""GPTQ (Frantar et al. 2023) in 4 bits: the error of each rounded row is corrected in the rows still to be rounded.

Implemented here because onnxruntime 1.32's version uses the wrong triangle of the inverse and corrects nothing: its
result is rounded to nearest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

    from edgeprof.schema import Settings

ROWS = 128
"""Rows that are corrected together before the rest of the matrix; the paper's value."""

DAMPING = 0.01
"""Fraction of the mean diagonal that is added to the diagonal, so that the inverse exists; the paper's value."""

LARGEST = 15
"""Integers go from 0 to this."""


def quantize(matmul: onnx.ModelProto, *, inputs: Iterable[Any], settings: Settings) -> onnx.ModelProto:
    """Quantize the model of one MatMul to MatMulNBits.

    Args:
        inputs: the activations that its weight is multiplied by, one array [tokens, rows of the weight] per sample.
    """
    from onnx import helper, numpy_helper

    node, weight = matmul.graph.node[0], matmul.graph.initializer[0]
    size = settings.block_size or 1
    weights = numpy_helper.to_array(weight).astype(np.float64)
    integers, scales, zeros = rounded(weights, _hessian(inputs), size, symmetric=bool(settings.symmetric))
    tensors = {"Q4": packed(_in_blocks(integers, size)), "scales": scales.T.astype(np.float32)}
    if not settings.symmetric:
        tensors["zero_points"] = packed(zeros.T)
    stored = [
        numpy_helper.from_array(np.ascontiguousarray(array), f"{weight.name}_{n}") for n, array in tensors.items()
    ]
    attributes = {"K": weights.shape[0], "N": weights.shape[1], "bits": 4, "block_size": size}
    product = helper.make_node(
        "MatMulNBits",
        [node.input[0], *(tensor.name for tensor in stored)],
        list(node.output),
        name=f"{node.name}_Q4",
        domain="com.microsoft",
        accuracy_level=settings.accuracy_level or 0,
        **attributes,
    )
    graph = helper.make_graph([product], "one matmul", matmul.graph.input, matmul.graph.output, stored)
    opsets = [*matmul.opset_import, helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=matmul.ir_version)


def rounded(weights: Any, hessian: Any, size: int, *, symmetric: bool) -> tuple[Any, Any, Any]:
    """Round a matrix; returns integers [rows, columns], and scales and zero points [blocks, columns].

    Args:
        weights: float64 [rows, columns]; changed in place.
        hessian: of the squared error of a column: inputs transposed times inputs, [rows, rows].
        size: rows of a block that shares a scale.
    """
    inverse = _inverse_root(hessian)
    count = len(weights)
    integers = np.zeros(weights.shape, np.uint8)
    scales, zeros = [], []
    for first in range(0, count, ROWS):
        last = min(first + ROWS, count)
        errors = np.empty((last - first, weights.shape[1]))
        for row in range(first, last):
            if row % size == 0:
                scale, zero = _grid(weights[row : row + size], symmetric)
                scales.append(scale)
                zeros.append(zero)
            integers[row] = np.clip(np.round(weights[row] / scale) + zero, 0, LARGEST)
            errors[row - first] = error = (weights[row] - (integers[row] - zero) * scale) / inverse[row, row]
            weights[row + 1 : last] -= np.outer(inverse[row, row + 1 : last], error)
        weights[last:] -= inverse[first:last, last:].T @ errors
    return integers, np.array(scales), np.array(zeros).astype(np.uint8)


def packed(values: Any) -> Any:
    """Pack pairs of 4-bit numbers into bytes along the last axis; an odd count is padded with a zero."""
    even = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, values.shape[-1] % 2)])
    return even[..., ::2] | even[..., 1::2] << 4


def _hessian(inputs: Iterable[Any]) -> Any:
    total: Any = 0
    for rows in inputs:
        doubles = rows.astype(np.float64)
        total = total + doubles.T @ doubles
    return total


def _inverse_root(hessian: Any) -> Any:
    """The upper triangular U of which U transposed times U is the inverse."""
    diagonal = np.diag(hessian)
    damping = DAMPING * float(diagonal.mean()) or 1.0
    inverse = np.linalg.inv(hessian + damping * np.eye(len(hessian)))
    return np.linalg.cholesky(inverse).T


def _grid(block: Any, symmetric: bool) -> tuple[Any, Any]:
    """Scale and zero point of every column of a block of rows."""
    low, high = np.minimum(block.min(axis=0), 0), np.maximum(block.max(axis=0), 0)
    if symmetric:  # the end with the larger magnitude becomes -8, whatever its sign
        scale = np.where(high > -low, high, low) / -8
        return np.where(scale == 0, 1, scale), np.full(scale.shape, 8.0)
    scale = (high - low) / LARGEST
    scale = np.where(scale == 0, 1, scale)
    return scale, np.round(-low / scale)


def _in_blocks(integers: Any, size: int) -> Any:
    """[columns, blocks, rows of a block], padded to whole blocks."""
    rows, columns = integers.shape
    padded = np.pad(integers, [(0, -rows % size), (0, 0)])
    return padded.T.reshape(columns, -1, size)
