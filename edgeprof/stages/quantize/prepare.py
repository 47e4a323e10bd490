"""One form for every multiplication by a weight: MatMul with that weight, the form that all quantizers know."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from edgeprof.counting.file_errors import onnx_errors
from edgeprof.errors import QuantizationError, said
from edgeprof.stages import graph
from edgeprof.stages.quantize import einsum
from edgeprof.stages.quantize.constants import QUANTIZED, fold_weights, origin
from edgeprof.stages.quantize.matmuls import gemm_obstacle, is_matrix
from edgeprof.stages.replacement import Replacement

if TYPE_CHECKING:
    import onnx_ir as ir

OURS = re.compile(r"(_quantized|_scales?|_zero_points?|_zp|_Q\d(G\d+)?)$")
"""How onnxruntime's quantizers end the names of what they add, without a look at what is there."""


def require_plain(model: ir.Model) -> None:
    """Refuse a model that is quantized: doing it twice loses accuracy twice and gains nothing.

    Raises:
        QuantizationError: it is.
    """
    nodes = [
        *model.graph.all_nodes(),
        *(node for function in model.functions.values() for node in function.all_nodes()),
    ]
    found = next((node.op_type for node in nodes if QUANTIZED.fullmatch(node.op_type)), None)
    if found:
        raise QuantizationError(f"The model is quantized already: it has {found} nodes.", "Start from the fp32 model.")


def require_weights(model: ir.Model, file: Path) -> None:
    """Refuse a model that stores nothing to multiply by.

    Raises:
        QuantizationError: it stores no numbers in two dimensions or more, nor any that are given such a shape.
    """
    nodes = [
        *model.graph.all_nodes(),
        *(node for function in model.functions.values() for node in function.all_nodes()),
    ]
    constants = [
        node.attributes["value"].as_tensor()
        for node in nodes
        if node.op_type == "Constant" and "value" in node.attributes
    ]
    stored = [value.const_value for part in model.graphs() for value in part.initializers.values()]
    if not any(is_matrix(tensor) for tensor in (*stored, *constants)) and not any(map(_shapes_numbers, nodes)):
        raise QuantizationError(
            f"{file} stores no matrix and no kernel: there is nothing to quantize.", "Check that it is the right file."
        )


def _shapes_numbers(node: ir.Node) -> bool:
    """Whether a node gives stored numbers another shape or type: a matrix may come of it."""
    stored = origin(node.inputs[0]) if node.op_type in ("Reshape", "Unsqueeze", "Cast") and node.inputs else None
    return stored is not None and stored.dtype is not None and stored.dtype.is_floating_point()


def require_fp32(model: ir.Model) -> None:
    """Refuse a model whose weights have 16 bits.

    Raises:
        QuantizationError: it has such.
    """
    import onnx_ir as ir

    for value in model.graph.initializers.values():
        if value.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16) and is_matrix(value.const_value):
            kind = value.dtype.name.lower()
            raise QuantizationError(f"The model has {kind} weights ({value.name}).", "Start from the fp32 model.")


def prepare(model: ir.Model, *, materialize_tied: bool, keep_gemm: bool) -> None:
    """Gemm becomes MatMul and Add, Einsum MatMul; functions are inlined; weights of every kind become initializers.

    A transposed weight is stored transposed; where something else reads it too (a tied LM head) only if
    `materialize_tied`: it then stands there twice until `share_tied_embedding`. `keep_gemm` is for QDQ: onnxruntime
    makes Gemm of a MatMul and an Add, and would then not find the MatMul that it knows how to run in integers.

    Raises:
        QuantizationError: a function cannot be inlined.
    """
    import onnx_ir.passes.common as passes

    _respell(model)
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
    einsum.write_out(model)
    for node in list(model.graph.all_nodes()):
        if node.op_type == "Gemm" and not (keep_gemm and _is_plain_gemm(node)):
            _split_gemm(model, node)
    fold_weights(model, shared=materialize_tied)  # what Einsum and Gemm transpose
    graph.fold_weight_transposes(model, shared=materialize_tied)
    _make_room_for_names(model)


def _respell(model: ir.Model) -> None:
    """The standard's domain by its usual name, and dynamic dimensions as such, for which some write -1."""
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
    what = f"The model's local functions cannot be inlined: {said(problem)}."
    return QuantizationError(what, "Inline them with onnx.inliner.")


def _means_the_same(function: ir.Function, opset: int) -> bool:
    """Whether no operator of a function differs between its operator set and another one."""
    import onnx

    own = function.opset_imports.get("")
    names = {node.op_type for node in function.all_nodes() if node.domain == ""}
    try:
        return own is not None and all(
            onnx.defs.get_schema(name, own, "").since_version == onnx.defs.get_schema(name, opset, "").since_version
            for name in names
        )
    except onnx.defs.SchemaError:  # there is none of that name
        return False


def _changes_nothing(node: ir.Node) -> bool:
    perm = list(node.attributes.get_ints("perm", ())) if node.op_type == "Transpose" else []
    return node.op_type == "Identity" or (perm != [] and perm == sorted(perm))


def _skip(node: ir.Node) -> None:
    """Some exporters read a weight that several nodes share through Identity."""
    value, same = node.inputs[0], node.outputs[0]
    if value is not None and value.const_value is not None and not same.is_graph_output():
        same.replace_all_uses_with(value)
        _graph_of(node).remove(node, safe=True)


def _make_room_for_names(model: ir.Model) -> None:
    """See that every node has a name of its own, and that no value has one that a quantizer is going to give."""
    import onnx_ir.passes.common as passes

    computed = [value for node in model.graph.all_nodes() for value in node.outputs]
    for value in (*model.graph.initializers.values(), *computed):
        if OURS.search(value.name or "") and not value.is_graph_output():
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
    """Whether its weight is read by nothing else (an embedding), and its bias is a constant number per column."""
    weight, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    plain = bias is None or (bias.const_value is not None and len(bias.const_value.shape) == 1)
    return plain and weight is not None and len(weight.uses()) == 1


def _graph_of(node: ir.Node) -> ir.Graph:
    found = node.graph
    assert found is not None
    return found
