"""Store a tied embedding once: the embedding reads the quantized matrix of its LM head.

The head's matrix is the embedding transposed, so that scales per column of one are scales per row of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeprof.stages import graph

if TYPE_CHECKING:
    import onnx_ir as ir

TRANSPOSED = ".T"
"""The suffix that `graph.transposed` adds to the name of a matrix."""


def is_tied(matmul: ir.Node) -> bool:
    """Whether an embedding reads the same matrix, which is then stored twice."""
    weight = matmul.inputs[1]
    assert weight is not None
    assert weight.graph is not None
    table = weight.graph.initializers.get((weight.name or "").removesuffix(TRANSPOSED))
    return table is not None and table is not weight and bool(gathers_of(table))


def tied_embeddings(model: ir.Model) -> list[str]:
    """Names of the nodes that look up rows of a matrix that an LM head multiplies by."""
    initializers = model.graph.initializers
    tables = [table for table in initializers.values() if f"{table.name}{TRANSPOSED}" in initializers]
    return [gather.name or "" for table in tables for gather in gathers_of(table)]


def share_tied_embedding(model: ir.Model) -> int:
    """Let embeddings read the quantized matrix of the head they are tied to; returns how many were changed."""
    changed = 0
    for table in list(model.graph.initializers.values()):
        for gather in gathers_of(table):
            changed += _from_bytes(model, gather, table) or _from_blocks(model, gather, table)
        if not table.uses() and not table.is_graph_output():
            del model.graph.initializers[table.name or ""]
    return changed


def gathers_of(table: ir.Value) -> list[ir.Node]:
    """The embeddings that read a matrix; none if anything else reads it."""
    uses = list(table.uses())
    if table.is_graph_output() or not all(use.node.op_type == "Gather" and use.idx == 0 for use in uses):
        return []
    main = all(use.node.graph is table.graph and use.node.attributes.get_int("axis", 0) == 0 for use in uses)
    return [use.node for use in uses] if main else []


def _from_bytes(model: ir.Model, gather: ir.Node, table: ir.Value) -> bool:
    """Read int8 columns with a scale each and no zero point: gather, multiply by the scales, transpose."""
    import onnx_ir as ir

    initializers, name = model.graph.initializers, f"{table.name}{TRANSPOSED}"
    head, scale, zero = (initializers.get(f"{name}{part}") for part in ("_quantized", "_scale", "_zero_point"))
    if head is None or scale is None or (zero is not None and not _all_zero(zero)):
        return False
    ids = gather.inputs[1]
    rank = _rank(model, ids)
    if rank is None:
        return False
    columns = ir.node("Gather", [head, ids], {"axis": 1}, name=f"{gather.name}/columns")  # [width, *ids]
    cast = ir.node("Cast", columns.outputs, {"to": ir.DataType.FLOAT}, name=f"{gather.name}/cast")
    scales = ir.node("Gather", [scale, ids], name=f"{gather.name}/scales")
    scaled = ir.node("Mul", [cast.outputs[0], scales.outputs[0]], name=f"{gather.name}/scaled")
    rows = ir.node("Transpose", scaled.outputs, {"perm": [*range(1, rank + 1), 0]}, name=f"{gather.name}/rows")
    replace_gather(model, gather, [columns, cast, scales, scaled, rows])
    return True


def _rank(model: ir.Model, ids: ir.Value | None) -> int | None:
    """Number of dimensions; None if it is not known."""
    import onnx_ir.passes.common as passes

    if ids is not None and ids.shape is None:
        passes.ShapeInferencePass()(model)
    return len(ids.shape) if ids is not None and ids.shape is not None else None


def _from_blocks(model: ir.Model, gather: ir.Node, table: ir.Value) -> bool:
    """Read blocks of few bits with a scale each: GatherBlockQuantized looks up the rows that MatMulNBits multiplies by.

    Rows are padded to whole blocks; the padding is cut off again.
    """
    import numpy as np
    import onnx_ir as ir

    head = next((node for node in model.graph if _multiplies_by(node, f"{table.name}{TRANSPOSED}")), None)
    if head is None:
        return False
    packed, scales, *zeros = head.inputs[1:4]
    width, block_size = head.attributes["K"].as_int(), head.attributes["block_size"].as_int()
    bits, rows = head.attributes.get_int("bits", 4), head.attributes["N"].as_int()
    if packed is None or scales is None or (zeros and zeros[0] is not None and not _are_integers(zeros[0])):
        return False
    if not can_cut(model, width, block_size):
        return False
    row_bytes = (width + -width % block_size) * bits // 8
    shape = graph.constant(model, f"{gather.name}/shape", np.array([rows, row_bytes], np.int64))
    reshaped = ir.node("Reshape", [packed, shape], name=f"{gather.name}/rows")
    model.graph.insert_before(gather, reshaped)
    look_up_blocks(model, gather, [reshaped.outputs[0], scales, *zeros], width=width, block_size=block_size, bits=bits)
    return True


def can_cut(model: ir.Model, width: int, block_size: int) -> bool:
    """Whether padding can be cut off: before operator set 10, Slice has its bounds as attributes."""
    return width % block_size == 0 or graph.opset(model) >= 10


def look_up_blocks(
    model: ir.Model, gather: ir.Node, packed: Sequence[ir.Value | None], *, width: int, block_size: int, bits: int
) -> None:
    """Replace an embedding by GatherBlockQuantized.

    Args:
        packed: rows of `width` numbers, padded to whole blocks (the padding is cut off again); their scales; and their
            zero points, if there are any.
    """
    import numpy as np
    import onnx_ir as ir

    rows, *scales = packed
    model.graph.opset_imports.setdefault("com.microsoft", 1)
    lookup = ir.node(
        "GatherBlockQuantized",
        [rows, gather.inputs[1], *scales],
        {"gather_axis": 0, "quantize_axis": 1, "block_size": block_size, "bits": bits},
        domain="com.microsoft",
        name=f"{gather.name}/lookup",
    )
    steps = [lookup]
    if width % block_size:
        bounds = [
            graph.constant(model, f"{gather.name}/{name}", np.array([value], np.int64))
            for name, value in (("first", 0), ("last", width), ("axis", -1))
        ]
        steps.append(ir.node("Slice", [lookup.outputs[0], *bounds], name=f"{gather.name}/cut"))
    replace_gather(model, gather, steps)


def _multiplies_by(node: ir.Node, weight: str) -> bool:
    packed = node.inputs[1] if node.op_type == "MatMulNBits" else None
    return packed is not None and (packed.name or "").startswith(f"{weight}_Q")


def _are_integers(zeros: ir.Value) -> bool:
    """Whether zero points are integers, packed like the weights."""
    return zeros.const_value is not None and not zeros.const_value.dtype.is_floating_point()


def _all_zero(zeros: ir.Value) -> bool:
    return zeros.const_value is not None and not zeros.const_value.numpy().any()


def replace_gather(model: ir.Model, gather: ir.Node, steps: list[ir.Node]) -> None:
    """Replace an embedding by several nodes, the last of which computes its result."""
    embedded, result = gather.outputs[0], steps[-1].outputs[0]
    name, result.type, result.shape = embedded.name, embedded.type, embedded.shape
    model.graph.insert_before(gather, steps)
    embedded.replace_all_uses_with(result, replace_graph_outputs=True)
    model.graph.remove(gather, safe=True)
    result.name = name
