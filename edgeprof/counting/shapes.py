"""The shape of every tensor of a graph at one shape of its inputs.

Standard operators by onnx's own shape inference, one node at a time, so that it can be told what shape arithmetic has
come to so far; operators of onnxruntime by a table of ours. What control flow runs is decided on the way, and stands
in the list of nodes (`flattening`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof.counting import control_flow, flatten, known_values
from edgeprof.counting.contrib_shapes import OUTPUTS, UNFIT, Rule, options
from edgeprof.counting.flatten import Flat, Node
from edgeprof.counting.reading import tensor_in
from edgeprof.counting.shape_errors import misfit, problem
from edgeprof.counting.tensors import Tensor
from edgeprof.counting.weights import constant_tensor
from edgeprof.process import Progress, silent

if TYPE_CHECKING:
    import onnx

    from edgeprof.counting.known_values import Array

STANDARD, ML = "ai.onnx", "ai.onnx.ml"
FLOAT, INT64 = 1, 7  # TensorProto
INDICES = {6, 7}  # INT32, INT64
WIDEST = 16  # bytes of an element
EVERY = 1000  # nodes between two reports of progress


def infer(
    model: onnx.ModelProto, inputs: Mapping[str, tuple[int, ...]], known: Mapping[str, Array] | None = None
) -> dict[str, Tensor]:
    """Every tensor by name, initializers too. What could not be inferred is not there, or has no shape."""
    return Inference(model, inputs, known).tensors


def evaluate(
    model: onnx.ModelProto,
    inputs: Mapping[str, tuple[int, ...]],
    most: int,
    known: Mapping[str, Array] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Array]]:
    """As `infer`; and what those tensors hold that depend on sizes alone, of up to `most` elements each."""
    found = Inference(model, inputs, known, most, every_type=True)
    return found.tensors, found.values


class Inference:
    """One pass over the nodes that run."""

    def __init__(
        self,
        model: onnx.ModelProto,
        inputs: Mapping[str, tuple[int, ...]],
        known: Mapping[str, Array] | None = None,
        most: int = known_values.MOST,
        *,
        every_type: bool = False,
        progress: Progress = silent,
    ) -> None:
        """
        Args:
            inputs: shapes of inputs, of sequences and optionals those of their elements; one that is not here has the
                shape that the file states.
            known: what inputs hold, where that is known.
            most: elements up to which values are computed.
            every_type: of more than a few elements, compute not only integers: positions.
        """
        from onnx import helper

        self.model, self.most, self.every_type = model, most, every_type
        self.room = known_values.ROOM  # bytes left for values of many elements
        self.inferred: dict[Any, list[Tensor | None]] = {}
        self.opsets = [helper.make_opsetid(opset.domain, opset.version) for opset in model.opset_import]
        self.versions = {one.domain if one.domain != STANDARD else "": one.version for one in model.opset_import}
        self.tensors: dict[str, Tensor] = {}
        self.types: dict[str, Any] = {}
        self.values: dict[str, Array] = {}
        self.problems: dict[str, None] = {}
        self.uncounted: list[tuple[str, str]] = []
        self.flat = Flat([], model.graph.input, model.graph.output)
        for value in model.graph.input:
            self._given(value, inputs, known or {})
        total = len(model.graph.node)
        for node in flatten.walk(model.graph, self._decide, self._hold):
            if not len(self.flat.node) % EVERY and total:
                progress("inferring shapes", min(len(self.flat.node) / total, 1.0))
            self.flat.node.append(node)
            self._infer(node)

    def _given(
        self, value: onnx.ValueInfoProto, inputs: Mapping[str, tuple[int, ...]], known: Mapping[str, Array]
    ) -> None:
        kind, tensor = tensor_in(value.type)
        if kind != "tensor":
            self.types[value.name] = _of_elements(value.type, inputs.get(value.name))
        elif value.name in inputs and tensor is not None:
            self._add(value.name, Tensor(tensor.elem_type, tuple(inputs[value.name])))
        elif tensor is not None and tensor.elem_type:
            self._add(value.name, Tensor(tensor.elem_type, _shape(tensor)))
        if value.name in known:
            self.values[value.name] = np.asarray(known[value.name])

    def _hold(self, name: str, tensor: Any) -> None:
        self.flat.stored[name] = tensor
        if hasattr(tensor, "indices"):  # a sparse one is as large as what it stands for
            self._add(name, Tensor(tensor.values.data_type, tuple(tensor.dims)))
        else:
            self._add(name, Tensor(tensor.data_type, tuple(tensor.dims)))
            self._know(name, tensor)

    def _decide(self, node: Node) -> flatten.Choice:
        return control_flow.choose(node, self.tensors, self.values)

    def _infer(self, node: Node) -> None:
        """What is not inferred is reported where it matters: a node may break any rule of its operator."""
        from onnx import checker, defs, shape_inference

        try:
            self._dispatch(node)
            found = problem(node, [self.tensors.get(name) for name in node.input], self.values)
        except (defs.SchemaError, shape_inference.InferenceError, checker.ValidationError) as failure:
            found = self._misfit(node, failure)
        except (RuntimeError, *UNFIT):
            return
        if found:
            self.problems[found] = None

    def _dispatch(self, node: Node) -> None:
        if node.reason:
            self.uncounted.append((node.operator, node.reason))
            self._declared(node)
        elif node.operator == "Constant":
            self._constant(node)
        elif node.link:
            self._link(node)
        elif rule := OUTPUTS.get(node.operator):
            self._by_table(node, rule)
        elif "::" not in node.operator or node.operator.startswith(f"{ML}::"):
            self._standard(node)

    def _by_table(self, node: Node, rule: Rule) -> None:
        made = rule([self.tensors.get(name) for name in node.input], options(node, self.values))
        for name, tensor in zip(node.output, made, strict=False):
            if name and tensor is not None:
                self._add(name, Tensor(*tensor))

    def _add(self, name: str, tensor: Tensor) -> None:
        self.tensors[name] = tensor
        if tensor.dtype:
            self.types[name] = _type(tensor)

    def _know(self, name: str, tensor: onnx.TensorProto) -> None:
        """Remember what a small tensor holds, if it lies in the file itself."""
        from onnx import TensorProto, numpy_helper

        most = self.most if tensor.data_type in INDICES else known_values.SMALL
        if tensor.data_location != TensorProto.EXTERNAL and prod(tensor.dims) <= most:
            self.values[name] = numpy_helper.to_array(tensor)

    def _constant(self, node: Node) -> None:
        from onnx import TensorProto

        tensor, _ = constant_tensor(node)
        for name in node.output:
            self._add(name, tensor)
            for value in node.attributes.values():
                if isinstance(value, TensorProto):
                    self._know(name, value)
                elif tensor.dtype in (FLOAT, INT64):
                    self.values[name] = np.asarray(value, np.float32 if tensor.dtype == FLOAT else np.int64)

    # --- control flow ---

    def _declared(self, node: Node) -> None:
        """Element types of what a node of control flow makes, where its bodies state them."""
        for made in flatten.bodies(node).values():
            skip = 1 if node.operator == flatten.LOOP else 0  # the condition stays inside
            for value, name in zip(list(made.output)[skip:], node.output, strict=False):
                kind, tensor = tensor_in(value.type)
                if name and kind == "tensor" and tensor is not None and tensor.elem_type:
                    self._add(name, Tensor(tensor.elem_type, None))

    def _link(self, node: Node) -> None:
        """Between a graph and a body: what goes in and comes out."""
        made, missed = control_flow.linked(node, self.tensors)
        for name, tensor in made.items():
            self._add(name, tensor)
        for source, name in zip(node.input, node.output, strict=False):
            if source in self.types:
                self.types.setdefault(name, self.types[source])  # sequences and optionals too
            if node.operator == "Identity" and source in self.values:
                self.values[name] = self.values[source]
        if missed:
            self.uncounted.append((node.attributes["of"], missed))

    # --- operators of the standard ---

    def _standard(self, node: Node) -> None:
        if node.proto is None or not all(name in self.types for name in node.input if name):
            return  # comes from a node that could not be inferred
        held = [self.values.get(name) for name in node.input]
        small = [array if array is not None and array.size <= known_values.SMALL else None for array in held]
        key = self._key(node, small)
        if key is None:
            self._by_onnx(node, node.proto, small)
        else:
            if key not in self.inferred:
                self._by_onnx(node, node.proto, small)
                self.inferred[key] = [self.tensors.get(name) for name in node.output]
            for name, tensor in zip(node.output, self.inferred[key], strict=True):
                if name and tensor is not None:
                    self._add(name, tensor)
        self._evaluate(node, held)

    def _key(self, node: Node, small: Sequence[Array | None]) -> Any:
        """What decides about the types of a node's outputs: graphs repeat themselves. None: more than tensors do."""
        tensors = [self.tensors.get(name) for name in node.input]
        if node.proto is None or any(name and tensor is None for name, tensor in zip(node.input, tensors, strict=True)):
            return None
        options = tuple(attribute.SerializeToString() for attribute in node.proto.attribute)
        told = tuple(array.tobytes() if array is not None else None for array in small)
        return node.operator, tuple(tensors), options, told, tuple(map(bool, node.output))

    def _by_onnx(self, node: Node, proto: onnx.NodeProto, small: Sequence[Array | None]) -> None:
        from onnx import numpy_helper, shape_inference

        domain = ML if "::" in node.operator else ""
        local = dict(zip(proto.input, node.input, strict=True))
        found = shape_inference.infer_node_outputs(
            _schema(domain, proto.op_type, self.versions.get(domain, 0)),
            proto,
            {mine: self.types[name] for mine, name in local.items() if name},
            {
                mine: numpy_helper.from_array(array)
                for mine, array in zip(proto.input, small, strict=True)
                if array is not None
            },
            opset_imports=self.opsets,
            ir_version=self.model.ir_version,
        )
        for mine, name in zip(proto.output, node.output, strict=True):
            if name and mine in found:
                self._add_type(name, found[mine])

    def _add_type(self, name: str, kind: onnx.TypeProto) -> None:
        if kind.HasField("tensor_type") and kind.tensor_type.elem_type:
            self._add(name, Tensor(kind.tensor_type.elem_type, _shape(kind.tensor_type)))
        else:
            self.types[name] = kind

    def _misfit(self, node: Node, failure: Exception) -> str:
        """Shapes that onnx refuses let no run succeed; but for Range, of which runtimes take vectors of one number."""
        if node.operator == "Range":
            self._evaluate(node, [self.values.get(name) for name in node.input])
            return ""
        found = [self.tensors.get(name) for name in node.input if name]
        sized = all(one is not None and one.shape is not None for one in found)
        return misfit(node, found) if sized and "[ShapeInferenceError]" in str(failure) else ""

    def _evaluate(self, node: Node, arrays: Sequence[Array | None]) -> None:
        """Shape arithmetic: what a node makes of values that are known."""
        if node.operator in ("Shape", "Size"):
            self._measure(node)
            return
        if not arrays or any(array is None and name for name, array in zip(node.input, arrays, strict=True)):
            return
        options = {key: _plain(value) for key, value in node.attributes.items()}
        if node.operator == "Split" and len(node.output) > 1:
            options.setdefault("num_outputs", len(node.output))  # told by the outputs in old opsets
        for name, array in zip(node.output, self._computed(node, arrays, options), strict=False):
            if name and array is not None:
                held = self.tensors.get(name)  # numpy sums integers of 32 bits into 64
                dtype = held.dtype if held is not None else _dtype(array.dtype)
                self.values[name] = array.astype(_numpy(dtype), copy=False)
                self._add(name, Tensor(dtype, array.shape))
                self.room -= array.nbytes if array.size > known_values.SMALL else 0

    def _computed(self, node: Node, arrays: Sequence[Array | None], options: dict[str, Any]) -> Sequence[Array | None]:
        """Within the room that is left, whatever the operator."""
        made = self.tensors.get(node.output[0])
        many = self.every_type or (made is not None and made.dtype in INDICES)
        most = min(self.most, max(self.room, 0) // WIDEST) if many else known_values.SMALL
        return known_values.compute(node.operator, arrays, options, max(most, known_values.SMALL))

    def _measure(self, node: Node) -> None:
        tensor = self.tensors.get(node.input[0])
        if tensor is None or tensor.shape is None:
            return
        if node.operator == "Size":
            self.values[node.output[0]] = np.asarray(tensor.size, np.int64)
            return
        options = node.attributes
        span = slice(options.get("start", 0), options.get("end"))
        self.values[node.output[0]] = np.asarray(tensor.shape[span], np.int64)


def _of_elements(kind: onnx.TypeProto, shape: tuple[int, ...] | None) -> onnx.TypeProto:
    """The type of a sequence or an optional, of tensors of a shape where that is known."""
    from onnx import helper

    made = type(kind)()
    made.CopyFrom(kind)
    _, tensor = tensor_in(made)
    if shape is not None and tensor is not None and tensor.elem_type:
        tensor.CopyFrom(helper.make_tensor_type_proto(tensor.elem_type, shape).tensor_type)
    return made


def _shape(kind: Any) -> tuple[int, ...] | None:
    if not kind.HasField("shape"):
        return None
    sizes = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
    return sizes if min(sizes, default=0) >= 0 else None


@cache
def _numpy(dtype: int) -> Any:
    from onnx import helper

    return helper.tensor_dtype_to_np_dtype(dtype)


def _plain(value: Any) -> Any:
    """An attribute that is a tensor, as an array."""
    from onnx import TensorProto, numpy_helper

    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


@cache
def _dtype(kind: Any) -> int:
    from onnx import helper

    return helper.np_dtype_to_tensor_dtype(kind)


@lru_cache(100_000)
def _type(tensor: Tensor) -> Any:
    from onnx import helper

    return helper.make_tensor_type_proto(tensor.dtype, tensor.shape)


@cache
def _schema(domain: str, name: str, version: int) -> Any:
    """What onnx knows of an operator in an operator set.

    Where it infers nothing there, or does not know the operator yet (optimizers write new ones into files of an older
    operator set), as it knows it in a later one.

    Raises:
        SchemaError: it does not know it at all.
    """
    from onnx import defs

    known = _schemas().get((domain, name), [])
    held = [one for one in known if one.since_version <= version][-1:]
    later = [one for one in known if one.since_version > version]
    chosen = next((one for one in (*held, *later) if one.has_type_and_shape_inference_function), None)
    if chosen is None:
        raise defs.SchemaError(f"onnx infers nothing of {name}")
    return chosen


@cache
def _schemas() -> dict[tuple[str, str], list[Any]]:
    from onnx import defs

    found: dict[tuple[str, str], list[Any]] = {}
    for schema in sorted(defs.get_all_schemas_with_history(), key=lambda one: one.since_version):
        found.setdefault((schema.domain, schema.name), []).append(schema)
    return found
