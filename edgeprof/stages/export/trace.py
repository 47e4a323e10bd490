"""Trace a graph's module in PyTorch, and translate it to ONNX."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from edgeprof.errors import ExportError
from edgeprof.process import Progress
from edgeprof.stages import graph
from edgeprof.stages.export import layers
from edgeprof.stages.export.failure import reason
from edgeprof.stages.export.packed_projections import pack_projections
from edgeprof.stages.export.stage import OPSET, ExportRequest
from edgeprof.stages.export.tidy import require_dynamic, tidy

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

    from edgeprof.stages.export.blueprint import Blueprint


def translate(
    blueprint: Blueprint,
    describe: Callable[[], Blueprint],
    model: torch.nn.Module,
    request: ExportRequest,
    progress: Progress,
) -> ir.Model:
    """The graph of a blueprint, traced at its first case; its weights are shared with torch.

    Args:
        describe: makes this blueprint anew, for the model as it then is: shortened.

    Raises:
        ExportError: torch cannot trace or translate the module; names the operator and the line that stopped it.
    """
    progress("tracing", 0.45)
    try:
        result = layers.traced(model, blueprint, describe, lambda one: trace(one, request, progress))
    except Exception as problem:  # whatever a model's own code raises on what a trace feeds it
        raise ExportError(
            f"torch could not export {request.name}: {reason(problem)}.",
            "Try another --opset, or another version of torch and transformers.",
        ) from problem
    if (got := graph.opset(result)) != request.opset:  # torch gives only a warning
        raise ExportError(
            f"torch could not export {request.name} in operator set {request.opset}, only in {got}.",
            f"Choose another --opset; {OPSET} is the default.",
        )
    require_dynamic(result, blueprint.inputs)
    tidy(result, blueprint.inputs)
    pack_projections(result)
    return result


def trace(blueprint: Blueprint, request: ExportRequest, progress: Progress) -> ir.Model:
    import torch
    from torch.export import Dim

    from edgeprof.stages.export import transformers_private
    from edgeprof.stages.export.torch_onnx import to_onnx

    feeds = blueprint.feeds(blueprint.cases[0], np.random.default_rng(0))
    shapes = tuple(
        {axis: blueprint.dims.get(dim, Dim.AUTO) for axis, dim in enumerate(spec.dims) if isinstance(dim, str)}
        for spec in blueprint.inputs
    )
    names, arguments = (
        [spec.name for spec in blueprint.inputs],
        tuple(torch.from_numpy(feeds[spec.name]) for spec in blueprint.inputs),
    )
    own = request.route == "transformers"
    with transformers_private.exporting() if own else contextlib.nullcontext():
        traced = torch.export.export(blueprint.traceable(), arguments, dynamic_shapes=(shapes,), strict=False)
        progress("translating to ONNX", 0.65)
        if own:
            return transformers_private.to_onnx(traced, names, list(blueprint.outputs), request.opset)
        return to_onnx(traced, names, list(blueprint.outputs), request.opset)
