"""Lookup tables in 8 bits, with a scale for every block of a row or for every row.

In a small encoder they are most of the weights that would stay fp32: a third to a half of BERT's parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprof.stages import graph
from edgeprof.stages.quantize.rows import is_quantizable, quantized_rows
from edgeprof.stages.quantize.tied import TRANSPOSED, can_cut, gathers_of, look_up_blocks, replace_gather

if TYPE_CHECKING:
    import onnx_ir as ir

BITS = 8


def quantize_tables(model: ir.Model, block_size: int | None) -> int:
    """Store lookup tables in integers; returns how many were changed.

    Args:
        block_size: numbers that share a scale; None: whole rows.
    """
    changed = 0
    for table in list(model.graph.initializers.values()):
        gathers = gathers_of(table)
        if not gathers or not _fits(model, table, block_size):
            continue
        if block_size:
            _look_up_blocks(model, table, gathers, block_size)
        else:
            _look_up_rows(model, table, gathers)
        del model.graph.initializers[table.name or ""]
        changed += 1
    return changed


def _fits(model: ir.Model, table: ir.Value, block_size: int | None) -> bool:
    """Whether a table is a matrix with rows of at least a block, and not tied to an LM head."""
    tensor, tied = table.const_value, f"{table.name}{TRANSPOSED}" in model.graph.initializers
    if tensor is None or len(tensor.shape) != 2 or tied or not is_quantizable(table):
        return False
    width = tensor.shape.numpy()[1]
    return not block_size or (width >= block_size and can_cut(model, width, block_size))


def _look_up_rows(model: ir.Model, table: ir.Value, gathers: list[ir.Node]) -> None:
    import onnx_ir as ir

    rows, scales = quantized_rows(model, table)
    for gather in gathers:
        ids = gather.inputs[1]
        integers = ir.node("Gather", [rows, ids], name=f"{gather.name}/integers")
        cast = ir.node("Cast", integers.outputs, {"to": ir.DataType.FLOAT}, name=f"{gather.name}/cast")
        row_scales = ir.node("Gather", [scales, ids], name=f"{gather.name}/scales")
        scaled = ir.node("Mul", [cast.outputs[0], row_scales.outputs[0]], name=f"{gather.name}/scaled")
        replace_gather(model, gather, [integers, cast, row_scales, scaled])


def _look_up_blocks(model: ir.Model, table: ir.Value, gathers: list[ir.Node], block_size: int) -> None:
    rows, scales = _in_blocks(model, table, block_size)
    assert table.const_value is not None
    width = table.const_value.shape.numpy()[1]
    for gather in gathers:
        look_up_blocks(model, gather, [rows, scales], width=width, block_size=block_size, bits=BITS)


def _in_blocks(model: ir.Model, table: ir.Value, block_size: int) -> tuple[ir.Value, ir.Value]:
    """Rows in the format in which MatMulNBits stores columns, padded to whole blocks, and their scales."""
    import numpy as np
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        DefaultWeightOnlyQuantConfig,
        DefaultWeightOnlyQuantizer,
    )

    assert table.const_value is not None
    config = DefaultWeightOnlyQuantConfig(block_size=block_size, is_symmetric=True, bits=BITS)
    columns = np.ascontiguousarray(table.const_value.numpy().T)  # its kernels ignore strides
    blocks, scales, _ = DefaultWeightOnlyQuantizer(config).qbits_block_quant(columns)
    rows = blocks.reshape(blocks.shape[0], -1)
    return graph.constant(model, f"{table.name}_Q{BITS}", rows), graph.constant(model, f"{table.name}_scales", scales)
