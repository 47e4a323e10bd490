"""Smaller numbers for the weights. A recipe is a row; what it reached is counted, and nothing reached is an error.

Run as a module, this file is the process that does it.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgeprof import process
from edgeprof.errors import QuantizationError, UnknownName
from edgeprof.process import Progress
from edgeprof.schema import Artifact, GraphCount, QuantReceipt, Record, StageReceipt
from edgeprof.stages import graph, reference
from edgeprof.stages.verify import verify
from edgeprof.store import MODEL_FILE, REFERENCE_FILE, writing

if TYPE_CHECKING:
    import onnx_ir as ir


class Recipe(Record, frozen=True, kw_only=True):
    """`apply` reads a prepared model file and writes the quantized one."""

    name: str
    title: str
    apply: Callable[[Path, Path], None]


def _dynamic_int8(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source,
        target,
        op_types_to_quantize=["MatMul"],  # and so not Attention, which it would turn into an invalid operator
        per_channel=True,
        weight_type=QuantType.QInt8,
        use_external_data_format=True,
        extra_options={"MatMulConstBOnly": True},
    )


RECIPES: tuple[Recipe, ...] = (
    Recipe(name="int8", title="dynamic int8: weights per channel, activations per run", apply=_dynamic_int8),
)


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UnknownName: there is none.
    """
    for row in RECIPES:
        if row.name == name:
            return row
    raise UnknownName("precision", name, ["fp32", *(row.name for row in RECIPES)])


class QuantizeRequest(Record, frozen=True, kw_only=True):
    model: str
    recipe: str
    folder: str


class Quantized(Record, frozen=True, kw_only=True):
    count: GraphCount
    receipt: QuantReceipt


def quantize(artifact: Artifact, recipe_name: str, folder: Path, progress: Progress) -> Artifact:
    """Write a quantized copy of an fp32 artifact into `folder` and compare it at the same shapes.

    Raises:
        QuantizationError: no weight was quantized.
        VerificationError: the result gives other shapes or is not finite.
    """
    started = time.monotonic()
    request = QuantizeRequest(model=artifact.path, recipe=recipe_name, folder=str(folder))
    made = process.call("edgeprof.stages.quantize", request, Quantized, progress=progress)
    receipt = StageReceipt(
        stage=f"quantize {recipe_name}",
        kept=True,
        before=artifact.count,
        after=made.count,
        seconds=time.monotonic() - started,
    )
    reference.copy(Path(artifact.path).with_name(REFERENCE_FILE), folder / REFERENCE_FILE)
    quantized = msgspec.structs.replace(
        artifact,
        path=str(folder / MODEL_FILE),
        precision=recipe_name,
        count=made.count,
        quantization=made.receipt,
        stages=(*artifact.stages, receipt),
    )
    return verify(quantized, progress)


# --- in the child ------------------------------------------------------------------------------------------


def run(request: QuantizeRequest, progress: Progress) -> Quantized:
    logging.disable(logging.WARNING)  # advice on preprocessing, which is done here
    row, folder = recipe(request.recipe), Path(request.folder)
    progress("preparing matmuls", 0.0)
    model = graph.load(Path(request.model))
    prepare(model)
    with writing(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".quantize-") as scratch:
        prepared, result = Path(scratch) / "prepared.onnx", Path(scratch) / "quantized.onnx"
        graph.save(model, prepared)
        matmuls = weight_matmuls(model)
        progress(f"quantizing to {row.name}", 0.2)
        row.apply(prepared, result)
        quantized = graph.load(result)
        receipt = _receipt(matmuls, quantized)
        share_tied_embedding(quantized)
        progress("writing", 0.8)
        graph.save(quantized, folder / MODEL_FILE)
    return Quantized(count=graph.count(quantized), receipt=receipt)


def prepare(model: ir.Model) -> None:
    """Turn every multiplication by a weight into MatMul with that weight, the one form all quantizers know.

    Gemm becomes MatMul and Add; a transposed weight (a tied LM head too) is stored transposed.
    """
    for node in list(model.graph):
        if node.op_type == "Gemm":
            _split_gemm(model, node)
    graph.fold_weight_transposes(model, shared=True)


def _split_gemm(model: ir.Model, node: ir.Node) -> None:
    import onnx_ir as ir

    plain = node.attributes.get_float("alpha", 1.0) == 1.0 and node.attributes.get_float("beta", 1.0) == 1.0
    weight, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    if not plain or node.attributes.get_int("transA") == 1 or weight is None or weight.const_value is None:
        return
    added = []
    if node.attributes.get_int("transB") == 1:
        added.append(ir.node("Transpose", [weight], {"perm": [1, 0]}))
        weight = added[-1].outputs[0]
    added.append(ir.node("MatMul", [node.inputs[0], weight], name=f"{node.name}/MatMul"))
    if bias is not None:
        added.append(ir.node("Add", [added[-1].outputs[0], bias], name=f"{node.name}/Add"))
    for step in added:
        step.outputs[0].type = node.outputs[0].type
    result = added[-1].outputs[0]
    result.name, result.shape = node.outputs[0].name, node.outputs[0].shape
    model.graph.insert_before(node, added)
    node.outputs[0].replace_all_uses_with(result, replace_graph_outputs=True)
    model.graph.remove(node, safe=True)


def weight_matmuls(model: ir.Model) -> dict[str, int]:
    """Bytes of the weight of every MatMul that has one, by the weight's name."""
    return {
        node.inputs[1].name or "": node.inputs[1].const_value.nbytes
        for node in model.graph
        if node.op_type == "MatMul" and node.inputs[1] is not None and node.inputs[1].const_value is not None
    }


def _receipt(matmuls: dict[str, int], quantized: ir.Model) -> QuantReceipt:
    left = {name: size for name, size in matmuls.items() if name in weight_matmuls(quantized)}
    if len(left) == len(matmuls):
        raise QuantizationError(
            f"None of the {len(matmuls)} weight matmuls was quantized.", "This model gains nothing from this recipe."
        )
    return QuantReceipt(
        matmuls=len(matmuls),
        matmuls_quantized=len(matmuls) - len(left),
        weight_bytes=sum(matmuls.values()),
        weight_bytes_quantized=sum(matmuls.values()) - sum(left.values()),
        left=tuple(sorted(left)),
    )


def share_tied_embedding(model: ir.Model) -> int:
    """Let an embedding read the int8 matrix of the LM head it is tied to, so that the two are stored once.

    The head's matrix is the embedding transposed, and its scales per column are scales per token: gather columns,
    transpose, multiply by the gathered scales. Returns how many embeddings were changed.
    """
    changed = 0
    for node in list(model.graph):
        table = node.inputs[0] if node.op_type == "Gather" else None
        if table is None or table.const_value is None or len(table.uses()) > 1:
            continue
        head = model.graph.initializers.get(f"{table.name}.T_quantized")
        scale = model.graph.initializers.get(f"{table.name}.T_scale")
        zero = model.graph.initializers.get(f"{table.name}.T_zero_point")
        if head is None or scale is None or zero is None or zero.const_value is None:
            continue
        if zero.const_value.numpy().any():
            continue  # asymmetric: a column is not its integers times a scale
        _gather_from_head(model, node, head, scale)
        del model.graph.initializers[table.name or ""]
        changed += 1
    return changed


def _gather_from_head(model: ir.Model, gather: ir.Node, head: ir.Value, scale: ir.Value) -> None:
    import numpy as np
    import onnx_ir as ir

    ids, embedded = gather.inputs[1], gather.outputs[0]
    rank = len(ids.shape) if ids is not None and ids.shape is not None else 2
    axis = ir.Value(
        name=f"{gather.name}/axis",
        const_value=ir.Tensor(np.array([-1], np.int64), name=f"{gather.name}/axis"),
        shape=ir.Shape([1]),
        type=ir.TensorType(ir.DataType.INT64),
    )
    model.graph.register_initializer(axis)
    columns = ir.node("Gather", [head, ids], {"axis": 1}, name=f"{gather.name}/columns")  # [width, *ids]
    rows = ir.node("Transpose", columns.outputs, {"perm": [*range(1, rank + 1), 0]}, name=f"{gather.name}/rows")
    real = ir.node("Cast", rows.outputs, {"to": ir.DataType.FLOAT}, name=f"{gather.name}/real")
    scales = ir.node("Gather", [scale, ids], name=f"{gather.name}/scales")
    column = ir.node("Unsqueeze", [scales.outputs[0], axis], name=f"{gather.name}/column")
    product = ir.node("Mul", [real.outputs[0], column.outputs[0]], name=f"{gather.name}/product")
    product.outputs[0].type, product.outputs[0].shape = embedded.type, embedded.shape
    model.graph.insert_before(gather, [columns, rows, real, scales, column, product])
    embedded.replace_all_uses_with(product.outputs[0], replace_graph_outputs=True)
    model.graph.remove(gather, safe=True)


if __name__ == "__main__":
    process.serve(run, QuantizeRequest)
