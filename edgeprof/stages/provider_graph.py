"""Adapt a graph to one provider: decompose operators that it lacks and, if it requires that, fix all shapes.

The copy holds no weights: it refers to the data file of its artifact. An artifact that a provider can run as it is, is
not copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeprof import counting, store
from edgeprof.counting.file_errors import onnx_errors, opening
from edgeprof.errors import ModelFileError, UsageError, first_line
from edgeprof.schema import Graph, Record, Target, TensorSpec
from edgeprof.stages import attention, graph, static_shapes

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir
    from numpy.typing import NDArray

VERSION = 8  # of this module's output: increase it with every change


class ProviderGraph(Record, frozen=True, kw_only=True):
    path: str
    weights_folder: str = ""  # folder of the data file that it refers to, if not that of `path`
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    written_out: dict[str, int] = {}  # noqa: RUF012  (msgspec copies defaults)
    static: bool = False


def prepare_for_provider(
    source: Graph,
    target: Target,
    shapes: Mapping[str, tuple[int, ...]],
    folder: Path,
    switches: Mapping[str, NDArray[np.bool_]] | None = None,
) -> ProviderGraph:
    """Adapt a graph to a provider; a copy that exists already is reused.

    Args:
        shapes: of all inputs, in a run with a growing cache; used where the target requires static shapes.
        folder: receives the copy, named by a digest of everything that determines it.
        switches: values of inputs that choose between branches ("use_cache_branch"); used with static shapes only.

    Raises:
        UsageError: the graph cannot be made static at this shape.
        EdgeprofError: an operator that the provider lacks cannot be decomposed.
    """
    model, beside = _read(source), Path(source.path).parent
    lacking = _lacking(model, target)
    if not target.static and not lacking:
        return ProviderGraph(path=source.path, inputs=source.inputs, outputs=source.outputs)
    sizes = sorted(shapes.items()) if target.static else []
    chosen = sorted((name, bool(value.item())) for name, value in (switches or {}).items()) if target.static else []
    weights = _weights_folder(model, beside)
    names = sorted(_data_names(model, beside)) if weights != beside else []  # hashes of weights in a hub cache
    key = store.content_key(source.sha256, names, sorted(lacking), sizes, chosen, VERSION)
    file = folder / f"{key[:32]}.onnx"
    if file.is_file():
        model = graph.load(file)
    else:
        _adapt(model, target, shapes, switches)
        _refer_to(model, beside, weights)
        store.write_atomic(file, graph.serialized(model))
    return ProviderGraph(
        path=str(file),
        weights_folder=str(weights) if _external(model) else "",
        inputs=graph.specs([value for value in model.graph.inputs if value.name not in model.graph.initializers]),
        outputs=graph.specs(list(model.graph.outputs)),
        written_out=lacking,
        static=target.static,
    )


def _external(model: ir.Model) -> list[ir.Value]:
    """Weights in data files. A model that contains its weights is loaded by its path, not read twice."""
    import onnx_ir as ir

    return [value for value in model.graph.initializers.values() if isinstance(value.const_value, ir.ExternalTensor)]


def _weights_folder(model: ir.Model, beside: Path) -> Path:
    """The folder of a graph's data files, links resolved: in a hub cache the files beside a graph are links to another
    folder, which onnxruntime refuses to follow for a graph in a third one."""
    files = {beside / value.const_value.location for value in _external(model)}  # type: ignore[union-attr]
    folders = {file.resolve().parent for file in files if file.is_symlink()}
    return folders.pop() if len(folders) == 1 and all(file.is_symlink() for file in files) else beside


def _data_names(model: ir.Model, beside: Path) -> set[str]:
    """Names of the data files, links resolved."""
    return {(beside / value.const_value.location).resolve().name for value in _external(model)}  # type: ignore[union-attr]


def _refer_to(model: ir.Model, beside: Path, weights: Path) -> None:
    """Let a graph refer to its data files by their names in the folder `weights`."""
    import onnx_ir as ir

    if weights == beside:
        return
    for value in _external(model):
        old = value.const_value
        assert isinstance(old, ir.ExternalTensor)
        name = (beside / old.location).resolve().name
        value.const_value = ir.ExternalTensor(
            name, old.offset, old.length, old.dtype, shape=old.shape, name=old.name or "", base_dir=weights
        )


def load_for_provider(source: Graph, target: Target, shapes: Mapping[str, tuple[int, ...]]) -> ir.Model:
    """As `prepare_for_provider`, without writing: the weights are references into the artifact's folder."""
    model = _read(source)
    _adapt(model, target, shapes)
    return model


def _adapt(
    model: ir.Model,
    target: Target,
    shapes: Mapping[str, tuple[int, ...]],
    switches: Mapping[str, NDArray[np.bool_]] | None = None,
) -> None:
    """Adapt a graph to a provider in place.

    Raises:
        UsageError, EdgeprofError: as `prepare_for_provider`.
    """
    if unknown := set(_lacking(model, target)) - {attention.ATTENTION}:
        raise UsageError(f"{target.provider} lacks {', '.join(sorted(unknown))}, which edgeprof cannot decompose.")

    def refusal(problem: Exception) -> ModelFileError:
        what = f"The graph cannot be adapted to {target.provider}: {first_line(problem)}."
        return ModelFileError(what, "Profile it on the CPU provider.")

    with onnx_errors(refusal):
        if attention.ATTENTION in target.lacks:
            attention.decompose(model, empty_rows=True)
        if target.static:
            static_shapes.pin(model, shapes, switches)


def _read(source: Graph) -> ir.Model:
    """The graph, local functions inlined; weights in data files are references and are not opened."""
    file = Path(source.path)
    with opening(file):
        return graph.from_proto(counting.read(file))


def _lacking(model: ir.Model, target: Target) -> dict[str, int]:
    """Operators of a graph that the provider lacks, with their number."""
    nodes = [node.op_type for node in model.graph if node.domain in ("", "ai.onnx")]
    return {name: nodes.count(name) for name in sorted(target.lacks) if name in nodes}
