"""Opening an ONNX graph without its weights."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
        ModelFileError: the file does not say what an input is, or how many dimensions a tensor has.
    """
    given = {tensor.name for tensor in model.graph.initializer}
    return tuple(spec_of(value) for value in model.graph.input if value.name not in given)


def outputs(model: onnx.ModelProto) -> tuple[TensorSpec, ...]:
    """What a run gives; an output whose dimensions the file does not state has none here."""
    return tuple(spec_of(value, rank_required=False) for value in model.graph.output)


def spec_of(value: Any, *, rank_required: bool = True) -> TensorSpec:
    """Name, element type and dimensions of a graph's input or output.

    Raises:
        ModelFileError: the file does not say what it is, or (`rank_required`) how many dimensions a tensor has.
    """
    kind, tensor = tensor_in(value.type)
    if rank_required and (tensor is None or not tensor.elem_type):
        raise ModelFileError(
            f"The file does not say what type of numbers input '{value.name}' takes.",
            "Save the model with the types of its inputs.",
        )
    if rank_required and kind == "tensor" and not tensor.HasField("shape"):
        raise ModelFileError(
            f"The file does not say how many dimensions input '{value.name}' has.",
            "Save the model with the shapes of its inputs; dimensions may stay dynamic.",
        )
    return TensorSpec(
        name=value.name,
        dtype=dtype_name(tensor.elem_type) if tensor is not None and tensor.elem_type else "unknown",
        dims=tuple(map(_dim, tensor.shape.dim)) if tensor is not None else (),
        kind=kind,
    )


def tensor_in(kind: Any) -> tuple[Literal["tensor", "sequence", "optional", "map"], Any]:
    """How tensors are wrapped in a type, and the innermost type of tensor; None where there is none."""
    match kind.WhichOneof("value"):
        case "sequence_type":
            return "sequence", tensor_in(kind.sequence_type.elem_type)[1]
        case "optional_type":
            return "optional", tensor_in(kind.optional_type.elem_type)[1]
        case "map_type":
            return "map", tensor_in(kind.map_type.value_type)[1]
        case "tensor_type":
            return "tensor", kind.tensor_type
        case "sparse_tensor_type":
            return "tensor", kind.sparse_tensor_type
    return "tensor", None


def _dim(dim: Any) -> int | str:
    """A size, or the symbol of a dynamic one; some converters write -1 for that."""
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    return str(dim.dim_param)


def dtype_name(elem_type: int) -> str:
    """ "float32", "bfloat16", "int4", "string": what numpy or ml_dtypes calls an ONNX element type."""
    from onnx import TensorProto, helper

    return "string" if elem_type == TensorProto.STRING else str(helper.tensor_dtype_to_np_dtype(elem_type).name)


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
