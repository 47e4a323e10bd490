"""Reading, counting and writing ONNX graphs. Weights stay on disk (memory-mapped) unless somebody touches them."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgeprof import kv_cache
from edgeprof.counting.file_errors import opening, require_content
from edgeprof.counting.reading import open_model
from edgeprof.errors import ModelFileError, first_line
from edgeprof.schema import GraphCount, TensorSpec
from edgeprof.store import WEIGHTS_FILE, within, writing

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

MAPS = "types of maps"

INLINE_BYTES = 1024
"""Tensors up to this size are part of the graph (shapes, scales); larger ones are weights and lie in the data file."""


def load(path: Path) -> ir.Model:
    """Read a graph; its external data is mapped, not read.

    Raises:
        ModelFileError: no such file, or not a readable one, or not an ONNX file, or one that keeps data elsewhere than
            in its folder.
    """
    return of_proto(open_model(path), path)


def of_proto(proto: onnx.ModelProto, path: Path) -> ir.Model:
    """The graph of a file that `open_model` opened, which it takes over.

    Raises:
        ModelFileError: as `load`.
    """
    import onnx_ir as ir

    with opening(path):
        model = from_proto(proto)
        ir.external_data.set_base_dir(model.graph, path.parent)
    for location in {str(tensor.location) for tensor in _external(model)}:
        within(path.parent, location, path, ModelFileError)
    _follow_links(model)
    return model


def _follow_links(model: ir.Model) -> None:
    """Read weights where they really lie: a hub's cache keeps both files as links to one folder, under other names, and
    onnx_ir follows no link out of the model's own folder, nor reads a file that has a second name. It asks nothing of a
    path without a base: that the file belongs to the model was seen before."""
    import onnx_ir as ir

    for value in (value for graph in model.graphs() for value in graph.initializers.values()):
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor) and _is_linked(Path(tensor.path)):
            place = (str(Path(tensor.path).resolve()), tensor.offset, tensor.length, tensor.dtype)
            value.const_value = ir.ExternalTensor(*place, shape=tensor.shape, name=tensor.name)


def _is_linked(file: Path) -> bool:
    """Whether a file is a link, or has several names."""
    return file.is_symlink() or (file.is_file() and file.stat().st_nlink > 1)


LARGEST_FILLED = 1 << 27  # values of a sparse weight with its zeros


def _fill_up(graph: onnx.GraphProto) -> None:
    import numpy as np
    from onnx import numpy_helper

    for sparse in graph.sparse_initializer:
        name, shape = sparse.values.name, tuple(sparse.dims)
        if prod(shape) > LARGEST_FILLED:
            raise ModelFileError(
                f"The sparse weight {name} has {prod(shape):,} values with its zeros.",
                "Use a model with dense weights.",
            )
        try:
            values, at = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
            dense = np.zeros(shape, values.dtype)
            dense[np.unravel_index(at, shape) if at.ndim == 1 else tuple(at.T)] = values
        except (ValueError, IndexError) as problem:
            raise ModelFileError(
                f"The sparse weight {name} is malformed: {first_line(problem)}.", "Export it again."
            ) from problem
        graph.initializer.append(numpy_helper.from_array(dense, name))
    graph.ClearField("sparse_initializer")


def from_proto(proto: onnx.ModelProto) -> ir.Model:
    """As `onnx_ir.from_proto`, which knows no maps, whose types are kept aside until the graph is written; and no
    sparse weights, which are filled up with zeros.

    Raises:
        ModelFileError: they would be too large then, or cannot be read.
    """
    import onnx
    import onnx_ir as ir

    _fill_up(proto.graph)
    maps = {value.name: onnx.TypeProto.FromString(value.type.SerializeToString()) for value in _maps(proto)}
    for value in _maps(proto):
        value.ClearField("type")
    model = ir.from_proto(proto)
    model.meta[MAPS] = maps
    return model


def _maps(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Values of a graph that are maps, or sequences of them."""
    values = (*proto.graph.input, *proto.graph.output, *proto.graph.value_info)
    return [
        one for one in values if one.type.HasField("map_type") or one.type.sequence_type.elem_type.HasField("map_type")
    ]


def _restore_maps(model: ir.Model, path: Path) -> None:
    import onnx

    proto = onnx.load(path, load_external_data=False)
    _type_maps(model, proto)
    onnx.save(proto, path)


def _type_maps(model: ir.Model, proto: onnx.ModelProto) -> None:
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        if value.name in model.meta.get(MAPS, {}):
            value.type.CopyFrom(model.meta[MAPS][value.name])


def save(model: ir.Model, path: Path) -> None:
    """Write a graph and, beside it, one data file with its weights.

    Raises:
        StorageError: the disk refused.
    """
    import onnx_ir as ir

    with writing(path):
        ir.save(model, path, external_data=path.with_name(WEIGHTS_FILE).name, size_threshold_bytes=INLINE_BYTES)
        if model.meta.get(MAPS):
            _restore_maps(model, path)


def save_all(models: Mapping[str, ir.Model], *, by_content: bool = False) -> None:
    """Write graphs by path, all to one folder, with one data file for the weights of all of them.

    Initializers of several graphs that have the same name and shape are the same weight, and stored once.

    Args:
        by_content: names do not tell: those of the same type, shape and values are the same weight.

    Raises:
        StorageError: the disk refused.
    """
    import onnx_ir as ir

    if len(models) == 1:
        for path, model in models.items():
            save(model, Path(path))
        return
    folder = Path(next(iter(models))).parent
    values = [value for model in models.values() for value in _weights(model)]
    identities = [_content(value) if by_content else _identity(value) for value in values]
    unique: dict[tuple[object, ...], ir.TensorProtocol] = {}
    for identity, value in zip(identities, values, strict=True):
        assert value.const_value is not None
        unique.setdefault(identity, value.const_value)
    with writing(folder):
        stored = ir.external_data.convert_tensors_to_external(list(unique.values()), folder, WEIGHTS_FILE)
        places = dict(zip(unique, stored, strict=True))
        for identity, value in zip(identities, values, strict=True):
            value.const_value = places[identity]
        for path, model in models.items():
            ir.save(model, path)


def _weights(model: ir.Model) -> list[ir.Value]:
    return [
        value
        for value in model.graph.initializers.values()
        if value.const_value is not None and value.const_value.nbytes > INLINE_BYTES
    ]


def _identity(value: ir.Value) -> tuple[object, ...]:
    """Equal for the same weight in two graphs: parameters by name, what was computed at the trace by its values."""
    tensor = value.const_value
    assert tensor is not None
    traced = not re.match(r"model\.", value.name or "")
    return (value.name, tuple(tensor.shape.numpy()), tensor.tobytes() if traced else b"")


def _content(value: ir.Value) -> tuple[object, ...]:
    """Equal for tensors of equal values."""
    tensor = value.const_value
    assert tensor is not None
    return (tensor.dtype, tuple(tensor.shape.numpy()), hashlib.sha256(tensor.tobytes()).digest())


def rewrite(model: ir.Model, change: Callable[[onnx.ModelProto], onnx.ModelProto], folder: Path) -> None:
    """Let a function of onnx make another graph of a model, whose data files lie in `folder`."""
    import onnx_ir as ir

    changed = ir.from_proto(change(ir.to_proto(model)))
    ir.external_data.set_base_dir(changed.graph, folder)
    model.graph, model.ir_version = changed.graph, max(model.ir_version, changed.ir_version)
    model.functions.clear()


def write_graph(model: ir.Model, path: Path) -> None:
    """Write a graph whose weights already lie beside it; only its references to them are written."""
    import onnx_ir as ir

    with writing(path):
        ir.save(model, path)


def serialized(model: ir.Model) -> bytes:
    """A graph as bytes, with references to the data file where its weights lie."""
    import onnx_ir as ir

    proto = ir.to_proto(model)
    _type_maps(model, proto)
    return bytes(proto.SerializeToString())


def count(model: ir.Model) -> GraphCount:
    """Nodes by operator type (subgraphs included) and bytes of all initializers."""
    nodes = Counter(node.op_type for node in model.graph.all_nodes())
    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    return GraphCount(nodes=dict(nodes.most_common()), weights_bytes=weights, structure=structure(model))


def structure(model: ir.Model) -> str:
    """A digest of everything that decides what a graph costs: equal for two models of one architecture.

    Operators and how they are connected, their integer settings, shapes and types of inputs and weights, and the values
    of 64-bit integers, which are shapes and axes. Other values, and all names, have no part in it.
    """
    numbers: dict[ir.Value | None, int] = {None: 0}
    digest = hashlib.sha256()

    def numbered(value: ir.Value | None) -> int:
        if value not in numbers:
            numbers[value] = len(numbers)
            if value is not None and value.producer() is None:  # an input or a weight
                digest.update(repr((value.dtype, str(value.shape), _integers(value.const_value))).encode())
        return numbers[value]

    for value in model.graph.inputs:
        numbered(value)
    for node in model.graph.all_nodes():
        settings = [(name, _setting(attribute)) for name, attribute in sorted(node.attributes.items())]
        connected = [numbered(value) for value in (*node.inputs, *node.outputs)]
        digest.update(repr((node.domain, node.op_type, connected, settings)).encode())
    return digest.hexdigest()[:16]


def _integers(tensor: ir.TensorProtocol | None) -> object:
    import onnx_ir as ir

    if tensor is None:
        return None
    small = tensor.dtype == ir.DataType.INT64 and tensor.nbytes <= INLINE_BYTES
    return tensor.numpy().tolist() if small else (tensor.dtype, tuple(tensor.shape.numpy()))


def _setting(attribute: ir.Attr) -> object:
    import onnx_ir as ir

    exact = (ir.AttributeType.INT, ir.AttributeType.INTS, ir.AttributeType.STRING, ir.AttributeType.STRINGS)
    if attribute.type == ir.AttributeType.TENSOR:
        return _integers(attribute.as_tensor())
    return attribute.value if attribute.type in exact else None


def shares_cache(model: ir.Model) -> bool:
    """Whether one buffer may be input and output of each KV cache: only GroupQueryAttention reads and writes it."""
    caches = [value for value in model.graph.inputs if kv_cache.is_past(value.name or "")]
    outputs = {value.name: value.producer() for value in model.graph.outputs}
    return bool(caches) and all(
        (writer := outputs.get(kv_cache.present_of(past.name or ""))) is not None
        and writer.op_type == "GroupQueryAttention"
        and [use.node for use in past.uses()] == [writer]
        and past.shape is not None
        and not isinstance(past.shape[kv_cache.TOKENS], int)
        for past in caches
    )


def require_external_data(model: ir.Model, path: Path) -> None:
    """Refuse a graph whose weights are not all there.

    Raises:
        ModelFileError: a data file is missing, or a Git LFS pointer, or ends before a tensor does.
    """
    for tensor in _external(model):
        file = Path(tensor.path)
        if not file.is_file():
            raise ModelFileError(
                f"{path} keeps its weights in {file.name}, which is not beside it.", "Copy both files."
            )
        require_content(file)
        if file.stat().st_size < (tensor.offset or 0) + (tensor.length or 0):
            raise ModelFileError(f"{file} is shorter than {path.name} says.", "It was cut off: copy it again.")


def _external(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    """Tensors in files of their own: initializers and attributes, of subgraphs and functions too."""
    import onnx_ir as ir

    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value.const_value
    for node in chain(model.graph.all_nodes(), *(function.all_nodes() for function in model.functions.values())):
        for attribute in node.attributes.values():
            if isinstance(attribute, ir.Attr) and isinstance(attribute.value, ir.ExternalTensor):
                yield attribute.value


def data_files(model: ir.Model) -> list[Path]:
    """The files that hold the weights of a graph, apart from itself."""
    return sorted({Path(tensor.path) for tensor in _external(model)})


def opset(model: ir.Model) -> int:
    return model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))


def specs(values: list[ir.Value]) -> tuple[TensorSpec, ...]:
    """Name, dtype and dims of graph inputs or outputs; a dimension without a name is ""."""
    return tuple(
        TensorSpec(
            name=value.name or "",
            dtype=value.dtype.numpy().name if value.dtype else "unknown",
            dims=tuple(dim if isinstance(dim, int) else dim.value or "" for dim in value.shape or ()),
            kind=_kind(value),
        )
        for value in values
    )


def _kind(value: ir.Value) -> Literal["tensor", "sequence", "optional"]:
    import onnx_ir as ir

    match value.type:
        case ir.SequenceType():
            return "sequence"
        case ir.OptionalType():
            return "optional"
    return "tensor"


def fix_weights(model: ir.Model) -> None:
    """Take weights off the inputs, among which old files list them: from IR version 4 on those could be replaced."""
    for value in [value for value in model.graph.inputs if value.name in model.graph.initializers]:
        model.graph.inputs.remove(value)
    model.ir_version = max(model.ir_version, 4)


def name_apart(model: ir.Model) -> None:
    """Give every value and node a name of its own; inputs and outputs keep theirs."""
    import onnx_ir.passes.common as passes

    passes.NameFixPass()(model)


def constant(model: ir.Model, name: str, array: object) -> ir.Value:
    """A new initializer, under this name or one like it."""
    import onnx_ir as ir

    tensor = ir.Tensor(array, name=name)  # type: ignore[type-var]
    value = ir.Value(name=name, const_value=tensor, shape=tensor.shape, type=ir.TensorType(tensor.dtype))
    add_initializer(model, value)
    return value


def add_initializer(model: ir.Model, value: ir.Value) -> None:
    """Make a value that no graph owns an initializer, under its name or one like it."""
    while value.name in model.graph.initializers:
        value.name = f"{value.name}+"
    model.graph.register_initializer(value)


def stand_in(old: ir.Value, new: ir.Value) -> None:
    """Let a node's output stand for another one: for all that reads it, and as an output of the graph, by its name."""
    name, outside = old.name, old.is_graph_output()
    new.shape, new.type = old.shape or new.shape, old.type or new.type
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    if outside:
        old.name, new.name = f"{name}/before", name


def transposed(value: ir.Value, name: str) -> ir.Value:
    """A new initializer that is the transpose of another, computed when it is written: nothing is copied before."""
    import numpy as np
    import onnx_ir as ir

    source = value.const_value
    assert source is not None
    rows, columns = source.shape.numpy()
    tensor = ir.LazyTensor(
        lambda: ir.Tensor(np.ascontiguousarray(source.numpy().T), name=name),
        dtype=source.dtype,
        shape=ir.Shape([columns, rows]),
        name=name,
    )
    return ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(source.dtype), const_value=tensor)


def fold_weight_transposes(model: ir.Model, *, shared: bool) -> int:
    """Store weights the way they are multiplied. Returns how many Transpose nodes went away.

    A matrix that something else reads as well (a tied embedding) would have to be stored twice: it is left alone
    unless `shared`.
    """
    import onnx_ir as ir

    graph, folded = model.graph, 0
    for node in list(graph):
        weight = node.inputs[0] if node.op_type == "Transpose" else None
        if weight is None or weight.const_value is None or len(weight.const_value.shape) != 2:
            continue
        if list(node.attributes.get_ints("perm", [1, 0])) == [0, 1]:  # torch moves indexed axes to where they are
            ir.convenience.replace_all_uses_with(node.outputs[0], weight)
            graph.remove(node, safe=True)
            continue
        if not shared and len(weight.uses()) > 1:
            continue
        replacement = transposed(weight, f"{weight.name}.T")
        if replacement.name in graph.initializers:
            replacement = graph.initializers[f"{weight.name}.T"]
        else:
            graph.register_initializer(replacement)
        ir.convenience.replace_all_uses_with(node.outputs[0], replacement)
        graph.remove(node, safe=True)
        if not weight.uses():
            del graph.initializers[weight.name or ""]
        folded += 1
    return folded
