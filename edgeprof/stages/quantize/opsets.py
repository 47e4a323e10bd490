"""Convert a graph to the operator set that a recipe needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeprof.counting.file_errors import onnx_errors
from edgeprof.errors import QuantizationError, first_line
from edgeprof.recipe_table import Recipe
from edgeprof.stages import graph

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir


def raise_opset(model: ir.Model, row: Recipe, folder: Path) -> None:
    """Convert a graph, with onnx's converter, to the oldest operator set that a recipe needs.

    Args:
        folder: where the model's data files lie.

    Raises:
        QuantizationError: the converter cannot do it.
    """
    from onnx import version_converter
    from onnx.external_data_helper import load_external_data_for_model

    opset = graph.opset(model)
    if opset >= row.opset:
        return

    def converted(proto: onnx.ModelProto) -> onnx.ModelProto:
        load_external_data_for_model(proto, str(folder))
        return version_converter.convert_version(proto, row.opset)

    def refusal(problem: Exception) -> QuantizationError:
        need = f"Recipe {row.name} needs operator set {row.opset}, the model has {opset}"
        what = f"{need}, and onnx cannot convert it: {first_line(problem)}."
        return QuantizationError(what, "Export it in a newer operator set, or try int4.")

    with onnx_errors(refusal):
        graph.rewrite(model, converted, folder)
