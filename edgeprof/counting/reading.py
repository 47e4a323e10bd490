"""Opening an ONNX graph without its weights."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprof.errors import ModelFileError
from edgeprof.schema import TensorSpec

if TYPE_CHECKING:
    import onnx


def read(path: Path) -> onnx.ModelProto:
    """The graph of a file, local functions inlined; external data is not opened, and may be missing.

    Raises:
        ModelFileError: no such file, or not a readable one, or not an ONNX file.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, format="protobuf", load_external_data=False)  # whatever the file is called
    except FileNotFoundError as problem:
        raise ModelFileError(f"There is no file {path}.", "Check the path.") from problem
    except OSError as problem:
        raise ModelFileError(f"{path} cannot be read: {problem.strerror}.", "Check the path.") from problem
    except (DecodeError, ValueError) as problem:
        raise ModelFileError(
            f"{path} is not a readable ONNX file.", "It may be truncated: export it again."
        ) from problem
    if not model.graph.node and not model.graph.output:
        raise ModelFileError(f"{path} is not an ONNX file, or an empty one.", "Check the path.")
    if model.functions:
        from onnx import inliner

        model = inliner.inline_local_functions(model)
    _sort(model.graph)
    return model


def _sort(graph: onnx.GraphProto) -> None:
    """Put nodes behind those that they read from: onnxruntime takes them in any order, and some tools write them so.

    A node that stands too late comes right before the first that reads from it. A graph with a circle stays as it is.
    """
    maker = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    wanted = {index: {maker[name] for name in reads(node) if name in maker} for index, node in enumerate(graph.node)}
    if all(max(before, default=-1) < index for index, before in wanted.items()):
        return
    try:
        TopologicalSorter(wanted).prepare()
    except CycleError:
        return
    placed: dict[int, None] = {}
    for index in wanted:
        waiting = [index]
        while waiting:
            missing = sorted(wanted[waiting[-1]] - placed.keys(), reverse=True)
            waiting += missing
            if not missing:
                placed[waiting.pop()] = None
    nodes = [graph.node[index] for index in placed]
    del graph.node[:]
    graph.node.extend(nodes)


def inputs(model: onnx.ModelProto) -> tuple[TensorSpec, ...]:
    """What a run has to be given: graph inputs without an initializer. A dynamic dimension without a name is "".

    Raises:
        ModelFileError: an input is no tensor, or the file does not say how many dimensions it has.
    """
    given = {tensor.name for tensor in model.graph.initializer}
    return tuple(_spec(value) for value in model.graph.input if value.name not in given)


def _spec(value: Any) -> TensorSpec:
    from onnx import helper

    if not value.type.HasField("tensor_type"):
        raise ModelFileError(f"Input '{value.name}' is not a tensor.", "edgeprof counts graphs of tensors.")
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        raise ModelFileError(
            f"The file does not say how many dimensions input '{value.name}' has.",
            "Save the model with the shapes of its inputs; dimensions may stay dynamic.",
        )
    if not tensor.elem_type:
        raise ModelFileError(
            f"The file does not say what type of numbers input '{value.name}' takes.",
            "Save the model with the types of its inputs.",
        )
    dims = tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in tensor.shape.dim)
    return TensorSpec(name=value.name, dtype=helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, dims=dims)


def attributes(node: Any) -> dict[str, Any]:
    """Attributes of a node by name; strings as text, graphs left out."""
    from onnx import helper

    found = {}
    for attribute in node.attribute:
        if attribute.type in (attribute.GRAPH, attribute.GRAPHS):
            continue
        value = helper.get_attribute_value(attribute)
        found[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return found


def subgraphs(node: Any) -> list[Any]:
    """What control flow runs, at any depth."""
    found = []
    for attribute in node.attribute:
        if attribute.type in (attribute.GRAPH, attribute.GRAPHS):
            for graph in (attribute.g, *attribute.graphs):
                found += [graph, *(deeper for inner in graph.node for deeper in subgraphs(inner))]
    return found


def reads(node: Any) -> list[str]:
    """Names of a node's inputs, "" where one is left out; then of all that its subgraphs read, from wherever."""
    return [*node.input, *(name for graph in subgraphs(node) for inner in graph.node for name in inner.input)]


def operator(node: Any) -> str:
    """ "MatMul" of the standard domain, "com.microsoft::MatMulNBits" of another."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
