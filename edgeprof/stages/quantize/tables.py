"""Tables that are looked up and nothing else, in blocks of 8 bits with a scale each.

Of a small encoder they are most of what a weight-only recipe would leave: a third to a half of BERT's parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprof.stages.quantize.tied import TRANSPOSED, can_cut, constant, gathers_of, look_up_blocks

if TYPE_CHECKING:
    import onnx_ir as ir

BITS = 8


def quantize_tables(model: ir.Model, block_size: int) -> int:
    """Let embeddings look up integers; how many tables were changed."""
    changed = 0
    for table in list(model.graph.initializers.values()):
        gathers = gathers_of(table)
        if not gathers or not _fits(model, table, block_size):
            continue
        rows, scales = _packed(model, table, block_size)
        for gather in gathers:
            assert table.const_value is not None
            width = table.const_value.shape.numpy()[1]
            look_up_blocks(model, gather, [rows, scales], width=width, block_size=block_size, bits=BITS)
        del model.graph.initializers[table.name or ""]
        changed += 1
    return changed


def _fits(model: ir.Model, table: ir.Value, block_size: int) -> bool:
    """Whether it is a matrix whose rows fill a block at least, and not one that an LM head multiplies by too.

    An infinity (of a mask) has no scale.
    """
    import numpy as np
    import onnx_ir as ir

    tensor = table.const_value
    if tensor is None or tensor.dtype != ir.DataType.FLOAT or len(tensor.shape) != 2:
        return False
    width, tied = tensor.shape.numpy()[1], f"{table.name}{TRANSPOSED}" in model.graph.initializers
    return width >= block_size and not tied and can_cut(model, width, block_size) and bool(np.isfinite(tensor).all())


def _packed(model: ir.Model, table: ir.Value, block_size: int) -> tuple[ir.Value, ir.Value]:
    """The rows as MatMulNBits would store the columns of a matrix, filled up to whole blocks, and their scales."""
    import numpy as np
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        DefaultWeightOnlyQuantConfig,
        DefaultWeightOnlyQuantizer,
    )

    assert table.const_value is not None
    config = DefaultWeightOnlyQuantConfig(block_size=block_size, is_symmetric=True, bits=BITS)
    columns = np.ascontiguousarray(table.const_value.numpy().T)  # its kernels read what lies in memory
    blocks, scales, _ = DefaultWeightOnlyQuantizer(config).qbits_block_quant(columns)
    rows = blocks.reshape(blocks.shape[0], -1)
    return constant(model, f"{table.name}_Q{BITS}", rows), constant(model, f"{table.name}_scales", scales)
