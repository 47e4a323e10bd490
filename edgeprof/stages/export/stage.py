"""Export from PyTorch to ONNX, in its own process: torch's memory is released when the stage is done.

Run as a module, this file is that process.
"""

from __future__ import annotations

import gc
import importlib.metadata
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

from edgeprof import process
from edgeprof.errors import CheckpointError, EdgeprofError, MissingExtra, UsageError, first_line
from edgeprof.families import checkpoint, traced_family
from edgeprof.process import Progress
from edgeprof.schema import FP32, Artifact, Graph, GraphCount, Logits, Precision, Record, TensorSpec, Variant
from edgeprof.stages import graph, reference
from edgeprof.stages.weights import Weights
from edgeprof.store import MODEL_FILE, REFERENCE_FILE

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

OPSET = 24
OPSETS = range(18, 26)
TOOLS = ("torch", "transformers", "onnx", "onnxscript", "onnxsim", "onnxruntime")


class ExportRequest(Record, frozen=True, kw_only=True):
    variant: Variant
    weights: Weights
    logits: Logits
    opset: int
    folder: str


class Exported(Record, frozen=True, kw_only=True):
    params: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    count: GraphCount


def export(
    variant: Variant, weights: Weights, logits: Logits, opset: int, folder: Path, name: str, progress: Progress
) -> Artifact:
    """Export into `folder`: the graph, its weights, and reference values to verify it by. Does not verify it yet.

    Raises:
        MissingExtra: torch, or a package that it needs here, is not installed.
        CheckpointError: the weights do not fit the configuration.
        EdgeprofError: torch could not export the model.
    """
    require_extra()
    request = ExportRequest(variant=variant, weights=weights, logits=logits, opset=opset, folder=str(folder))
    exported = process.call("edgeprof.stages.export.stage", request, Exported, progress=progress)
    return Artifact(
        name=name,
        precision=Precision(recipe=FP32),
        variant=variant,
        logits=logits,
        params=exported.params,
        weights=weights.source,
        graphs=(
            Graph(
                path=str(folder / MODEL_FILE),
                opset=opset,
                inputs=exported.inputs,
                outputs=exported.outputs,
                count=exported.count,
            ),
        ),
        versions=versions(),
    )


def require_extra() -> None:
    for package in ("torch", "transformers", "onnxscript", "onnxsim"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("Exporting", package, "export")


def require_opset(opset: int) -> None:
    """Require an operator set that torch can translate to, before it traces a model.

    Raises:
        UsageError: torch does not support it.
    """
    if opset not in OPSETS:
        raise UsageError(
            f"torch translates to operator sets {OPSETS[0]} to {OPSETS[-1]}, not to {opset}.",
            f"Example: --opset {OPSET}",
        )


def versions() -> dict[str, str]:
    """Versions of all tools that determine an artifact, without importing them."""
    return {tool: importlib.metadata.version(tool) for tool in TOOLS}


# --- in the child process ------------------------------------------------------------------------------------------


def run(request: ExportRequest, progress: Progress) -> Exported:
    progress("importing torch", 0.0)
    import torch

    family, variant, folder = traced_family(request.variant), request.variant, Path(request.folder)
    progress(f"building {variant.name}", 0.2)
    model = build(variant, request.weights)
    with torch.no_grad():
        progress("computing reference values in PyTorch", 0.35)
        reference.write(folder / REFERENCE_FILE, model, family, variant, request.logits)
        progress("tracing", 0.45)
        onnx_model = translate(model, variant, request.logits, request.opset, progress)
    if (got := graph.opset(onnx_model)) != request.opset:  # torch gives only a warning
        raise EdgeprofError(
            f"torch could not export {variant.name} in operator set {request.opset}, only in {got}.",
            f"Choose another --opset; {OPSET} is the default.",
        )
    progress("writing", 0.9)
    tidy(onnx_model, family.inputs(variant), family.outputs(variant, request.logits))
    graph.save(onnx_model, folder / MODEL_FILE)
    return Exported(
        params=sum(parameter.numel() for parameter in model.parameters()),
        inputs=graph.specs(list(onnx_model.graph.inputs)),
        outputs=graph.specs(list(onnx_model.graph.outputs)),
        count=graph.count(onnx_model),
    )


def build(variant: Variant, weights: Weights) -> torch.nn.Module:
    """The model of a variant, in float32 and evaluation mode.

    The class comes from the family's table: code in a checkpoint is never run.

    Raises:
        CheckpointError: a tensor of the checkpoint is missing, unexpected, or of another shape than in config.json.
    """
    import torch

    family = traced_family(variant)
    if weights.folder is None:
        torch.manual_seed(weights.seed)
        model = family.build(variant)
    else:
        model = _load(variant, Path(weights.folder))
    config = getattr(model, "config", None)
    if config is not None and getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = -1  # no padding token: classifiers then use the last token of every row
    return model.eval()


def _load(variant: Variant, folder: Path) -> torch.nn.Module:
    from safetensors import SafetensorError

    try:
        return traced_family(variant).load(variant, _tensors(folder), folder)
    except (SafetensorError, OSError, ValueError) as problem:
        raise CheckpointError(f"{folder} cannot be loaded: {first_line(problem)}.", "Download it again.") from problem


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint, memory-mapped from its files.

    Raises:
        CheckpointError: weights are stored as integers, which only the tool that quantized them can interpret.
    """
    from safetensors import safe_open

    tensors: dict[str, torch.Tensor] = {}
    for file in checkpoint.weight_files(folder):
        with safe_open(file, framework="pt") as opened:
            tensors.update({name: opened.get_tensor(name) for name in opened.keys()})  # noqa: SIM118  (no mapping)
    for name, tensor in tensors.items():
        if name.endswith(".weight") and (not tensor.is_floating_point() or tensor.itemsize == 1):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"Tensor {name} of {folder} is stored as {kind}: the checkpoint is quantized.",
                "Export the unquantized checkpoint; --precision makes the file smaller.",
            )
    return tensors


def translate(model: torch.nn.Module, variant: Variant, logits: Logits, opset: int, progress: Progress) -> ir.Model:
    """Trace a model at its family's example shape and translate it; the weights are shared with torch."""
    import numpy as np
    import torch
    from torch.export import Dim

    family = traced_family(variant)
    inputs, outputs = family.inputs(variant), family.outputs(variant, logits)
    feeds = family.feeds(variant, family.example(variant), np.random.default_rng(0))
    dims = family.torch_dims(variant)
    shapes = tuple(
        {axis: dims.get(dim, Dim.DYNAMIC) for axis, dim in enumerate(spec.dims) if isinstance(dim, str)}
        for spec in inputs
    )
    try:
        traced = torch.export.export(
            family.traceable(model, variant, logits),
            tuple(torch.from_numpy(feeds[spec.name]) for spec in inputs),
            dynamic_shapes=(shapes,),
            strict=False,
        )
        progress("translating to ONNX", 0.65)
        from edgeprof.stages.export.torch_onnx import to_onnx

        return to_onnx(traced, [spec.name for spec in inputs], [spec.name for spec in outputs], opset)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as problem:
        raise EdgeprofError(
            f"torch could not export {variant.name}: {first_line(problem)}.", "Try another --opset."
        ) from problem


def tidy(model: ir.Model, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
    """Remove leftovers of the translation, store weights as they are multiplied, and name the dimensions."""
    import onnx_ir.passes.common as passes
    from onnxscript import optimizer

    graph.fold_weight_transposes(model, shared=False)  # before constant folding, which would copy each
    optimizer.fold_constants(model, input_size_limit=graph.INLINE_BYTES, output_size_limit=4 * graph.INLINE_BYTES)
    for tidying in (passes.IdentityEliminationPass(), passes.CommonSubexpressionEliminationPass()):
        tidying(model)
    passes.RemoveUnusedNodesPass()(model)
    _name_dims(model, inputs, outputs)
    for node in model.graph.all_nodes():
        node.metadata_props.clear()  # stack traces and names of this machine


def _name_dims(model: ir.Model, inputs: tuple[TensorSpec, ...], outputs: tuple[TensorSpec, ...]) -> None:
    import onnx_ir as ir

    names: dict[str, str] = {}
    for spec, value in zip(inputs, model.graph.inputs, strict=True):
        assert value.shape is not None
        for dim, traced in zip(spec.dims, value.shape, strict=True):
            if isinstance(dim, str) and not isinstance(traced, int):
                names[str(traced.value)] = dim
    symbol = re.compile(r"\bs\d+\b")
    for value in _values(model):
        if value.shape is not None and not value.shape.is_static():
            texts = [dim if isinstance(dim, int) else str(dim.value) for dim in value.shape]
            value.shape = ir.Shape(
                [
                    t if isinstance(t, int) else names.get(t) or symbol.sub(lambda m: names.get(m[0], m[0]), t)
                    for t in texts
                ]
            )
    for spec, value in zip(inputs + outputs, [*model.graph.inputs, *model.graph.outputs], strict=True):
        assert value.shape is not None
        value.shape = ir.Shape(
            [traced if isinstance(traced, int) else dim for dim, traced in zip(spec.dims, value.shape, strict=True)]
        )


def _values(model: ir.Model) -> list[ir.Value]:
    return [*model.graph.inputs, *(value for node in model.graph.all_nodes() for value in node.outputs)]


if __name__ == "__main__":
    gc.disable()  # saves a fifth of a small model's time, for less than 1 % more memory of a large one
    process.serve(run, ExportRequest)
