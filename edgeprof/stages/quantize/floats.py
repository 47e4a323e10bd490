"""Weights and activations in 16 bits. Only the graph is changed here: weights are converted while they are written.

Inputs and outputs stay fp32, so that callers need no change; only with fp16 is the KV cache 16-bit as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgeprof.errors import QuantizationError
from edgeprof.kv_cache import is_past, is_present
from edgeprof.process import Progress
from edgeprof.stages import graph
from edgeprof.stages.quantize.job import QuantizationJob

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

OVERFLOWING = ("Pow", "ReduceSum", "ReduceSumSquare", "ReduceMean", "ReduceL2", "Exp", "CumSum")
"""Sums and powers in decomposed norms and softmaxes: they can exceed 65,504, the largest number in fp16."""

MOVEMENT = ("Gather", "Reshape", "Transpose", "Concat", "Split", "Slice", "Squeeze", "Unsqueeze", "Identity")
"""Operators that only move data, and that the CPU provider has for bf16."""

OWN_TYPE = (
    "Cast",
    "CastLike",
    "ConstantOfShape",
    "DequantizeLinear",
    "EyeLike",
    "RandomNormalLike",
    "RandomUniformLike",
)
"""Operators whose result type does not follow from their inputs."""

FIRST_INPUT_TYPE = (
    *("LayerNormalization", "SimplifiedLayerNormalization", "SkipLayerNormalization", "RMSNormalization"),
    *("SkipSimplifiedLayerNormalization", "GroupQueryAttention", "MultiHeadAttention", "Attention", "RotaryEmbedding"),
    *("FastGelu", "Gelu", "BiasGelu", "QuickGelu", "BiasSplitGelu", "FusedMatMul", "FusedGemm", "FusedConv"),
)
"""Operators of onnxruntime whose results have the type of their first input."""

LARGEST = {"FLOAT16": 65504.0, "BFLOAT16": 3.3895314e38}


def fp16(job: QuantizationJob, _progress: Progress) -> None:
    import onnx_ir as ir

    cached = [value for value in (*job.model.graph.inputs, *job.model.graph.outputs) if _is_cache(value)]
    _Conversion(job.model, ir.DataType.FLOAT16, lambda operator: operator not in OVERFLOWING, cached).run()


def bf16(job: QuantizationJob, _progress: Progress) -> None:
    """Store weights in bf16 and compute in fp32: onnxruntime's CPU provider has no bf16 arithmetic."""
    import onnx_ir as ir

    _Conversion(job.model, ir.DataType.BFLOAT16, MOVEMENT.__contains__, []).run()


def kept_fp32(model: ir.Model) -> dict[str, int]:
    """Number of nodes that compute in fp32, by operator type."""
    import onnx_ir as ir

    kept: Counter[str] = Counter()
    for node in model.graph:
        values = [value for value in (*node.inputs, *node.outputs) if value is not None]
        if node.op_type not in ("Cast", "Shape", "Size") and any(value.dtype == ir.DataType.FLOAT for value in values):
            kept[node.op_type] += 1
    return dict(kept.most_common())


def _is_cache(value: ir.Value) -> bool:
    import onnx_ir as ir

    name = value.name or ""
    return value.dtype == ir.DataType.FLOAT and (is_past(name) or is_present(name))


class _Conversion:
    """Turns every fp32 value into `half`, with casts around the nodes that do not support it."""

    def __init__(
        self, model: ir.Model, half: ir.DataType, computes: Callable[[str], bool], cached: list[ir.Value]
    ) -> None:
        import onnx_ir as ir

        self.model = model
        self.half = half
        self.full = ir.DataType.FLOAT
        self.computes = computes
        self.cached = cached
        self.casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def run(self) -> None:
        import onnx_ir.passes.common as passes

        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(self.model)
        _require_types(self.model)
        for value in self.cached:
            if value.is_graph_input():
                value.dtype = self.half
        for value in list(self.model.graph.initializers.values()):
            if value.dtype == self.full and self._becomes_half(value):
                _halve(value, self.half)
        for node in list(self.model.graph):
            self._convert(node)
        self._convert_outputs()
        passes.RemoveUnusedNodesPass()(self.model)

    def _becomes_half(self, value: ir.Value) -> bool:
        assert value.const_value is not None
        if value.const_value.nbytes > graph.INLINE_BYTES or len(value.const_value.shape) > 1:
            return True
        return any(self._halves(use.node) and _is_variable(use.node, use.idx) for use in value.uses())

    def _convert(self, node: ir.Node) -> None:
        halves = self._halves(node)
        for position, value in enumerate(node.inputs):
            if value is not None and value.dtype in (self.full, self.half):
                dtype = self.half if halves and _is_variable(node, position) else self.full
                node.replace_input_with(position, self._as(dtype, value, node))
        if halves:
            for position, value in enumerate(node.outputs):
                if value.dtype == self.full and _is_variable_output(node, position):
                    value.dtype = self.half

    def _convert_outputs(self) -> None:
        cached = {value.name for value in self.cached}
        for position, value in enumerate(self.model.graph.outputs):
            dtype = self.half if value.name in cached else self.full
            if value.dtype in (self.full, self.half) and value.dtype != dtype:
                result, name = self.casts.get((value, dtype)), value.name
                if result is None:
                    result = self._cast(dtype, value)
                    self.model.graph.append(result.producer())  # type: ignore[arg-type]
                value.name, result.name = f"{name}/computed", name
                self.model.graph.outputs[position] = result

    def _halves(self, node: ir.Node) -> bool:
        if node.op_type in OWN_TYPE or not self.computes(node.op_type) or not _has_tensors_only(node):
            return False
        schema = _schema(node)
        if schema is None:
            return False
        name = f"tensor({self.half.name.lower()})"
        variables = {item.type_param_str: item.allowed_type_strs for item in schema.type_constraints}
        real = [p for p, value in enumerate(node.inputs) if value is not None and value.dtype in (self.full, self.half)]
        types = {_type(schema, position) for position in real} & set(variables)
        return bool(types) and all(name in variables[variable] for variable in types)

    def _as(self, dtype: ir.DataType, value: ir.Value, node: ir.Node) -> ir.Value:
        if value.dtype == dtype:
            return value
        if (value, dtype) not in self.casts:
            self.casts[value, dtype] = result = self._cast(dtype, value)
            self.model.graph.insert_before(node, result.producer())  # type: ignore[arg-type]
        return self.casts[value, dtype]

    def _cast(self, dtype: ir.DataType, value: ir.Value) -> ir.Value:
        import onnx_ir as ir

        name = f"{value.name}/{dtype.name.lower()}"
        result: ir.Value = ir.node("Cast", [value], {"to": dtype}, name=name).outputs[0]
        result.name, result.type, result.shape = name, ir.TensorType(dtype), value.shape
        return result


def _has_tensors_only(node: ir.Node) -> bool:
    """Whether a node neither reads nor returns a sequence, whose elements cannot be cast where it is an output."""
    import onnx_ir as ir

    values = (value for value in (*node.inputs, *node.outputs) if value is not None)
    return all(value.type is None or isinstance(value.type, ir.TensorType) for value in values)


def _is_variable(node: ir.Node, position: int) -> bool:
    """Whether the schema lets the type of an input vary; otherwise it is always fp32."""
    schema = _schema(node)
    return schema is not None and not _type(schema, position).startswith("tensor(")


def _is_variable_output(node: ir.Node, position: int) -> bool:
    """Whether an output has the type of an input; the mean of a LayerNormalization, for one, does not."""
    schema = _schema(node)
    assert schema is not None
    outputs = schema.outputs
    return outputs[min(position, len(outputs) - 1)].type_str in {item.type_str for item in schema.inputs}


def _type(schema: onnx.defs.OpSchema, position: int) -> str:
    return str(schema.inputs[min(position, len(schema.inputs) - 1)].type_str)


def _schema(node: ir.Node) -> onnx.defs.OpSchema | None:
    """The schema of a standard operator; None for others, which stay as they are."""
    import onnx

    if node.domain:
        return None
    assert node.graph is not None
    try:
        return onnx.defs.get_schema(node.op_type, node.graph.opset_imports[""], "")
    except onnx.defs.SchemaError:  # an operator of onnxruntime in the standard's domain
        return None


def _require_types(model: ir.Model) -> None:
    """Infer the type of every value.

    Raises:
        QuantizationError: a type is not known, or there are subgraphs or maps, which 16-bit recipes do not support.
    """
    import onnx_ir.passes.common as passes

    if model.meta.get(graph.MAPS):
        raise QuantizationError(
            f"The model has maps ({', '.join(model.meta[graph.MAPS])}), which 16-bit recipes do not support.",
            "Try a recipe for weights: int8 or int4.",
        )
    if any(value.dtype is None for node in model.graph for value in node.outputs if value.name):
        passes.ShapeInferencePass()(model)
        _follow_types(model)
    for node in model.graph.all_nodes():
        if node.graph is not model.graph:
            raise QuantizationError(
                f"The model has subgraphs ({node.op_type} is in one), which 16-bit recipes do not support.",
                "Try a recipe for weights: int8 or int4.",
            )
        for value in node.outputs:
            if value.dtype is None and value.uses():
                raise QuantizationError(
                    f"The type of {value.name}, a result of {node.op_type}, is not known.",
                    "Try a recipe for weights: int8 or int4.",
                )


def _follow_types(model: ir.Model) -> None:
    """Infer types behind operators that onnx does not know, from their first input; and types of sequences."""
    import onnx_ir as ir

    for node in model.graph:
        schema, first = _schema(node), node.inputs[0] if node.inputs else None
        types = {} if schema is None else {_type(schema, position): value for position, value in enumerate(node.inputs)}
        for position, output in enumerate(node.outputs):
            like = first if node.op_type in FIRST_INPUT_TYPE else None
            if schema is not None:
                variable = str(schema.outputs[min(position, len(schema.outputs) - 1)].type_str)
                like = types.get(variable)
                if output.dtype is not None and _is_sequence(schema, variable):  # onnx_ir mistakes them for tensors
                    output.type = ir.SequenceType(ir.TensorType(output.dtype))
            if output.dtype is None and like is not None and like.dtype is not None:
                output.type = ir.TensorType(like.dtype)


def _is_sequence(schema: onnx.defs.OpSchema, variable: str) -> bool:
    allowed = {item.type_param_str: item.allowed_type_strs for item in schema.type_constraints}
    return all(kind.startswith("seq(") for kind in allowed.get(variable, [variable]))


def _halve(value: ir.Value, half: ir.DataType) -> None:
    """Convert an initializer when it is written; numbers beyond the range of half become its largest number."""
    import numpy as np
    import onnx_ir as ir

    source, largest = value.const_value, LARGEST[half.name]
    assert source is not None

    def converted() -> ir.TensorProtocol:
        array = source.numpy()
        clipped = np.where(np.isfinite(array), np.clip(array, -largest, largest), array)
        return ir.tensor(clipped.astype(half.numpy()), dtype=half, name=value.name)

    shape = ir.Shape(source.shape.numpy())
    value.const_value = ir.LazyTensor(converted, dtype=half, shape=shape, name=value.name)
    value.dtype = half
