"""Trace a graph's module in PyTorch, and translate it to ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeprof.errors import EdgeprofError, first_line
from edgeprof.process import Progress
from edgeprof.stages import graph
from edgeprof.stages.export.stage import OPSET
from edgeprof.stages.export.tidy import tidy

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeprof.stages.export.blueprint import Blueprint


def translate(name: str, blueprint: Blueprint, opset: int, progress: Progress) -> ir.Model:
    """The graph of a blueprint, traced at its first case; its weights are shared with torch.

    Args:
        name: of the model, for messages.

    Raises:
        EdgeprofError: torch cannot trace or translate the module.
    """
    import torch
    from torch.export import Dim

    progress("tracing", 0.45)
    feeds = blueprint.feeds(blueprint.cases[0], np.random.default_rng(0))
    shapes = tuple(
        {axis: blueprint.dims.get(dim, Dim.AUTO) for axis, dim in enumerate(spec.dims) if isinstance(dim, str)}
        for spec in blueprint.inputs
    )
    try:
        traced = torch.export.export(
            blueprint.traceable(),
            tuple(torch.from_numpy(feeds[spec.name]) for spec in blueprint.inputs),
            dynamic_shapes=(shapes,),
            strict=False,
        )
        progress("translating to ONNX", 0.65)
        from edgeprof.stages.export.torch_onnx import to_onnx

        model = to_onnx(traced, [spec.name for spec in blueprint.inputs], list(blueprint.outputs), opset)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as problem:
        raise EdgeprofError(
            f"torch could not export {name}: {first_line(problem)}.", "Try another --opset."
        ) from problem
    if (got := graph.opset(model)) != opset:  # torch gives only a warning
        raise EdgeprofError(
            f"torch could not export {name} in operator set {opset}, only in {got}.",
            f"Choose another --opset; {OPSET} is the default.",
        )
    tidy(model, blueprint.inputs)
    return model
