"""Export from PyTorch to ONNX, in its own process: torch's memory is released when the stage is done.

Run as a module, this file is that process.
"""

from __future__ import annotations

import gc
import importlib.metadata
import importlib.util
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgeprof import process
from edgeprof.errors import MissingExtra, UsageError
from edgeprof.families import traced_family
from edgeprof.families.transformers_family import TransformersFamily
from edgeprof.process import Progress
from edgeprof.schema import FP32, Architecture, Artifact, Graph, Logits, Precision, Record, Variant
from edgeprof.stages import graph, reference
from edgeprof.stages.export.fused_operators import SINCE as FUSED_SINCE
from edgeprof.stages.export.loading import NO_PADDING, load
from edgeprof.stages.weights import Weights
from edgeprof.store import graph_file, reference_beside

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

    from edgeprof.stages.export.blueprint import Blueprint

OPSET = 24
OPSETS = range(18, 26)
TOOLS = ("torch", "transformers", "onnx", "onnxscript", "onnxsim", "onnxruntime")


DECODERS = ("ForCausalLM", "LMHeadModel", "Model")
"""Ends of the names of classes that may be a decoder with a cache."""

Route = Literal["fused", "usual", "eager", "transformers"]
"""How a model is traced: a decoder with attention that writes its cache in place; with the attention of its class; with
attention written out and images of one size; or with what transformers' own exporter changes in a model."""

NOTES: dict[Route, str] = {
    "usual": "Exported with attention as the model has it",
    "eager": "Exported with attention written out, and images of one size",
    "transformers": "Exported as transformers' own exporter changes the model",
}
"""What is said of a model that did not take its first route."""

ROUTES: tuple[Route, ...] = ("usual", "eager", "transformers")
"""In the order in which they are tried."""


class ExportRequest(Record, frozen=True, kw_only=True):
    """What to export, and how.

    `variant` is the model as a family describes it, None where none does; `architecture` is the model by its
    configuration, None where the variant's family has inputs of its own.
    """

    name: str = "the model"
    variant: Variant | None = None
    architecture: Architecture | None = None
    weights: Weights
    logits: Logits
    opset: int
    portable: bool = False  # only with operators of the ONNX standard
    folder: str
    route: Route = "usual"


class Exported(Record, frozen=True, kw_only=True):
    params: int
    graphs: tuple[Graph, ...]


def export(request: ExportRequest, progress: Progress) -> Artifact:
    """Export into a folder: graphs, their weights, and reference values to verify them by. Does not verify them yet.

    Raises:
        MissingExtra: torch, or a package that it needs here, is not installed.
        CheckpointError: the weights do not fit the configuration.
        ExportError: torch could not export the model.
        VerificationError: its results in PyTorch cannot verify anything.
    """
    require_extra()
    exported = process.call("edgeprof.stages.export.stage", request, Exported, progress=progress)
    return Artifact(
        name=request.name,
        precision=Precision(recipe=FP32),
        variant=request.variant,
        architecture=request.architecture if request.variant is None else None,
        logits=request.logits,
        params=exported.params,
        weights=request.weights.source,
        graphs=exported.graphs,
        versions=versions(),
    )


def routes(request: ExportRequest) -> tuple[Route, ...]:
    """The ways to try for a model; a family that has inputs of its own has few."""
    fused: tuple[Route, ...] = ("fused",) if _may_be_fused(request) else ()
    return fused + (ROUTES if request.architecture else ROUTES[:1])


def _may_be_fused(request: ExportRequest) -> bool:
    if request.portable or request.opset < FUSED_SINCE:
        return False
    if request.architecture is not None:
        return request.architecture.class_name.endswith(DECODERS)
    return request.variant is not None and traced_family(request.variant).caches(request.variant)


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

    from edgeprof.stages.export import layers
    from edgeprof.stages.export.failure import explained
    from edgeprof.stages.export.greedy import expected
    from edgeprof.stages.export.sensitivity import moving, unmoved
    from edgeprof.stages.export.trace import translate

    progress(f"building {request.name}", 0.2)
    model = model_of(request)
    translated: dict[str, ir.Model] = {}
    with torch.no_grad():
        with explained(request.name):
            still = layers.shown(model, lambda: [unmoved(one) for one in blueprints_of(model, request)])
            blueprints = [moving(one, names) for one, names in zip(blueprints_of(model, request), still, strict=True)]
        for index, blueprint in enumerate(blueprints):
            part = process.part(progress, blueprint.role, index, len(blueprints)) if len(blueprints) > 1 else progress
            file = graph_file(Path(request.folder), blueprint.role)
            part("computing reference values in PyTorch", 0.35)
            greedy = expected(model, blueprints) if blueprint is blueprints[-1] else {}
            reference.write(reference_beside(file, blueprint.role), blueprint, greedy)
            describe = partial(_blueprint, model, request, index)
            translated[str(file)] = translate(blueprint, describe, model, request, part)
    progress("writing", 0.9)
    graph.save_all(translated)
    return Exported(
        params=sum(parameter.numel() for parameter in model.parameters()),
        graphs=tuple(
            Graph(
                role=blueprint.role,
                path=path,
                opset=request.opset,
                inputs=graph.specs(list(one.graph.inputs)),
                outputs=graph.specs(list(one.graph.outputs)),
                count=graph.count(one),
                shared_cache=graph.shares_cache(one),
                note=blueprint.note,
            )
            for blueprint, (path, one) in zip(blueprints, translated.items(), strict=True)
        ),
    )


def model_of(request: ExportRequest) -> torch.nn.Module:
    if request.architecture is None:
        assert request.variant is not None
        return build(request.variant, request.weights)
    return load(request.architecture, request.weights)


def _blueprint(model: torch.nn.Module, request: ExportRequest, index: int) -> Blueprint:
    return blueprints_of(model, request)[index]


def blueprints_of(model: Any, request: ExportRequest) -> Sequence[Blueprint]:
    from edgeprof.stages.export.kinds import graphs_of

    fused = request.route == "fused"
    if request.architecture is None and not fused:
        from edgeprof.stages.export.family_graph import FamilyGraph

        assert request.variant is not None
        return [FamilyGraph(model, request.variant, request.logits)]
    if request.route == "eager":
        model.set_attn_implementation("eager")
    return graphs_of(model, request.logits, fused=fused, fixed_images=request.route == "eager")


def build(variant: Variant, weights: Weights) -> torch.nn.Module:
    """The model of a variant, in float32 and evaluation mode.

    The class comes from the family's table: code in a checkpoint is never run.

    Raises:
        CheckpointError: a tensor of the checkpoint is missing, unexpected, or of another shape than in config.json.
    """
    import torch

    family = traced_family(variant)
    if isinstance(family, TransformersFamily) and weights.folder is not None:
        return load(family.architecture(variant), weights)
    torch.manual_seed(weights.seed)
    model = family.build(variant)
    config = getattr(model, "config", None)
    if config is not None and getattr(config, "pad_token_id", None) is None:
        config.pad_token_id = NO_PADDING
    return model.eval()


if __name__ == "__main__":
    sys.modules["scipy"] = None  # type: ignore[assignment]  # transformers would import it, for the losses of training
    gc.disable()  # saves a fifth of a small model's time, for less than 1 % more memory of a large one
    process.serve(run, ExportRequest)
