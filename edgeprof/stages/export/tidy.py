"""Make the translated graph what people expect to find in a file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgeprof.errors import ExportError
from edgeprof.families.base import TOTAL
from edgeprof.schema import TensorSpec
from edgeprof.stages import graph
from edgeprof.stages.export.reshapes import cancel_reshapes

if TYPE_CHECKING:
    import onnx_ir as ir

SYMBOL = re.compile(r"\b[su]\d+\b")
"""torch's names of dynamic dimensions."""


def require_dynamic(model: ir.Model, inputs: tuple[TensorSpec, ...]) -> None:
    """Require that no dimension became a constant of the trace.

    Raises:
        ExportError: one did.
    """
    for spec, value in zip(inputs, model.graph.inputs, strict=True):
        for dim, traced in zip(spec.dims, value.shape or (), strict=True):
            if isinstance(dim, str) and isinstance(traced, int):
                raise ExportError(
                    f"Dimension '{dim}' of {spec.name} became fixed at {traced} when torch traced the model.",
                    "Try another version of torch and transformers.",
                )


def tidy(model: ir.Model, inputs: tuple[TensorSpec, ...]) -> None:
    """Remove leftovers of the translation, store weights as they are multiplied, and name the dimensions."""
    import onnx_ir.passes.common as passes
    from onnxscript import optimizer

    graph.fold_weight_transposes(model, shared=False)  # before constant folding, which would copy each
    optimizer.fold_constants(model, input_size_limit=graph.INLINE_BYTES, output_size_limit=4 * graph.INLINE_BYTES)
    for tidying in (passes.IdentityEliminationPass(), passes.CommonSubexpressionEliminationPass()):
        tidying(model)
    _drop_misshapen_biases(model)
    passes.RemoveUnusedNodesPass()(model)
    _name_dims(model, inputs)
    cancel_reshapes(model)
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces and names of this machine


def _drop_misshapen_biases(model: ir.Model) -> None:
    """Of convolutions without bias: torch 2.13 gives those of volumes zeros in the shape [channels, 2]."""
    for node in model.graph.all_nodes():
        bias = node.inputs[2] if node.op_type == "Conv" and len(node.inputs) > 2 else None
        if bias is not None and bias.shape is not None and len(bias.shape) != 1:
            node.replace_input_with(2, None)


def _name_dims(model: ir.Model, inputs: tuple[TensorSpec, ...]) -> None:
    """Give dynamic dimensions the symbols of the inputs, everywhere; torch numbers them."""
    import onnx_ir as ir

    names: dict[str, str] = {}
    for spec, value in zip(inputs, model.graph.inputs, strict=True):
        assert value.shape is not None
        for dim, traced in zip(spec.dims, value.shape, strict=True):
            if isinstance(dim, str) and not isinstance(traced, int):
                names.setdefault(str(traced.value), dim)
    for value in _values(model):
        if value.shape is not None and not value.shape.is_static():
            value.shape = ir.Shape(
                [dim if isinstance(dim, int) else _named(str(dim.value), names) for dim in value.shape]
            )
    for spec, value in zip(inputs, model.graph.inputs, strict=True):
        value.shape = ir.Shape(spec.dims)
    for value in model.graph.outputs:
        if value.shape is not None:  # a length that follows from no input, but from their values
            dims = [_place(value, axis, dim) for axis, dim in enumerate(value.shape)]
            value.shape = ir.Shape(dims)


def _place(value: ir.Value, axis: int, dim: int | ir.SymbolicDim) -> int | str:
    if isinstance(dim, int):
        return dim
    return f"{value.name}.{axis}" if dim.value is None or SYMBOL.search(dim.value) else dim.value


def _named(dim: str, names: dict[str, str]) -> str:
    named = names.get(dim) or SYMBOL.sub(lambda found: names.get(found[0], found[0]), dim)
    return TOTAL if sorted(named.split(" + ")) == sorted(TOTAL.split(" + ")) else named


def _values(model: ir.Model) -> list[ir.Value]:
    return [*model.graph.inputs, *(value for node in model.graph.all_nodes() for value in node.outputs)]
