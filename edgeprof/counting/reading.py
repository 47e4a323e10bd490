"""Opening an ONNX graph without its weights."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgeprof.counting.file_errors import opening, well_formed
from edgeprof.errors import ModelFileError
from edgeprof.schema import TensorSpec

if TYPE_CHECKING:
    import onnx


MOST_NODES = 1_000_000
"""Nodes that local functions may become where they are called."""
OF_FUNCTION = "constant of the function "
"""Prefix of the doc string that marks a constant as shared by all calls of a function."""


def open_model(path: Path) -> onnx.ModelProto:
    """Open an ONNX file as it is; external data is not opened and may be missing.

    Raises:
        ModelFileError: no such file, or not a readable one, or not an ONNX file.
    """
    import onnx

    with opening(path):
        model = onnx.load(path, format="protobuf", load_external_data=False)  # whatever its suffix
        if not model.graph.node and not model.graph.output:
            raise ModelFileError(f"{path} is not an ONNX file, or an empty one.", "Check the path.")
    return model


def read(path: Path) -> onnx.ModelProto:
    """Open an ONNX file and normalize its graph.
    Raises:
        ModelFileError: as `open_model` and `normalized`.
    """
    return normalized(open_model(path), path)


def normalized(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Inline a model's local functions and sort its nodes, producers first.

    Args:
        path: its file, for messages.

    Raises:
        ModelFileError: a function calls itself or becomes too many nodes, or a name is not UTF-8.
    """
    with opening(path):
        model = inlined(model)
        for graph in (model.graph, *(inner for node in model.graph.node for inner in subgraphs(node))):
            if not all(isinstance(name, str) for name in _names(graph)):
                raise ModelFileError(
                    f"{path} has names that are not UTF-8.", "Export the model or copy the file again."
                )
            _sort(graph)
    return model


def _names(graph: onnx.GraphProto) -> Iterator[str | bytes]:
    """All names in a graph. protobuf returns those that are not UTF-8 as bytes."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    yield from (tensor.name for tensor in graph.initializer)
    for node in graph.node:
        yield node.name
        yield node.op_type
        yield node.domain
        yield from node.input
        yield from node.output
        yield from (attribute.name for attribute in node.attribute)


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without local functions; the same object if it has none.

    Raises:
        ModelFileError: a function calls itself, or there would be more than `MOST_NODES` nodes.
    """
    if not model.functions:
        return model
    from onnx import inliner

    _require_node_limit(model)
    for function in model.functions:
        for node in function.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.type == attribute.TENSOR:
                    attribute.t.doc_string = f"{OF_FUNCTION}{function.domain}::{function.name}"
                    attribute.t.name = node.output[0]
    return inliner.inline_local_functions(model)


def _require_node_limit(model: onnx.ModelProto) -> None:
    functions = {(one.domain, one.name): one for one in model.functions}
    calls = {key: _calls(one.node, functions) for key, one in functions.items()}
    try:
        order = list(TopologicalSorter(calls).static_order())
    except CycleError as problem:
        raise ModelFileError(
            f"The local function '{problem.args[1][0][1]}' calls itself.", "Export the model without functions."
        ) from problem
    sizes: dict[tuple[str, str], int] = {}
    for key in order:
        sizes[key] = len(functions[key].node) + sum(sizes[called] for called in calls[key])
        if sizes[key] > MOST_NODES:
            raise ModelFileError(
                f"The local function '{key[1]}' becomes more than {MOST_NODES:,} nodes where it is called.",
                "Export the model without functions.",
            )
    total = len(model.graph.node) + sum(sizes[called] for called in _calls(model.graph.node, functions))
    if total > MOST_NODES:
        raise ModelFileError(
            f"The local functions of the model become {total:,} nodes, and at most {MOST_NODES:,} are counted.",
            "Export the model without functions.",
        )


def _calls(nodes: Iterable[Any], functions: Container[tuple[str, str]]) -> list[tuple[str, str]]:
    """The functions that nodes and their subgraphs call; a function that is called twice is listed twice."""
    inside = (inner for node in nodes for graph in subgraphs(node) for inner in graph.node)
    called = ((node.domain, node.op_type) for node in (*nodes, *inside))
    return [key for key in called if key in functions]


def _sort(graph: onnx.GraphProto) -> None:
    """Put every node behind its producers: onnxruntime accepts any order, and some tools write any.

    A node that stands too late moves to right before its first reader. A graph with a cycle stays as it is.
    """
    producer = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    producers = {
        index: sorted({producer[name] for name in reads(node) if name in producer}, reverse=True)
        for index, node in enumerate(graph.node)
    }
    if all(max(before, default=-1) < index for index, before in producers.items()):
        return
    try:
        TopologicalSorter(producers).prepare()
    except CycleError:
        return
    order: dict[int, None] = {}
    for index in producers:
        waiting = [index]
        while waiting:
            missing = [before for before in producers[waiting[-1]] if before not in order]
            waiting += missing
            if not missing:
                order[waiting.pop()] = None
    nodes = [graph.node[index] for index in order]
    del graph.node[:]
    graph.node.extend(nodes)


@well_formed()
def inputs(model: onnx.ModelProto) -> tuple[TensorSpec, ...]:
    """The inputs that a run needs: graph inputs without an initializer. A dynamic dimension without a name is "".

    Raises:
        ModelFileError: the file does not say what an input is, or how many dimensions a tensor has.
    """
    given = {tensor.name for tensor in model.graph.initializer}
    return tuple(spec_of(value) for value in model.graph.input if value.name not in given)


@well_formed()
def outputs(model: onnx.ModelProto) -> tuple[TensorSpec, ...]:
    """The outputs of a run; an output whose dimensions the file does not state has none here."""
    return tuple(spec_of(value, rank_required=False) for value in model.graph.output)


def spec_of(value: Any, *, rank_required: bool = True) -> TensorSpec:
    """Name, element type and dimensions of a graph's input or output.

    Raises:
        ModelFileError: with `rank_required`, the file does not state the element type or the number of dimensions.
    """
    kind, tensor = tensor_in(value.type)
    if rank_required and (tensor is None or not tensor.elem_type):
        raise ModelFileError(
            f"The file does not state the element type of input '{value.name}'.",
            "Save the model with the types of its inputs.",
        )
    if rank_required and kind == "tensor" and not tensor.HasField("shape"):
        raise ModelFileError(
            f"The file does not state how many dimensions input '{value.name}' has.",
            "Save the model with the shapes of its inputs; dimensions may stay dynamic.",
        )
    return TensorSpec(
        name=value.name,
        dtype=dtype_name(tensor.elem_type) if tensor is not None and tensor.elem_type else "unknown",
        dims=tuple(map(_dim, tensor.shape.dim)) if tensor is not None else (),
        kind=kind,
    )


def tensor_in(kind: Any) -> tuple[Literal["tensor", "sequence", "optional", "map"], Any]:
    """The kind of a type, and the type of the tensors in it; None where there are none."""
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
    """A size, or the symbol of a dynamic dimension, for which some converters write -1."""
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    return str(dim.dim_param)


def dtype_name(elem_type: int) -> str:
    """Name of an ONNX element type in numpy or ml_dtypes: "float32", "bfloat16", "int4", "string".

    >>> dtype_name(1), dtype_name(16), dtype_name(8)
    ('float32', 'bfloat16', 'string')
    """
    from onnx import TensorProto, helper

    return "string" if elem_type == TensorProto.STRING else str(helper.tensor_dtype_to_np_dtype(elem_type).name)


def attributes(node: Any) -> dict[str, Any]:
    """Attributes of a node by name; strings as text, graphs left out."""
    from onnx import helper

    values = {}
    for attribute in node.attribute:
        if attribute.type in (attribute.GRAPH, attribute.GRAPHS):
            continue
        value = helper.get_attribute_value(attribute)
        values[attribute.name] = value.decode() if isinstance(value, bytes) else value
    return values


def subgraphs(node: Any) -> list[Any]:
    """The graphs in a node of control flow, at any depth."""
    graphs = []
    for attribute in node.attribute:
        if attribute.type in (attribute.GRAPH, attribute.GRAPHS):
            for graph in (attribute.g, *attribute.graphs):
                graphs += [graph, *(deeper for inner in graph.node for deeper in subgraphs(inner))]
    return graphs


def reads(node: Any) -> list[str]:
    """Names of a node's inputs, "" where one is left out; then of all that its subgraphs read."""
    return [*node.input, *(name for graph in subgraphs(node) for inner in graph.node for name in inner.input)]


def operator(node: Any) -> str:
    """Name of a node's operator: "MatMul" of the standard domain, "com.microsoft::MatMulNBits" of another."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
