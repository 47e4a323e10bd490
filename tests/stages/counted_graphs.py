"""What is counted in exported graphs, against the closed forms of their family."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import onnx

from edgeprof import counting
from edgeprof.families import family_of, is_traced
from edgeprof.families.transformers_family import TransformersFamily
from edgeprof.inputs import signature
from edgeprof.inputs.run_inputs import of_variant
from edgeprof.process import silent
from edgeprof.schema import Case, Role, Variant
from edgeprof.stages.export import stage
from edgeprof.stages.weights import Weights


def exported(variant: Variant) -> dict[Role, onnx.ModelProto]:
    """The graphs as `edgeprof export` makes them, before onnxsim."""
    family = family_of(variant)
    described = isinstance(family, TransformersFamily) and not is_traced(variant)
    with tempfile.TemporaryDirectory() as folder:
        request = stage.ExportRequest(
            variant=variant,
            architecture=family.architecture(variant) if described else None,  # type: ignore[attr-defined]
            weights=Weights(),
            logits="all",
            opset=stage.OPSET,
            folder=folder,
        )
        return {graph.role: counting.read(Path(graph.path)) for graph in stage.run(request, silent).graphs}


def require_counts(graph: onnx.ModelProto, variant: Variant, cases: Sequence[Case]) -> None:
    """Parameters once, MACs at every shape."""
    family = family_of(variant)
    for case in cases:
        counted = counted_at(graph, variant, case)
        assert counted.macs == family.macs(variant, case), (variant.config, case)
        assert counted.params == family.params(variant), variant.config


def counted_at(graph: onnx.ModelProto, variant: Variant, case: Case) -> counting.GraphCosts:
    counted = counting.count(graph, of_variant(signature(counting.inputs(graph)), variant, case).sizes.shapes)
    assert not counted.uncounted
    return counted
