"""One form for every multiplication by a weight: MatMul with that weight, the form that all quantizers know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgeprof.errors import QuantizationError, said
from edgeprof.schema import Left, Record
from edgeprof.stages import graph

if TYPE_CHECKING:
    import onnx_ir as ir

MULTIPLYING = ("MatMul", "Gemm", "FusedMatMul", "FusedGemm", "Einsum", "Attention")
QUANTIZED = (
    *("MatMulNBits", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul", "QGemm"),
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "GatherBlockQuantized", "QAttention"),
)
OURS = re.compile(r"(_quantized|_scales?|_zero_points?|_zp|_Q\d(G\d+)?)$")
"""How onnxruntime's quantizers end the names of what they add, without a look at what is there."""


class Matmul(Record, frozen=True, kw_only=True):
    """A multiplication by a weight, and what it means if a recipe does not reach it."""

    weight: str
    bytes: int
    obstacle: str = ""  # why no quantizer can take it; "" if any can

    def left(self, reason: str) -> Left:
        return Left(weight=self.weight, bytes=self.bytes, reason=self.obstacle or reason)


def require_plain(model: ir.Model) -> None:
    """Refuse what is no fp32 model: quantizing twice loses accuracy twice and gains nothing.

    Raises:
        QuantizationError: it is quantized already, or its weights are not fp32.
    """
    import onnx_ir as ir

    found = next((node.op_type for node in model.graph.all_nodes() if node.op_type in QUANTIZED), None)
    if found:
        raise QuantizationError(f"The model is quantized already: it has {found} nodes.", "Start from the fp32 model.")
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is not None and tensor.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
            kind = tensor.dtype.name.lower()
            raise QuantizationError(f"The model has {kind} weights ({value.name}).", "Start from the fp32 model.")


def prepare(model: ir.Model, *, materialize_tied: bool, keep_gemm: bool) -> None:
    """Gemm becomes MatMul and Add; functions are written out; weights of every kind become initializers.

    A transposed weight is stored transposed; where something else reads it too (a tied LM head) only if
    `materialize_tied`: it then stands there twice until `share_tied_embedding`. `keep_gemm` is for QDQ: onnxruntime
    makes Gemm of a MatMul and an Add, and would then not find the MatMul that it knows how to run in integers.

    Raises:
        QuantizationError: a function cannot be written out.
    """
    import onnx_ir.passes.common as passes

    if model.functions:
        _inline(model)
    passes.RemoveInitializersFromInputsPass()(model)
    model.ir_version = max(model.ir_version, 4)  # before, every initializer had to be an input
    passes.LiftConstantsToInitializersPass(size_limit=0)(model)
    for node in list(model.graph):
        if _changes_nothing(node):
            _skip(model, node)
        elif node.op_type == "Gemm" and not (keep_gemm and _is_plain_gemm(node)):
            _split_gemm(model, node)
    graph.fold_weight_transposes(model, shared=materialize_tied)
    _make_room_for_names(model)


def _inline(model: ir.Model) -> None:
    import onnx_ir.passes.common as passes

    try:
        passes.InlinePass()(model)
    except Exception as problem:  # of the pass, or of what it calls
        raise QuantizationError(
            f"The functions of the model cannot be written out: {said(problem)}.", "Inline them with onnx.inliner."
        ) from problem


def _changes_nothing(node: ir.Node) -> bool:
    perm = list(node.attributes.get_ints("perm", ())) if node.op_type == "Transpose" else []
    return node.op_type == "Identity" or (perm != [] and perm == sorted(perm))


def _skip(model: ir.Model, node: ir.Node) -> None:
    """Some exporters read a weight that several nodes share through Identity."""
    value, same = node.inputs[0], node.outputs[0]
    if value is not None and value.const_value is not None and not same.is_graph_output():
        same.replace_all_uses_with(value)
        model.graph.remove(node, safe=True)


def _make_room_for_names(model: ir.Model) -> None:
    """See that every node has a name of its own, and that no value has one that a quantizer is going to give."""
    import onnx_ir.passes.common as passes

    values = [*model.graph.initializers.values(), *(value for node in model.graph for value in node.outputs)]
    for value in values:
        if OURS.search(value.name or "") and not value.is_graph_output():
            value.name = f"{value.name}'"
    passes.NameFixPass()(model)


def _split_gemm(model: ir.Model, node: ir.Node) -> None:
    import onnx_ir as ir

    weight, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    if _gemm_obstacle(node) or _matrix(weight) is None:
        return
    added = []
    if node.attributes.get_int("transB", 0) == 1:
        added.append(ir.node("Transpose", [weight], {"perm": [1, 0]}))
        weight = added[-1].outputs[0]
    added.append(ir.node("MatMul", [node.inputs[0], weight], name=f"{node.name}/MatMul"))
    if bias is not None:
        added.append(ir.node("Add", [added[-1].outputs[0], bias], name=f"{node.name}/Add"))
    for step in added:
        step.outputs[0].type = None if node.outputs[0].dtype is None else ir.TensorType(node.outputs[0].dtype)
    result = added[-1].outputs[0]
    result.name, result.shape = node.outputs[0].name, node.outputs[0].shape
    model.graph.insert_before(node, added)
    node.outputs[0].replace_all_uses_with(result, replace_graph_outputs=True)
    model.graph.remove(node, safe=True)


def _is_plain_gemm(node: ir.Node) -> bool:
    """Whether its weight is read by nothing else (an embedding), and its bias is a constant number per column."""
    weight, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    plain = bias is None or (bias.const_value is not None and len(_shape(bias)) == 1)
    return plain and weight is not None and len(weight.uses()) == 1


def _gemm_obstacle(node: ir.Node) -> str:
    for name, neutral in (("alpha", 1.0), ("beta", 1.0)):
        if (found := node.attributes.get_float(name, neutral)) != neutral:
            return f"Gemm with {name} {found:g} is more than a matrix product"
    return "Gemm multiplies by the transpose of its input" if node.attributes.get_int("transA", 0) else ""


def weight_matmuls(model: ir.Model) -> dict[str, Matmul]:
    """Every multiplication by a constant matrix, by name of the matrix, wherever it stands in the graph."""
    found: dict[str, Matmul] = {}
    for node in model.graph.all_nodes():
        for weight, obstacle in _weights(model, node):
            assert weight.const_value is not None
            name = weight.name or ""
            if obstacle or name not in found:
                found[name] = Matmul(weight=name, bytes=weight.const_value.nbytes, obstacle=obstacle)
    return found


def reachable(model: ir.Model) -> list[ir.Node]:
    """The nodes of the main graph that multiply by a constant matrix, and that nothing keeps a quantizer from."""
    return [node for node in model.graph if any(not obstacle for _, obstacle in _weights(model, node))]


def _weights(model: ir.Model, node: ir.Node) -> Iterator[tuple[ir.Value, str]]:
    """The constant matrices that a node multiplies by, and why a quantizer cannot take them."""
    import onnx_ir as ir

    if node.op_type not in MULTIPLYING:
        return
    for position, value in enumerate(node.inputs[:2]):
        weight = _matrix(value)
        if weight is None:
            continue
        if weight.dtype != ir.DataType.FLOAT:
            yield weight, f"it is {graph.specs([weight])[0].dtype}"
        elif node.graph is not model.graph:
            yield weight, "it is in a subgraph"
        elif position == 0:
            yield weight, "it is multiplied from the left"
        elif node.op_type == "Gemm":
            yield weight, _gemm_obstacle(node)
        elif node.op_type != "MatMul":
            yield weight, f"no quantizer takes {node.op_type}"
        elif len(_shape(weight)) != 2:
            yield weight, f"it has {len(_shape(weight))} dimensions"
        elif 0 in _shape(weight):
            yield weight, "it is empty"
        else:
            yield weight, ""


def _matrix(value: ir.Value | None) -> ir.Value | None:
    """The constant with two dimensions or more that a value is, or is the transpose of."""
    producer = value.producer() if value is not None else None
    if producer is not None and producer.op_type == "Transpose":
        value = producer.inputs[0]
    if value is None or value.const_value is None or not value.const_value.dtype.is_floating_point():
        return None
    return value if len(_shape(value)) >= 2 else None


def _shape(value: ir.Value) -> tuple[int, ...]:
    assert value.const_value is not None
    return tuple(value.const_value.shape.numpy())
