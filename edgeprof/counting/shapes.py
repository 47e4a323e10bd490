"""The shape of every tensor of a graph at one shape of its inputs.

Standard operators are inferred by onnx itself, one node at a time, so that it knows the results of shape arithmetic up
to there; operators of onnxruntime by a table of edgeprof's own. Which branches and bodies run is decided on the way;
their nodes are part of the list (`flatten`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof.counting import control_flow, flatten, known_values
from edgeprof.counting.contrib_shapes import OUTPUTS, RULE_ERRORS, Rule, options
from edgeprof.counting.flatten import Flat, Node
from edgeprof.counting.reading import tensor_in
from edgeprof.counting.shape_errors import mismatch, problem
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
    """Every tensor by name, initializers too. A tensor that could not be inferred is missing, or has no shape.

    >>> from onnx import parser
    >>> model = parser.parse_model('''
    ...     <ir_version: 10, opset_import: ["" : 21]>
    ...     product (float[rows, 4] x, float[4, 3] w) => (float[rows, 3] y) { y = MatMul(x, w) }
    ... ''')
    >>> infer(model, {"x": (2, 4)})["y"]
    Tensor(dtype=1, shape=(2, 3))
    """
    return Inference(model, inputs, known).tensors


def evaluate(
    model: onnx.ModelProto,
    inputs: Mapping[str, tuple[int, ...]],
    most: int,
    known: Mapping[str, Array] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Array]]:
    """As `infer`; and the values of tensors that depend on sizes alone, of up to `most` elements each."""
    inference = Inference(model, inputs, known, most, every_type=True)
    return inference.tensors, inference.values


class Inference:
    """One pass over the nodes that run."""

    def __init__(
        self,
        model: onnx.ModelProto,
        inputs: Mapping[str, tuple[int, ...]],
        known: Mapping[str, Array] | None = None,
        most: int = known_values.LARGEST,
        *,
        every_type: bool = False,
        progress: Progress = silent,
    ) -> None:
        """
        Args:
            inputs: shapes of inputs; of sequences and optionals, shapes of their elements. An input that is not listed
                has the shape that the file states.
            known: values of inputs, where they are known.
            most: most elements of a tensor whose values are computed.
            every_type: compute values of more than a few elements for every type, not for integers (positions) alone.
        """
        from onnx import helper

        self.model, self.most, self.every_type = model, most, every_type
        self.budget = known_values.VALUES_BUDGET  # bytes left for values of many elements
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
            self._input(value, inputs, known or {})
        total = len(model.graph.node)
        for node in flatten.walk(model.graph, self._decide, self._initializer):
            if not len(self.flat.node) % EVERY and total:
                progress("inferring shapes", min(len(self.flat.node) / total, 1.0))
            self.flat.node.append(node)
            self._infer(node)

    def _input(
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

    def _initializer(self, name: str, tensor: Any) -> None:
        self.flat.stored[name] = tensor
        if hasattr(tensor, "indices"):  # a sparse one is as large as its dense equivalent
            self._add(name, Tensor(tensor.values.data_type, tuple(tensor.dims)))
        else:
            self._add(name, Tensor(tensor.data_type, tuple(tensor.dims)))
            self._know(name, tensor)

    def _decide(self, node: Node) -> flatten.Choice:
        return control_flow.choose(node, self.tensors, self.values)

    def _infer(self, node: Node) -> None:
        """Infer one node. A failure is reported where it matters: a node may break any rule of its operator."""
        from onnx import checker, defs, shape_inference

        try:
            self._dispatch(node)
            message = problem(node, [self.tensors.get(name) for name in node.input], self.values)
        except (defs.SchemaError, shape_inference.InferenceError, checker.ValidationError) as failure:
            message = self._mismatch(node, failure)
        except (RuntimeError, *RULE_ERRORS):
            return
        if message:
            self.problems[message] = None

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
        outputs = rule([self.tensors.get(name) for name in node.input], options(node, self.values))
        for name, tensor in zip(node.output, outputs, strict=False):
            if name and tensor is not None:
                self._add(name, Tensor(*tensor))

    def _add(self, name: str, tensor: Tensor) -> None:
        self.tensors[name] = tensor
        if tensor.dtype:
            self.types[name] = _type(tensor)

    def _know(self, name: str, tensor: onnx.TensorProto) -> None:
        """Keep the values of a small tensor, if they are in the file itself."""
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
        """Element types of the outputs of a control flow node, where its bodies state them."""
        for body in flatten.bodies(node).values():
            skip = 1 if node.operator == flatten.LOOP else 0  # the condition stays inside
            for value, name in zip(list(body.output)[skip:], node.output, strict=False):
                kind, tensor = tensor_in(value.type)
                if name and kind == "tensor" and tensor is not None and tensor.elem_type:
                    self._add(name, Tensor(tensor.elem_type, None))

    def _link(self, node: Node) -> None:
        """Pass tensors between a graph and a body."""
        passed, reason = control_flow.link_outputs(node, self.tensors)
        for name, tensor in passed.items():
            self._add(name, tensor)
        for source, name in zip(node.input, node.output, strict=False):
            if source in self.types:
                self.types.setdefault(name, self.types[source])  # sequences and optionals too
            if node.operator == "Identity" and source in self.values:
                self.values[name] = self.values[source]
        if reason:
            self.uncounted.append((node.attributes["of"], reason))

    # --- operators of the standard ---

    def _standard(self, node: Node) -> None:
        if node.proto is None or not all(name in self.types for name in node.input if name):
            return  # an input comes from a node that could not be inferred
        values = [self.values.get(name) for name in node.input]
        small = [array if array is not None and array.size <= known_values.SMALL else None for array in values]
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
        self._evaluate(node, values)

    def _key(self, node: Node, small: Sequence[Array | None]) -> Any:
        """All that determines the types of a node's outputs, as graphs repeat themselves; None: more than tensors."""
        tensors = [self.tensors.get(name) for name in node.input]
        if node.proto is None or any(name and tensor is None for name, tensor in zip(node.input, tensors, strict=True)):
            return None
        options = tuple(attribute.SerializeToString() for attribute in node.proto.attribute)
        values = tuple(array.tobytes() if array is not None else None for array in small)
        return node.operator, tuple(tensors), options, values, tuple(map(bool, node.output))

    def _by_onnx(self, node: Node, proto: onnx.NodeProto, small: Sequence[Array | None]) -> None:
        from onnx import numpy_helper, shape_inference

        domain = ML if "::" in node.operator else ""
        local = dict(zip(proto.input, node.input, strict=True))
        inferred = shape_inference.infer_node_outputs(
            _schema(domain, proto.op_type, self.versions.get(domain, 0)),
            proto,
            {own: self.types[name] for own, name in local.items() if name},
            {
                own: numpy_helper.from_array(array)
                for own, array in zip(proto.input, small, strict=True)
                if array is not None
            },
            opset_imports=self.opsets,
            ir_version=self.model.ir_version,
        )
        for own, name in zip(proto.output, node.output, strict=True):
            if name and own in inferred:
                self._add_type(name, inferred[own])

    def _add_type(self, name: str, kind: onnx.TypeProto) -> None:
        if kind.HasField("tensor_type") and kind.tensor_type.elem_type:
            self._add(name, Tensor(kind.tensor_type.elem_type, _shape(kind.tensor_type)))
        else:
            self.types[name] = kind

    def _mismatch(self, node: Node, failure: Exception) -> str:
        """Why onnx refuses a node's shapes, so that no run can succeed. Range is an exception: runtimes accept vectors
        of one number."""
        if node.operator == "Range":
            self._evaluate(node, [self.values.get(name) for name in node.input])
            return ""
        inputs = [self.tensors.get(name) for name in node.input if name]
        sized = all(one is not None and one.shape is not None for one in inputs)
        return mismatch(node, inputs) if sized and "[ShapeInferenceError]" in str(failure) else ""

    def _evaluate(self, node: Node, arrays: Sequence[Array | None]) -> None:
        """Compute a node from known values: shape arithmetic."""
        if node.operator in ("Shape", "Size"):
            self._shape_or_size(node)
            return
        if not arrays or any(array is None and name for name, array in zip(node.input, arrays, strict=True)):
            return
        options = {key: _plain(value) for key, value in node.attributes.items()}
        if node.operator == "Split" and len(node.output) > 1:
            options.setdefault("num_outputs", len(node.output))  # the number of outputs in old opsets
        for name, array in zip(node.output, self._computed(node, arrays, options), strict=False):
            if name and array is not None:
                known = self.tensors.get(name)  # numpy sums integers of 32 bits into 64
                dtype = known.dtype if known is not None else _dtype(array.dtype)
                self.values[name] = array.astype(_numpy(dtype), copy=False)
                self._add(name, Tensor(dtype, array.shape))
                self.budget -= array.nbytes if array.size > known_values.SMALL else 0

    def _computed(self, node: Node, arrays: Sequence[Array | None], options: dict[str, Any]) -> Sequence[Array | None]:
        """Results within the bytes that are left for values, whatever the operator."""
        result = self.tensors.get(node.output[0])
        many = self.every_type or (result is not None and result.dtype in INDICES)
        most = min(self.most, max(self.budget, 0) // WIDEST) if many else known_values.SMALL
        return known_values.compute(node.operator, arrays, options, max(most, known_values.SMALL))

    def _shape_or_size(self, node: Node) -> None:
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
    """The type of a sequence or an optional; `shape` is that of its elements, if known."""
    from onnx import helper

    copy = type(kind)()
    copy.CopyFrom(kind)
    _, tensor = tensor_in(copy)
    if shape is not None and tensor is not None and tensor.elem_type:
        tensor.CopyFrom(helper.make_tensor_type_proto(tensor.elem_type, shape).tensor_type)
    return copy


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
    """The schema of an operator in an operator set.

    Where onnx infers nothing in that version, or does not have the operator yet (optimizers write new ones into files
    of an older operator set), the schema of a later version.

    Raises:
        SchemaError: onnx does not know the operator.
    """
    from onnx import defs

    known = _schemas().get((domain, name), [])
    current = [one for one in known if one.since_version <= version][-1:]
    later = [one for one in known if one.since_version > version]
    chosen = next((one for one in (*current, *later) if one.has_type_and_shape_inference_function), None)
    if chosen is None:
        raise defs.SchemaError(f"onnx infers nothing of {name}")
    return chosen


@cache
def _schemas() -> dict[tuple[str, str], list[Any]]:
    from onnx import defs

    schemas: dict[tuple[str, str], list[Any]] = {}
    for schema in sorted(defs.get_all_schemas_with_history(), key=lambda one: one.since_version):
        schemas.setdefault((schema.domain, schema.name), []).append(schema)
    return schemas
