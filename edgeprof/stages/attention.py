"""Decompose ONNX's Attention into operators that every execution provider has.

    scores = (Q x scale) x K^T, masked;  Y = softmax(scores) x V

Source: the function of `Attention` in the ONNX operator documentation, operator sets 23 and 24. Its inputs and outputs
are [batch, heads, tokens, width] or [batch, tokens, heads x width]; a boolean mask is true where a query may attend,
any other mask is added to the scores, in their type. The queries are scaled rather than the scores, which are more
numbers and may exceed the range of fp16 before they are scaled.

A query that may attend to no key gets zeros, as in onnxruntime 1.32: where a boolean mask is false for all keys, or an
added mask holds the lowest number of its type or minus infinity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeprof.errors import EdgeprofError
from edgeprof.stages import graph
from edgeprof.stages.replacement import Replacement

if TYPE_CHECKING:
    import onnx_ir as ir

ATTENTION = "Attention"

MASKED = -1e4
"""The score of a masked key: finite in fp32 and fp16, and exp() of it is zero in both."""

MASKED_IN_RANGE = -100.0
"""As MASKED, for quantized scores: a smaller range has finer steps, and exp(-100) is zero as well."""

SUPPORTED = (
    "scale",
    "is_causal",
    "q_num_heads",
    "kv_num_heads",
    "softmax_precision",
    "softcap",
    "qk_matmul_output_mode",
)


def decompose(model: ir.Model, masked: float = MASKED, *, empty_rows: bool = False) -> int:
    """Replace every Attention of the standard domain; returns how many there were.

    Args:
        masked: the score of a masked key.
        empty_rows: give zeros to queries that may attend to no key. Without it their result is arbitrary, for one
            operator less.

    Raises:
        EdgeprofError: one of them uses a feature that is not supported here; the message names it.
    """
    nodes = [node for node in model.graph if node.op_type == ATTENTION and node.domain in ("", "ai.onnx")]
    _require_shapes(model, nodes)
    masks = _Masks(masked, empty_rows)
    for node in nodes:
        _require_supported(node)
        _replace(model, node, masks)
    return len(nodes)


def _require_shapes(model: ir.Model, nodes: list[ir.Node]) -> None:
    """Infer the types and shapes of all inputs: a file need not state them."""
    import onnx_ir.passes.common as passes

    inputs = [value for node in nodes for value in node.inputs if value is not None]
    if any(value.dtype is None or value.shape is None for value in inputs):
        passes.ShapeInferencePass()(model)
    for value in inputs:
        if value.dtype is None or value.shape is None:
            raise EdgeprofError(
                f"The file does not state the shape of {value.name}, which an {ATTENTION} reads.",
                "Save the model with the shapes of its tensors.",
            )


def _require_supported(node: ir.Node) -> None:
    used = [
        *(f"attribute {name}" for name in node.attributes if name not in SUPPORTED),
        *(["softcap"] if node.attributes.get_float("softcap", 0.0) else []),
        *(["nonpad_kv_seqlen"] if len(node.inputs) > 6 and node.inputs[6] is not None else []),
        *(["a mask of whole numbers beside a causal one"] if _adds_whole_numbers(node) else []),
        *(["its matrix of scores as an output"] if len(node.outputs) > 3 and _is_used(node.outputs[3]) else []),
    ]
    if used:
        raise EdgeprofError(
            f"{_label(node)} uses {used[0]}, which edgeprof cannot decompose into other operators.",
            "Use a provider that has the operator, or export the model with attention in smaller operators.",
        )


def _adds_whole_numbers(node: ir.Node) -> bool:
    """Whether an integer mask is added to causal scores, which onnxruntime 1.32 computes wrongly: no decomposition
    could agree with it."""
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    if mask is None or mask.dtype is None or not node.attributes.get_int("is_causal", 0):
        return False
    return mask.dtype.is_integer()


def _label(node: ir.Node) -> str:
    return f"{ATTENTION} '{node.name or node.outputs[0].name}'"


def _is_used(output: ir.Value) -> bool:
    return bool(output.uses()) or output.is_graph_output()


def _replace(model: ir.Model, node: ir.Node, masks: _Masks) -> None:
    import onnx_ir as ir

    steps = _AttentionNodes(model, node)
    query, key, value, mask, *past = (*node.inputs, *[None] * 6)[:6]
    assert query is not None
    assert key is not None
    assert value is not None
    heads, kv_heads = (node.attributes.get_int(name, 0) for name in ("q_num_heads", "kv_num_heads"))
    scale = _scale(node, query, heads or 1)
    heads_merged = bool(heads)
    if heads_merged:
        query, key, value = (
            steps.split_heads(part, count, name)
            for part, count, name in ((query, heads, "q"), (key, kv_heads, "k"), (value, kv_heads, "v"))
        )
    groups = heads // kv_heads if heads_merged else _groups(node, query, key)
    if past[0] is not None and past[1] is not None:
        key = steps.add("Concat", "present_key", [past[0], key], axis=2)
        value = steps.add("Concat", "present_value", [past[1], value], axis=2)
    for output, present in zip(node.outputs[1:3], (key, value), strict=False):
        if _is_used(output):
            graph.stand_in(output, present)
    if groups > 1:
        key, value = steps.repeated(key, groups, "k"), steps.repeated(value, groups, "v")
    dtype = query.dtype or ir.DataType.FLOAT
    query = steps.add("Mul", "q_scaled", [query, steps.number(scale, dtype, "scale")])
    transposed = steps.add("Transpose", "k_transposed", [key], perm=[0, 1, 3, 2])
    scores = steps.add("MatMul", "scores", [query, transposed])
    causal = steps.causal(query, key, bool(past[0])) if node.attributes.get_int("is_causal", 0) else None
    scores = masks.apply(steps, scores, causal, mask)
    weights = steps.add("Softmax", "weights", [scores], axis=-1)
    result = masks.zero_empty_rows(steps, steps.add("MatMul", "mixed", [weights, value]), causal, mask)
    if heads_merged:
        result = steps.merge_heads(result)
    steps.finish(result)


def _scale(node: ir.Node, query: ir.Value, heads: int) -> float:
    """Scale of the scores; the last axis of the query has `heads` heads."""
    scale = node.attributes.get("scale")
    if scale is not None:
        return float(scale.as_float())
    width = query.shape[-1] if query.shape is not None else None
    if not isinstance(width, int):
        raise EdgeprofError(
            f"{_label(node)} is scaled by the width of a head, which the file does not state.",
            "Save the model with the shapes of its tensors.",
        )
    return float(1 / np.sqrt(width // heads))


def _groups(node: ir.Node, query: ir.Value, key: ir.Value) -> int:
    """Heads of queries that share one head of keys."""
    heads, kv_heads = (part.shape[1] if part.shape is not None else None for part in (query, key))
    if heads == kv_heads:
        return 1
    if isinstance(heads, int) and isinstance(kv_heads, int):
        return heads // kv_heads
    raise EdgeprofError(
        f"{_label(node)} has a number of heads that the file does not state.",
        "Save the model with the shapes of its tensors.",
    )


class _Masks:
    """Applies masks to scores. Tensors computed from a mask are shared by all layers."""

    def __init__(self, masked: float, empty_rows: bool) -> None:
        self.masked, self.empty_rows = masked, empty_rows
        self.added: dict[ir.Value, ir.Value] = {}
        self.rows: dict[tuple[ir.Value, bool], ir.Value] = {}

    def apply(
        self, steps: _AttentionNodes, scores: ir.Value, causal: ir.Value | None, mask: ir.Value | None
    ) -> ir.Value:
        import onnx_ir as ir

        dtype = scores.dtype or ir.DataType.FLOAT
        for name, tensor in (("causal", causal), ("mask", mask)):
            if tensor is None:
                continue
            if tensor.dtype == ir.DataType.BOOL:
                number = steps.number(self.masked, dtype, f"{name}_masked")
                scores = steps.add("Where", f"{name}_applied", [tensor, scores, number])
                continue
            if tensor not in self.added:
                # Without infinities, whose sums would be NaN.
                in_type = steps.cast(tensor, dtype, "mask_in_type")
                lowest = steps.number(self.masked, dtype, "mask_lowest")
                self.added[tensor] = steps.add("Clip", "mask_limited", [in_type, lowest])
            scores = steps.add("Add", "masked", [scores, self.added[tensor]])
        return scores

    def zero_empty_rows(
        self, steps: _AttentionNodes, result: ir.Value, causal: ir.Value | None, mask: ir.Value | None
    ) -> ir.Value:
        """Give zeros to queries that may attend to no key; with a causal mask alone there are none."""
        import onnx_ir as ir

        if mask is None or not self.empty_rows:
            return result
        dtype, key = result.dtype or ir.DataType.FLOAT, (mask, causal is not None)
        if key not in self.rows:
            visible = mask
            if mask.dtype != ir.DataType.BOOL:
                lowest = steps.number(float(np.asarray(dtype.min, dtype.numpy())), dtype, "lowest")
                visible = steps.add("Greater", "mask_visible", [steps.cast(mask, dtype, "mask_numbers"), lowest])
            if causal is not None:
                visible = steps.add("And", "visible", [visible, causal])
            any_key = steps.add(
                "ReduceMax",
                "any_key",
                [steps.cast(visible, ir.DataType.FLOAT, "visible_number"), steps.constant(np.array([-1]), "keys")],
            )
            self.rows[key] = steps.cast(any_key, ir.DataType.BOOL, "row")
        return steps.add("Where", "y_rows", [self.rows[key], result, steps.number(0.0, dtype, "nothing")])


class _AttentionNodes(Replacement):
    """Nodes that compute one Attention."""

    def number(self, value: float, dtype: ir.DataType, name: str) -> ir.Value:
        return self.constant(np.asarray(value, dtype.numpy()), name)

    def split_heads(self, merged: ir.Value, heads: int, name: str) -> ir.Value:
        """[batch, tokens, heads x width] -> [batch, heads, tokens, width]"""
        shape = self.constant(np.array([0, 0, heads, -1], np.int64), f"{name}_shape")
        return self.add("Transpose", name, [self.add("Reshape", f"{name}_heads", [merged, shape])], perm=[0, 2, 1, 3])

    def merge_heads(self, parts: ir.Value) -> ir.Value:
        """The reverse of `split_heads`."""
        shape = self.constant(np.array([0, 0, -1], np.int64), "y_shape")
        return self.add("Reshape", "y", [self.add("Transpose", "y_heads", [parts], perm=[0, 2, 1, 3]), shape])

    def repeated(self, part: ir.Value, groups: int, name: str) -> ir.Value:
        """Each head `groups` times: [batch, heads, tokens, width] -> [batch, heads x groups, tokens, width]"""
        sizes = self.add("Shape", f"{name}_sizes", [part], start=0, end=1)
        rest = self.add("Shape", f"{name}_rest", [part], start=2, end=4)
        heads = self.add("Shape", f"{name}_of", [part], start=1, end=2)
        times = self.constant(np.array([groups], np.int64), f"{name}_groups")
        wide = self.add("Concat", f"{name}_wide", [sizes, heads, times, rest], axis=0)
        many = self.add("Concat", f"{name}_many", [sizes, self.add("Mul", f"{name}_all", [heads, times]), rest], axis=0)
        single = self.add("Unsqueeze", f"{name}_single", [part, self.constant(np.array([2]), f"{name}_axis")])
        return self.add("Reshape", f"{name}_repeated", [self.add("Expand", f"{name}_spread", [single, wide]), many])

    def cast(self, value: ir.Value, dtype: ir.DataType, name: str) -> ir.Value:
        import onnx_ir as ir

        if value.dtype == dtype:
            return value
        cast = self.add("Cast", name, [value], to=dtype)
        cast.type = ir.TensorType(dtype)
        return cast

    def causal(self, query: ir.Value, key: ir.Value, after_past: bool) -> ir.Value:
        """[tokens, total], true up to the diagonal; with a past, the last query sees all keys."""
        zero, one = (self.constant(np.asarray(number), f"causal_{number}") for number in (0, 1))
        first = self.constant(np.array([0]), "causal_first")
        tokens, total = (
            self.add("Squeeze", f"{name}_tokens", [self.add("Shape", f"{name}_length", [part], start=2, end=3), first])
            for part, name in ((query, "q"), (key, "k"))
        )
        rows = self.add("Range", "causal_rows", [zero, tokens, one])
        if after_past:
            rows = self.add("Add", "causal_shifted", [rows, self.add("Sub", "causal_past", [total, tokens])])
        rows = self.add("Unsqueeze", "causal_query", [rows, self.constant(np.array([1]), "causal_axis")])
        return self.add("LessOrEqual", "causal_mask", [self.add("Range", "causal_keys", [zero, total, one]), rows])
