"""What is counted in a graph, against the closed forms of its family."""

from collections.abc import Sequence

import onnx

from edgeprof import counting
from edgeprof.families import family_of
from edgeprof.inputs import signature
from edgeprof.inputs.run_inputs import of_variant
from edgeprof.schema import Case, Variant


def require_counts(graph: onnx.ModelProto, variant: Variant, cases: Sequence[Case]) -> None:
    """Parameters once, MACs at every shape."""
    family, specs = family_of(variant), counting.inputs(graph)
    for case in cases:
        counted = counting.count(graph, of_variant(signature(specs), variant, case).sizes.shapes)
        assert not counted.uncounted
        assert counted.macs == family.macs(variant, case), (variant.config, case)
        assert counted.params == family.params(variant), variant.config
