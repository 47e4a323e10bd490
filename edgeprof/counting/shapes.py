"""The shape of every tensor of a graph at one shape of its inputs.

Standard operators by onnx's own shape inference, one node at a time, so that it can be told what shape arithmetic has
come to so far; operators of onnxruntime by a table of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgeprof.counting import values
from edgeprof.counting.contrib import OUTPUTS, UNFIT, Rule
from edgeprof.counting.reading import attributes, operator

if TYPE_CHECKING:
    import onnx

    from edgeprof.counting.values import Array

BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}


class Tensor(NamedTuple):
    """An element type of ONNX and a shape; None where it depends on data."""

    dtype: int
    shape: tuple[int, ...] | None

    @property
    def size(self) -> int:
        return prod(self.shape) if self.shape is not None else 0

    @property
    def nbytes(self) -> int:
        return stored_bytes(self.dtype, self.size)


def stored_bytes(dtype: int, elements: int) -> int:
    from onnx import TensorProto, helper

    bits = BITS.get(TensorProto.DataType.Name(dtype))
    if bits:
        return -(-elements * bits // 8)
    return elements * int(helper.tensor_dtype_to_np_dtype(dtype).itemsize)


def infer(model: onnx.ModelProto, inputs: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Every tensor by name, initializers too. What could not be inferred is not there, or has no shape."""
    return _Inference(model, inputs).run()


def evaluate(
    model: onnx.ModelProto, inputs: Mapping[str, tuple[int, ...]], most: int
) -> tuple[dict[str, Tensor], dict[str, Array]]:
    """As `infer`; and what those tensors hold that depend on sizes alone, of up to `most` elements each."""
    inference = _Inference(model, inputs, most)
    return inference.run(), inference.values


class _Inference:
    def __init__(self, model: onnx.ModelProto, inputs: Mapping[str, tuple[int, ...]], most: int = values.SMALL) -> None:
        from onnx import helper

        self.model, self.most = model, most
        self.opsets = [helper.make_opsetid(opset.domain, opset.version) for opset in model.opset_import]
        self.versions = {opset.domain or "ai.onnx": opset.version for opset in model.opset_import}
        self.tensors: dict[str, Tensor] = {}
        self.types: dict[str, Any] = {}
        self.values: dict[str, Array] = {}
        for tensor in model.graph.initializer:
            self._add(tensor.name, Tensor(tensor.data_type, tuple(tensor.dims)))
            self._know(tensor.name, tensor)
        for value in model.graph.input:
            if value.name in inputs:
                self._add(value.name, Tensor(value.type.tensor_type.elem_type, tuple(inputs[value.name])))

    def run(self) -> dict[str, Tensor]:
        for node in self.model.graph.node:
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                self._constant(node)
            elif rule := OUTPUTS.get(operator(node)):
                self._contrib(node, rule)
            elif node.domain in ("", "ai.onnx"):
                self._standard(node)
        return self.tensors

    def _contrib(self, node: onnx.NodeProto, rule: Rule) -> None:
        found = [self.tensors.get(name) for name in node.input]
        try:
            made = rule(found, attributes(node))
        except UNFIT:
            return  # what is not inferred is reported where it matters
        for name, tensor in zip(node.output, made, strict=False):
            if name and tensor is not None:
                self._add(name, Tensor(*tensor))

    def _add(self, name: str, tensor: Tensor) -> None:
        from onnx import helper

        self.tensors[name] = tensor
        self.types[name] = helper.make_tensor_type_proto(tensor.dtype, tensor.shape)

    def _know(self, name: str, tensor: onnx.TensorProto) -> None:
        """Remember what a small tensor holds, if it lies in the file itself."""
        from onnx import TensorProto, numpy_helper

        if tensor.data_location != TensorProto.EXTERNAL and prod(tensor.dims) <= values.SMALL:
            self.values[name] = numpy_helper.to_array(tensor)

    def _constant(self, node: onnx.NodeProto) -> None:
        from onnx import TensorProto, helper

        (name, value), *_ = attributes(node).items()
        array = None if isinstance(value, TensorProto) else np.asarray(value)
        if array is None:
            self._add(node.output[0], Tensor(value.data_type, tuple(value.dims)))
            self._know(node.output[0], value)
        elif array.dtype.kind in "if":
            array = array.astype(np.float32 if name.startswith("value_float") else np.int64)
            self._add(node.output[0], Tensor(helper.np_dtype_to_tensor_dtype(array.dtype), array.shape))
            self.values[node.output[0]] = array

    def _standard(self, node: onnx.NodeProto) -> None:
        from onnx import defs, numpy_helper, shape_inference

        if not all(name in self.types for name in node.input if name):
            return  # comes from a node that could not be inferred
        known = {name: numpy_helper.from_array(self.values[name]) for name in node.input if name in self.values}
        try:
            schema = defs.get_schema(node.op_type, self.versions.get("ai.onnx", 0))
            found = shape_inference.infer_node_outputs(
                schema,
                node,
                {name: self.types[name] for name in node.input if name},
                known,
                opset_imports=self.opsets,
                ir_version=self.model.ir_version,
            )
        except (defs.SchemaError, shape_inference.InferenceError, RuntimeError):
            return  # what is not inferred is reported where it matters
        for name, kind in found.items():
            if kind.HasField("tensor_type") and kind.tensor_type.elem_type:
                self.types[name] = kind
                self.tensors[name] = Tensor(kind.tensor_type.elem_type, _shape(kind.tensor_type))
        self._evaluate(node)

    def _evaluate(self, node: onnx.NodeProto) -> None:
        """Shape arithmetic: what a node makes of values that are known."""
        from onnx import helper

        if node.op_type in ("Shape", "Size"):
            self._measure(node)
            return
        arrays = [self.values.get(name) for name in node.input]
        if any(array is None and name for name, array in zip(node.input, arrays, strict=True)):
            return
        if node.op_type == "Cast":
            made: Sequence[Array | None] = [_cast(arrays[0], self.tensors[node.output[0]].dtype)]
        else:
            options = {key: _plain(value) for key, value in attributes(node).items()}
            if node.op_type == "Split" and len(node.output) > 1:
                options.setdefault("num_outputs", len(node.output))  # told by the outputs in old opsets
            made = values.compute(node.op_type, arrays, options, self.most)
        for name, array in zip(node.output, made, strict=False):
            if name and array is not None:
                self.values[name] = array
                self._add(name, Tensor(helper.np_dtype_to_tensor_dtype(array.dtype), array.shape))

    def _measure(self, node: onnx.NodeProto) -> None:
        tensor = self.tensors.get(node.input[0])
        if tensor is None or tensor.shape is None:
            return
        if node.op_type == "Size":
            self.values[node.output[0]] = np.asarray(tensor.size, np.int64)
            return
        options = attributes(node)
        span = slice(options.get("start", 0), options.get("end"))
        self.values[node.output[0]] = np.asarray(tensor.shape[span], np.int64)


def _shape(kind: Any) -> tuple[int, ...] | None:
    if not kind.HasField("shape") or not all(dim.HasField("dim_value") for dim in kind.shape.dim):
        return None
    return tuple(dim.dim_value for dim in kind.shape.dim)


def _cast(array: Array | None, dtype: int) -> Array | None:
    from onnx import helper

    return None if array is None else array.astype(helper.tensor_dtype_to_np_dtype(dtype))


def _plain(value: Any) -> Any:
    """An attribute that is a tensor, as an array."""
    from onnx import TensorProto, numpy_helper

    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value
