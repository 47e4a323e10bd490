"""The graph that onnxruntime optimizes a file to: its operators are counted and compared with those of its family.

The runtime writes that graph itself, and nothing is run. Weights in a data file stay there: the written graph refers to
them and contains only what is folded at load (the transpose of a tied embedding). The weights of a file that contains
them are written to a scratch file, as the graph would otherwise hold them a second time. Nothing is packed for kernels,
so that this takes less memory than loading to run. Measured on two cores, onnxruntime 1.32:

    gpt2 in fp32           1.0-1.5 s, 355 MB    loaded to run: 1.8-2.1 s, 678 MB
    gpt2 in int8           0.1 s, 62 MB                        0.2-0.4 s, 216 MB
    gpt2-medium in fp32    0.8 s, 457 MB                       6.9 s, 1,607 MB
    gpt2 as a single file  2.0 s, 830 MB                       1.5 s, 1,028 MB

Run as a module, this file is the child process.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from edgeprof import counting, kv_cache, process
from edgeprof.counting.reading import subgraphs
from edgeprof.errors import EdgeprofError, ModelFileError, StorageError, VerificationError
from edgeprof.families import family_of
from edgeprof.families.expected_fusions import ATTENTION, GROUPED, SPREAD
from edgeprof.process import LOCAL, Executor, Progress
from edgeprof.providers.ort_errors import not_loaded, ort_errors
from edgeprof.providers.session import create_session, session_options
from edgeprof.recipe_table import recipe_of
from edgeprof.schema import CPU, Artifact, Fusion, FusionReceipt, Graph, Record
from edgeprof.stages.export import OPSET
from edgeprof.stages.graph import INLINE_BYTES
from edgeprof.store import writing

if TYPE_CHECKING:
    import onnx
    import onnxruntime as ort

QUANTIZED_MATMUL = "MatMulNBits or MatMulIntegerToFloat or DynamicQuantizeMatMul or QLinearMatMul or QGemm"
"""Operators that a product with a quantized weight is fused to. Otherwise the weight is unpacked in every run."""

HOLDS_WEIGHTS_BYTES = 2**25
"""A file beyond this size contains weights: a graph alone has a few megabytes."""


class OptimizeRequest(Record, frozen=True, kw_only=True):
    model: str
    save_to: str | None = None
    nodes_to: str = ""  # where to write the graph alone, in the layouts that the file has


class Optimized(Record, frozen=True, kw_only=True):
    runtime: str
    nodes: dict[str, int]


def graph_as_run(model: str, executor: Executor = LOCAL) -> onnx.ModelProto:
    """The nodes that onnxruntime's CPU provider runs for a file, under the names that its profile has; no weights.

    Convolutions are as the file has them: a session rearranges some to the layout of its kernels.

    Raises:
        ModelFileError: onnxruntime cannot load the file.
        StorageError: the disk refused.
    """
    with tempfile.TemporaryDirectory(prefix="edgeprof-") as folder:
        file = Path(folder) / "graph.onnx"
        request = OptimizeRequest(model=model, nodes_to=str(file))
        process.call("edgeprof.stages.optimize", request, Optimized, executor=executor)
        return counting.read(file)


def optimize(artifact: Artifact, progress: Progress, executor: Executor = LOCAL) -> Artifact:
    """Add receipts of onnxruntime's fusions to the graphs of an artifact.

    Raises:
        VerificationError, ModelFileError, StorageError: as `receipt_of`.
    """
    return artifact.with_graphs(
        replace(one, fusion=receipt_of(artifact, one, progress, executor=executor)) for one in artifact.graphs
    )


def receipt_of(
    artifact: Artifact, graph: Graph, progress: Progress, save_to: Path | None = None, executor: Executor = LOCAL
) -> FusionReceipt:
    """The receipt of onnxruntime's fusions in a graph.

    Args:
        save_to: where to write the optimized graph, with its weights in `save_to` + ".data". It suits this onnxruntime
            and this processor: others may refuse it, or run it more slowly.

    Raises:
        VerificationError: an operator is not fused, or occurs less often than in the family.
        ModelFileError: onnxruntime cannot load the file.
        StorageError: the disk refused.
    """
    request = OptimizeRequest(model=graph.path, save_to=str(save_to) if save_to else None)
    optimized = process.call("edgeprof.stages.optimize", request, Optimized, progress=progress, executor=executor)
    expected = _expected(artifact, graph)
    fusions = tuple(_fusion(operator, count, optimized.nodes) for operator, count in expected.items())
    missing = [
        f"{fusion.found} of {fusion.expected} {operator}"
        for operator, fusion in zip(expected, fusions, strict=True)
        if fusion.found < fusion.expected
    ]
    row = recipe_of(artifact.precision)
    judged = row is None or not row.whole_graph  # such a recipe inserts nodes between the parts of a pattern
    if missing and judged:
        raise VerificationError(
            f"In {artifact.name} in {artifact.precision}, {optimized.runtime} fuses only {' and '.join(missing)}; "
            "the others run as separate operators.",
            f"Export it with --opset {OPSET}, or try another precision or version of onnxruntime.",
        )
    in_parts = f"In {artifact.precision} the others run in parts." if missing else ""
    note = " ".join(filter(None, (_older_opset(artifact, graph), in_parts)))
    return FusionReceipt(runtime=optimized.runtime, nodes=optimized.nodes, fusions=fusions, note=note)


def _expected(artifact: Artifact, graph: Graph) -> dict[str, int]:
    """Expected operators, or alternatives, with their number; of a graph that no family knows, fused attention."""
    if artifact.variant is None or graph.role != "model":
        layers = sum(kv_cache.is_past(spec.name) for spec in graph.inputs) // 2
        return {GROUPED: layers} if graph.shared_cache else {}
    expected = family_of(artifact.variant).fusions(artifact.variant, graph.opset, fused=graph.shared_cache)
    row = recipe_of(artifact.precision)
    if row and row.quantized and graph.quantization:
        split = expected.pop(ATTENTION, 0) if row.splits_attention else 0
        expected[QUANTIZED_MATMUL] = graph.quantization.matmuls_quantized + 2 * split
    return expected


def _fusion(operator: str, expected: int, nodes: dict[str, int]) -> Fusion:
    """The fusion of an operator; of alternatives, those that occur."""
    names = operator.split(" or ")
    present = [name for name in names if name in nodes]
    return Fusion(
        operator=" or ".join(present or names), expected=expected, found=sum(nodes.get(name, 0) for name in names)
    )


def _older_opset(artifact: Artifact, graph: Graph) -> str:
    """A note on operators that an older operator set spreads over many nodes."""
    if artifact.variant is None or graph.role != "model":
        return ""
    family = family_of(artifact.variant)
    here, newest = (family.fusions(artifact.variant, opset, fused=graph.shared_cache) for opset in (graph.opset, OPSET))
    spread = [words for operator, words in SPREAD.items() if operator in newest and operator not in here]
    if not spread:
        return ""
    return f"In operator set {graph.opset} {' and '.join(spread)}; --opset {OPSET} has one operator for it."


# --- in the child ------------------------------------------------------------------------------------------


def run(request: OptimizeRequest, progress: Progress) -> Optimized:
    import onnxruntime as ort

    progress("optimizing in onnxruntime", 0.0)
    runtime = f"onnxruntime {ort.__version__}"
    if request.nodes_to:
        _write(Path(request.model), Path(request.nodes_to), whole=False, layouts=False)
        return Optimized(runtime=runtime, nodes={})
    target = Path(request.save_to) if request.save_to else None
    place = target.parent if target else None
    with (
        writing(target or Path(tempfile.gettempdir())),
        tempfile.TemporaryDirectory(dir=place, prefix=".opt-") as scratch,
    ):
        written = Path(scratch) / (target.name if target else "optimized.onnx")
        _write(Path(request.model), written, whole=target is not None)
        nodes = _nodes(written)
        if target:
            for file in sorted(Path(scratch).iterdir(), reverse=True):  # the weights first
                file.replace(target.with_name(file.name))
    return Optimized(runtime=runtime, nodes=nodes)


class _GraphTooLarge(ModelFileError):
    """Folded weights exceed 2 GB, the limit of a graph file; they have to be written beside it."""


def _write(model: Path, target: Path, *, whole: bool, layouts: bool = True) -> None:
    """Let onnxruntime load a model and write its optimized graph.

    Args:
        whole: write all weights beside it.
        layouts: rearrange tensors for the processor.
    """
    import onnxruntime

    def refusal(reason: str) -> EdgeprofError:
        if not beside and "serialization failed" in reason:
            return _GraphTooLarge(reason)
        if "Failed to write" in reason:
            return StorageError(f"onnxruntime could not write to {target.parent.parent}.", "Free some disk space.")
        return not_loaded(str(model), CPU, reason)

    options = session_options(CPU)
    options.log_severity_level = 3
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.disable_prepacking", "1")
    if not layouts:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    beside = whole or model.stat().st_size > HOLDS_WEIGHTS_BYTES
    if beside:
        _write_weights_beside(options, f"{target.name}.data")
    process.step(f"optimizing {model}")
    try:
        with ort_errors(refusal):
            create_session(str(model), CPU, options)
    except _GraphTooLarge:
        _write(model, target, whole=True, layouts=layouts)


def _write_weights_beside(options: ort.SessionOptions, name: str) -> None:
    key = "session.optimized_model_external_initializers"
    options.add_session_config_entry(f"{key}_file_name", name)
    options.add_session_config_entry(f"{key}_min_size_in_bytes", str(INLINE_BYTES))


def _nodes(file: Path) -> dict[str, int]:
    """Number of nodes by operator type, subgraphs included, the most frequent first."""
    graph = counting.read(file).graph
    inner = [subgraph for node in graph.node for subgraph in subgraphs(node)]
    return dict(Counter(node.op_type for each in (graph, *inner) for node in each.node).most_common())


if __name__ == "__main__":
    process.serve(run, OptimizeRequest)
