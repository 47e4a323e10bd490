"""Bring every multiplication by a weight into one form, which all quantizers know: MatMul by an initializer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from edgeprof.counting.file_errors import onnx_errors
from edgeprof.errors import QuantizationError, first_line
from edgeprof.stages import graph
from edgeprof.stages.quantize import einsum
from edgeprof.stages.quantize.constants import QUANTIZED, fold_weights, origin
from edgeprof.stages.quantize.matmuls import gemm_obstacle, is_matrix
from edgeprof.stages.replacement import Replacement

if TYPE_CHECKING:
    import onnx_ir as ir

QUANTIZER_NAMES = re.compile(r"(_quantized|_scales?|_zero_points?|_zp|_Q\d(G\d+)?)$")
"""Endings of the names that onnxruntime's quantizers give to new values, without checking whether they are in use."""


def require_plain(model: ir.Model) -> None:
    """Refuse a model that is quantized already: quantizing it again would cost accuracy and save nothing.

    Raises:
        QuantizationError: the model has quantized operators.
    """
    operator = next((node.op_type for node in _all_nodes(model) if QUANTIZED.fullmatch(node.op_type)), None)
    if operator:
        raise QuantizationError(
            f"The model is quantized already: it has {operator} nodes.", "Start from the fp32 model."
        )


def require_weights(model: ir.Model, file: Path) -> None:
    """Refuse a model without matrices or kernels.

    Raises:
        QuantizationError: no stored tensor has two dimensions or more, and none is reshaped to that.
    """
    nodes = _all_nodes(model)
    constants = [
        node.attributes["value"].as_tensor()
        for node in nodes
        if node.op_type == "Constant" and "value" in node.attributes
    ]
    stored = [value.const_value for part in model.graphs() for value in part.initializers.values()]
    if not any(is_matrix(tensor) for tensor in (*stored, *constants)) and not any(map(_reshapes_weight, nodes)):
        raise QuantizationError(
            f"{file} stores no matrix and no kernel: there is nothing to quantize.", "Check that it is the right file."
        )


def _all_nodes(model: ir.Model) -> list[ir.Node]:
    inside = (node for function in model.functions.values() for node in function.all_nodes())
    return [*model.graph.all_nodes(), *inside]


def _reshapes_weight(node: ir.Node) -> bool:
    """Whether a node changes the shape or type of a stored tensor, which may result in a matrix."""
    stored = origin(node.inputs[0]) if node.op_type in ("Reshape", "Unsqueeze", "Cast") and node.inputs else None
    return stored is not None and stored.dtype is not None and stored.dtype.is_floating_point()


def require_fp32(model: ir.Model) -> None:
    """Refuse a model with 16-bit weights.

    Raises:
        QuantizationError: a matrix is fp16 or bf16.
    """
    import onnx_ir as ir

    for value in model.graph.initializers.values():
        if value.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16) and is_matrix(value.const_value):
            kind = value.dtype.name.lower()
            raise QuantizationError(f"The model has {kind} weights ({value.name}).", "Start from the fp32 model.")


def prepare(model: ir.Model, *, materialize_tied: bool, keep_gemm: bool) -> None:
    """Rewrite Gemm as MatMul and Add, and Einsum as MatMul; inline functions; turn all weights into initializers.

    Args:
        materialize_tied: also store the transpose of a weight that has other readers (a tied LM head), which is then
            stored twice until `share_tied_embedding`.
        keep_gemm: keep a Gemm that onnxruntime can run in integers, for QDQ: it fuses a MatMul and an Add to a Gemm
            before it looks for quantized MatMuls.

    Raises:
        QuantizationError: a function cannot be inlined.
    """
    import onnx_ir.passes.common as passes

    _normalize_names(model)
    if model.functions:
        _inline(model)
    passes.RemoveInitializersFromInputsPass()(model)
    model.ir_version = max(model.ir_version, 4)  # before, every initializer had to be an input
    passes.LiftConstantsToInitializersPass(size_limit=0)(model)
    passes.LiftSubgraphInitializersToMainGraphPass()(model)
    for node in list(model.graph.all_nodes()):
        if _changes_nothing(node):
            _skip(node)
    fold_weights(model, shared=materialize_tied)
    einsum.rewrite(model)
    for node in list(model.graph.all_nodes()):
        if node.op_type == "Gemm" and not (keep_gemm and _is_plain_gemm(node)):
            _split_gemm(model, node)
    fold_weights(model, shared=materialize_tied)  # those that Einsum and Gemm transpose
    graph.fold_weight_transposes(model, shared=materialize_tied)
    _free_names(model)


def _normalize_names(model: ir.Model) -> None:
    """Name the standard's domain "", and leave dynamic dimensions that are written as -1 without a size."""
    import onnx_ir as ir

    for imports in (model.opset_imports, *(function.opset_imports for function in model.functions.values())):
        if "ai.onnx" in imports:
            imports[""] = imports.pop("ai.onnx")
    for value in (*model.graph.inputs, *model.graph.outputs):
        if any(isinstance(dim, int) and dim < 0 for dim in value.shape or ()):
            value.shape = ir.Shape(None if isinstance(dim, int) and dim < 0 else dim for dim in value.shape or ())


def _inline(model: ir.Model) -> None:
    import onnx_ir.passes.common as passes

    for function in model.functions.values():
        if _means_the_same(function, graph.opset(model)):
            function.opset_imports[""] = graph.opset(model)
    with onnx_errors(_not_inlined):
        passes.InlinePass()(model)


def _not_inlined(problem: Exception) -> QuantizationError:
    what = f"The model's local functions cannot be inlined: {first_line(problem)}."
    return QuantizationError(what, "Inline them with onnx.inliner.")


def _means_the_same(function: ir.Function, opset: int) -> bool:
    """Whether all operators of a function are the same in its operator set and in `opset`."""
    import onnx

    own = function.opset_imports.get("")
    names = {node.op_type for node in function.all_nodes() if node.domain == ""}
    try:
        return own is not None and all(
            onnx.defs.get_schema(name, own, "").since_version == onnx.defs.get_schema(name, opset, "").since_version
            for name in names
        )
    except onnx.defs.SchemaError:  # no operator of that name
        return False


def _changes_nothing(node: ir.Node) -> bool:
    perm = list(node.attributes.get_ints("perm", ())) if node.op_type == "Transpose" else []
    return node.op_type == "Identity" or (perm != [] and perm == sorted(perm))


def _skip(node: ir.Node) -> None:
    """Let the readers of a node read its input: some exporters share a weight through Identity."""
    value, same = node.inputs[0], node.outputs[0]
    if value is not None and value.const_value is not None and not same.is_graph_output():
        same.replace_all_uses_with(value)
        _graph_of(node).remove(node, safe=True)


def _free_names(model: ir.Model) -> None:
    """Give every node a unique name, and rename values whose names a quantizer is going to use."""
    import onnx_ir.passes.common as passes

    computed = [value for node in model.graph.all_nodes() for value in node.outputs]
    for value in (*model.graph.initializers.values(), *computed):
        if QUANTIZER_NAMES.search(value.name or "") and not value.is_graph_output():
            value.name = f"{value.name}'"
    passes.NameFixPass()(model)


def _split_gemm(model: ir.Model, node: ir.Node) -> None:
    x, weight, bias = (*node.inputs, None)[:3]
    constant = origin(weight)
    if gemm_obstacle(node) or constant is None or not is_matrix(constant.const_value):
        return
    assert x is not None
    assert weight is not None
    steps = Replacement(model, node)
    if node.attributes.get_int("transB", 0) == 1:
        weight = steps.add("Transpose", "weight", [weight], perm=[1, 0])
    result = steps.add("MatMul", "MatMul", [x, weight])
    if bias is not None:
        result = steps.add("Add", "Add", [result, bias])
    steps.finish(result)


def _is_plain_gemm(node: ir.Node) -> bool:
    """Whether its weight has no other reader (an embedding), and its bias is one constant number per column."""
    weight, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    plain = bias is None or (bias.const_value is not None and len(bias.const_value.shape) == 1)
    return plain and weight is not None and len(weight.uses()) == 1


def _graph_of(node: ir.Node) -> ir.Graph:
    graph = node.graph
    assert graph is not None
    return graph
