"""An embedding that is tied to an LM head reads the head's quantized matrix: the two are stored once.

The head's matrix is the embedding transposed, so that what is scaled per column of one is scaled per row of the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

TRANSPOSED = ".T"
"""What `graph.transposed` adds to the name of a matrix."""


def is_tied(matmul: ir.Node) -> bool:
    """Whether an embedding reads the matrix too, which then stands in the graph a second time."""
    weight, model_graph = matmul.inputs[1], matmul.graph
    assert weight is not None
    assert model_graph is not None
    table = model_graph.initializers.get((weight.name or "").removesuffix(TRANSPOSED))
    return table is not None and table is not weight and _only_gather(table) is not None


def tied_embeddings(model: ir.Model) -> list[str]:
    """Names of the nodes that look up what an LM head multiplies by."""
    gathers = (_only_gather(table) for table in model.graph.initializers.values() if _twin(model, table))
    return [gather.name or "" for gather in gathers if gather is not None]


def _twin(model: ir.Model, table: ir.Value) -> bool:
    return f"{table.name}{TRANSPOSED}" in model.graph.initializers


def share_tied_embedding(model: ir.Model) -> int:
    """Let embeddings read the quantized matrix of the head they are tied to; how many were changed."""
    changed = 0
    for table in list(model.graph.initializers.values()):
        gather = _only_gather(table)
        if gather is not None and (_from_bytes(model, gather, table) or _from_blocks(model, gather, table)):
            del model.graph.initializers[table.name or ""]
            changed += 1
    return changed


def _only_gather(table: ir.Value) -> ir.Node | None:
    """The embedding that reads a matrix, if nothing else does."""
    uses = list(table.uses())
    if len(uses) != 1 or uses[0].node.op_type != "Gather" or uses[0].idx != 0:
        return None
    gather = uses[0].node
    return gather if gather.attributes.get_int("axis", 0) == 0 else None


def _from_bytes(model: ir.Model, gather: ir.Node, table: ir.Value) -> bool:
    """Int8 with a scale per column and no zero point: gather columns, transpose, multiply by their scales."""
    import numpy as np
    import onnx_ir as ir

    initializers, name = model.graph.initializers, f"{table.name}{TRANSPOSED}"
    head, scale, zero = (initializers.get(f"{name}{part}") for part in ("_quantized", "_scale", "_zero_point"))
    if head is None or scale is None or zero is None or zero.const_value is None or zero.const_value.numpy().any():
        return False
    ids, embedded = gather.inputs[1], gather.outputs[0]
    rank = len(ids.shape) if ids is not None and ids.shape is not None else 2
    axis = _constant(model, f"{gather.name}/axis", np.array([-1], np.int64))
    columns = ir.node("Gather", [head, ids], {"axis": 1}, name=f"{gather.name}/columns")  # [width, *ids]
    rows = ir.node("Transpose", columns.outputs, {"perm": [*range(1, rank + 1), 0]}, name=f"{gather.name}/rows")
    real = ir.node("Cast", rows.outputs, {"to": ir.DataType.FLOAT}, name=f"{gather.name}/real")
    scales = ir.node("Gather", [scale, ids], name=f"{gather.name}/scales")
    column = ir.node("Unsqueeze", [scales.outputs[0], axis], name=f"{gather.name}/column")
    product = ir.node("Mul", [real.outputs[0], column.outputs[0]], name=f"{gather.name}/product")
    _put(model, gather, [columns, rows, real, scales, column, product], embedded)
    return True


def _from_blocks(model: ir.Model, gather: ir.Node, table: ir.Value) -> bool:
    """Blocks of few bits with a scale each: GatherBlockQuantized reads the rows that MatMulNBits multiplies by."""
    import numpy as np
    import onnx_ir as ir

    head = next((node for node in model.graph if _multiplies_by(node, f"{table.name}{TRANSPOSED}")), None)
    if head is None:
        return False
    packed, scales, *zeros = head.inputs[1:4]
    width, block = head.attributes["K"].as_int(), head.attributes["block_size"].as_int()
    bits = head.attributes.get_int("bits", 4)
    if packed is None or scales is None or width % block or (zeros and zeros[0] is not None and not _whole(zeros[0])):
        return False
    rows = head.attributes["N"].as_int()
    shape = _constant(model, f"{gather.name}/shape", np.array([rows, width * bits // 8], np.int64))
    table_of = ir.node("Reshape", [packed, shape], name=f"{gather.name}/rows")
    inputs = [table_of.outputs[0], gather.inputs[1], scales, *zeros]
    taken = ir.node(
        "GatherBlockQuantized",
        inputs,
        {"gather_axis": 0, "quantize_axis": 1, "block_size": block, "bits": bits},
        domain="com.microsoft",
        name=f"{gather.name}/taken",
    )
    _put(model, gather, [table_of, taken], gather.outputs[0])
    return True


def _multiplies_by(node: ir.Node, weight: str) -> bool:
    packed = node.inputs[1] if node.op_type == "MatMulNBits" else None
    return packed is not None and (packed.name or "").startswith(f"{weight}_Q")


def _whole(zeros: ir.Value) -> bool:
    """Whether zero points are integers, packed as the weights are."""
    return zeros.const_value is not None and not zeros.const_value.dtype.is_floating_point()


def _put(model: ir.Model, gather: ir.Node, steps: list[ir.Node], embedded: ir.Value) -> None:
    result = steps[-1].outputs[0]
    result.type, result.shape = embedded.type, embedded.shape
    model.graph.insert_before(gather, steps)
    embedded.replace_all_uses_with(result, replace_graph_outputs=True)
    model.graph.remove(gather, safe=True)


def _constant(model: ir.Model, name: str, array: object) -> ir.Value:
    import onnx_ir as ir

    tensor = ir.Tensor(array, name=name)  # type: ignore[type-var]
    value = ir.Value(name=name, const_value=tensor, shape=tensor.shape, type=ir.TensorType(tensor.dtype))
    model.graph.register_initializer(value)
    return value
