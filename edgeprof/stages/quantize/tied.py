"""An embedding that is tied to an LM head reads the head's quantized matrix: the two are stored once.

The head's matrix is the embedding transposed, so that what is scaled per column of one is scaled per row of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeprof.stages import graph

if TYPE_CHECKING:
    import onnx_ir as ir

TRANSPOSED = ".T"
"""What `graph.transposed` adds to the name of a matrix."""


def is_tied(matmul: ir.Node) -> bool:
    """Whether an embedding reads the matrix too, which then stands in the graph a second time."""
    weight = matmul.inputs[1]
    assert weight is not None
    assert weight.graph is not None
    table = weight.graph.initializers.get((weight.name or "").removesuffix(TRANSPOSED))
    return table is not None and table is not weight and bool(gathers_of(table))


def tied_embeddings(model: ir.Model) -> list[str]:
    """Names of the nodes that look up what an LM head multiplies by."""
    initializers = model.graph.initializers
    tables = [table for table in initializers.values() if f"{table.name}{TRANSPOSED}" in initializers]
    return [gather.name or "" for table in tables for gather in gathers_of(table)]


def share_tied_embedding(model: ir.Model) -> int:
    """Let embeddings read the quantized matrix of the head they are tied to; how many were changed."""
    changed = 0
    for table in list(model.graph.initializers.values()):
        for gather in gathers_of(table):
            changed += _from_bytes(model, gather, table) or _from_blocks(model, gather, table)
        if not table.uses() and not table.is_graph_output():
            del model.graph.initializers[table.name or ""]
    return changed


def gathers_of(table: ir.Value) -> list[ir.Node]:
    """The embeddings that read a matrix, if nothing else does."""
    uses = list(table.uses())
    if table.is_graph_output() or not all(use.node.op_type == "Gather" and use.idx == 0 for use in uses):
        return []
    main = all(use.node.graph is table.graph and use.node.attributes.get_int("axis", 0) == 0 for use in uses)
    return [use.node for use in uses] if main else []


def _from_bytes(model: ir.Model, gather: ir.Node, table: ir.Value) -> bool:
    """Int8 with a scale per column and no zero point: gather columns, multiply by their scales, transpose."""
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
    real = ir.node("Cast", columns.outputs, {"to": ir.DataType.FLOAT}, name=f"{gather.name}/real")
    scales = ir.node("Gather", [scale, ids], name=f"{gather.name}/scales")
    scaled = ir.node("Mul", [real.outputs[0], scales.outputs[0]], name=f"{gather.name}/scaled")
    rows = ir.node("Transpose", scaled.outputs, {"perm": [*range(1, rank + 1), 0]}, name=f"{gather.name}/rows")
    put(model, gather, [columns, real, scales, scaled, rows])
    return True


def _rank(model: ir.Model, ids: ir.Value | None) -> int | None:
    """The number of dimensions; None if it cannot be told."""
    import onnx_ir.passes.common as passes

    if ids is not None and ids.shape is None:
        passes.ShapeInferencePass()(model)
    return len(ids.shape) if ids is not None and ids.shape is not None else None


def _from_blocks(model: ir.Model, gather: ir.Node, table: ir.Value) -> bool:
    """Blocks of few bits with a scale each: GatherBlockQuantized reads the rows that MatMulNBits multiplies by.

    They are filled up to whole blocks; what was filled in is cut off again.
    """
    import numpy as np
    import onnx_ir as ir

    head = next((node for node in model.graph if _multiplies_by(node, f"{table.name}{TRANSPOSED}")), None)
    if head is None:
        return False
    packed, scales, *zeros = head.inputs[1:4]
    width, block_size = head.attributes["K"].as_int(), head.attributes["block_size"].as_int()
    bits, rows = head.attributes.get_int("bits", 4), head.attributes["N"].as_int()
    if packed is None or scales is None or (zeros and zeros[0] is not None and not _whole(zeros[0])):
        return False
    if not can_cut(model, width, block_size):
        return False
    bytes_of_row = (width + -width % block_size) * bits // 8
    shape = graph.constant(model, f"{gather.name}/shape", np.array([rows, bytes_of_row], np.int64))
    table_of = ir.node("Reshape", [packed, shape], name=f"{gather.name}/rows")
    model.graph.insert_before(gather, table_of)
    look_up_blocks(model, gather, [table_of.outputs[0], scales, *zeros], width=width, block_size=block_size, bits=bits)
    return True


def can_cut(model: ir.Model, width: int, block_size: int) -> bool:
    """Whether `look_up_blocks` can say it: Slice took its bounds otherwise before operator set 10."""
    return width % block_size == 0 or graph.opset(model) >= 10


def look_up_blocks(
    model: ir.Model, gather: ir.Node, packed: Sequence[ir.Value | None], *, width: int, block_size: int, bits: int
) -> None:
    """Put GatherBlockQuantized where an embedding was.

    Args:
        packed: rows of `width` numbers, filled up to whole blocks: what was filled in is cut off again; their scales
            and, if they have some, zero points.
    """
    import numpy as np
    import onnx_ir as ir

    rows, *scales = packed
    model.graph.opset_imports.setdefault("com.microsoft", 1)
    taken = ir.node(
        "GatherBlockQuantized",
        [rows, gather.inputs[1], *scales],
        {"gather_axis": 0, "quantize_axis": 1, "block_size": block_size, "bits": bits},
        domain="com.microsoft",
        name=f"{gather.name}/taken",
    )
    steps = [taken]
    if width % block_size:
        bounds = [
            graph.constant(model, f"{gather.name}/{name}", np.array([value], np.int64))
            for name, value in (("first", 0), ("last", width), ("axis", -1))
        ]
        steps.append(ir.node("Slice", [taken.outputs[0], *bounds], name=f"{gather.name}/cut"))
    put(model, gather, steps)


def _multiplies_by(node: ir.Node, weight: str) -> bool:
    packed = node.inputs[1] if node.op_type == "MatMulNBits" else None
    return packed is not None and (packed.name or "").startswith(f"{weight}_Q")


def _whole(zeros: ir.Value) -> bool:
    """Whether zero points are integers, packed as the weights are."""
    return zeros.const_value is not None and not zeros.const_value.dtype.is_floating_point()


def _all_zero(zeros: ir.Value) -> bool:
    return zeros.const_value is not None and not zeros.const_value.numpy().any()


def put(model: ir.Model, gather: ir.Node, steps: list[ir.Node]) -> None:
    """Steps where an embedding was; the last of them gives what it gave."""
    embedded, result = gather.outputs[0], steps[-1].outputs[0]
    name, result.type, result.shape = embedded.name, embedded.type, embedded.shape
    model.graph.insert_before(gather, steps)
    embedded.replace_all_uses_with(result, replace_graph_outputs=True)
    model.graph.remove(gather, safe=True)
    result.name = name
