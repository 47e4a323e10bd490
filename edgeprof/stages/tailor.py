"""A graph as one provider takes it: without operators that it lacks and, where it needs that, for one shape alone.

The copy holds no weights: it refers to the data file of the artifact it was made from. An artifact that suits a
provider as it is, is not copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgeprof import store
from edgeprof.errors import UsageError
from edgeprof.schema import Artifact, Record, Target, TensorSpec
from edgeprof.stages import attention, graph, pinning

VERSION = 2  # of what is done here: grows with every change of it


class Tailored(Record, frozen=True, kw_only=True):
    path: str
    weights_folder: str = ""  # where the data file lies, if not beside `path`
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    written_out: dict[str, int] = {}  # noqa: RUF012  (msgspec copies defaults)
    static: bool = False


def tailored(artifact: Artifact, target: Target, shapes: Mapping[str, tuple[int, ...]], folder: Path) -> Tailored:
    """The graph for a provider; made once.

    Args:
        shapes: of all inputs, in a run with a cache that grows; used where the target takes static shapes only.
        folder: receives the copy, under a name that says what went into it.

    Raises:
        UsageError: the graph cannot be made static at this shape.
        EdgeprofError: an operator that the provider lacks cannot be written out.
    """
    model = graph.load(Path(artifact.path))
    lacking = {node.op_type for node in model.graph.all_nodes()} & set(target.lacks)
    if not target.static and not lacking:
        return Tailored(path=artifact.path, inputs=artifact.inputs, outputs=artifact.outputs)
    if unknown := lacking - {attention.ATTENTION}:
        raise UsageError(f"{target.provider} lacks {', '.join(sorted(unknown))}, which edgeprof cannot write out.")
    sizes = sorted(shapes.items()) if target.static else []
    key = store.content_key(artifact.sha256, artifact.data_sha256, sorted(lacking), sizes, VERSION)
    written = {name: sum(node.op_type == name for node in model.graph) for name in sorted(lacking)}
    if lacking:
        attention.write_out(model)
    if target.static:
        pinning.pin(model, shapes)
    file = folder / f"{key[:32]}.onnx"
    if not file.is_file():
        store.write_atomic(file, graph.serialized(model))
    return Tailored(
        path=str(file),
        weights_folder=str(Path(artifact.path).parent),
        inputs=graph.specs([value for value in model.graph.inputs if value.name not in model.graph.initializers]),
        outputs=graph.specs(list(model.graph.outputs)),
        written_out=written,
        static=target.static,
    )
