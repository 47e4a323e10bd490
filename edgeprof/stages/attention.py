"""ONNX's Attention, written out in operators that every execution provider has.

    scores = (Q x scale) x K^T, masked;  Y = softmax(scores) x V

Source: the function of `Attention` in the ONNX operator documentation, operator sets 23 and 24. Its inputs and outputs
are [batch, heads, tokens, width] or [batch, tokens, heads x width]; a boolean mask is true where a query may look, any
other is added to the scores, in their type. Queries are scaled, and not scores: those are more numbers, and may leave
the range of fp16 before they are scaled.

A query that may look at nothing gets zeros, as onnxruntime 1.32 has it: where a boolean mask is false for all keys, or
one that is added has the lowest number of its type, or minus infinity.
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
"""The score of what may not be looked at: exp() of it is zero in fp32 and fp16, and it is a number in both."""

MASKED_IN_RANGE = -100.0
"""As MASKED where scores are quantized: their steps are of the size of the range, and exp(-100) is no weight either."""

PLAIN = ("scale", "is_causal", "q_num_heads", "kv_num_heads", "softmax_precision", "softcap", "qk_matmul_output_mode")


def write_out(model: ir.Model, masked: float = MASKED, *, empty_rows: bool = False) -> int:
    """Replace every Attention of the standard domain; how many there were.

    Args:
        masked: the score that stands for "may not look".
        empty_rows: queries that may look at nothing get zeros, too; otherwise some number, for an operator less.

    Raises:
        EdgeprofError: one of them uses what is not written out here: the message names it.
    """
    found = [node for node in model.graph if node.op_type == ATTENTION and node.domain in ("", "ai.onnx")]
    _require_described(model, found)
    masks = _Masks(masked, empty_rows)
    for node in found:
        _require_known(node)
        _replace(model, node, masks)
    return len(found)


def _require_described(model: ir.Model, nodes: list[ir.Node]) -> None:
    """See that types and shapes of what goes into them are known: files need not tell those."""
    import onnx_ir.passes.common as passes

    read = [value for node in nodes for value in node.inputs if value is not None]
    if any(value.dtype is None or value.shape is None for value in read):
        passes.ShapeInferencePass()(model)
    for value in read:
        if value.dtype is None or value.shape is None:
            raise EdgeprofError(
                f"The file does not tell the shape of {value.name}, which an {ATTENTION} reads.",
                "Save the model with the shapes of its tensors.",
            )


def _require_known(node: ir.Node) -> None:
    used = [
        *(f"attribute {name}" for name in node.attributes if name not in PLAIN),
        *(["softcap"] if node.attributes.get_float("softcap", 0.0) else []),
        *(["nonpad_kv_seqlen"] if len(node.inputs) > 6 and node.inputs[6] is not None else []),
        *(["a mask of whole numbers beside a causal one"] if _adds_whole_numbers(node) else []),
        *(["its matrix of scores as an output"] if len(node.outputs) > 3 and _wanted(node.outputs[3]) else []),
    ]
    if used:
        raise EdgeprofError(
            f"{_called(node)} uses {used[0]}, which edgeprof cannot write out in other operators.",
            "Take a provider that has the operator, or export with attention in smaller operators.",
        )


def _adds_whole_numbers(node: ir.Node) -> bool:
    """To causal scores, which onnxruntime 1.32 gets wrong, so that nothing could be equal to it."""
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    if mask is None or mask.dtype is None or not node.attributes.get_int("is_causal", 0):
        return False
    return mask.dtype.is_integer()


def _called(node: ir.Node) -> str:
    return f"{ATTENTION} '{node.name or node.outputs[0].name}'"


def _wanted(output: ir.Value) -> bool:
    return bool(output.uses()) or output.is_graph_output()


def _replace(model: ir.Model, node: ir.Node, masks: _Masks) -> None:
    import onnx_ir as ir

    steps = _Steps(model, node)
    query, key, value, mask, *past = (*node.inputs, *[None] * 6)[:6]
    assert query is not None
    assert key is not None
    assert value is not None
    heads, kv_heads = (node.attributes.get_int(name, 0) for name in ("q_num_heads", "kv_num_heads"))
    scale = _scale(node, query, heads or 1)
    joined = bool(heads)
    if joined:
        query, key, value = (
            steps.apart(part, count, name)
            for part, count, name in ((query, heads, "q"), (key, kv_heads, "k"), (value, kv_heads, "v"))
        )
    groups = heads // kv_heads if joined else _groups(node, query, key)
    if past[0] is not None and past[1] is not None:
        key = steps.add("Concat", "present_key", [past[0], key], axis=2)
        value = steps.add("Concat", "present_value", [past[1], value], axis=2)
    for output, present in zip(node.outputs[1:3], (key, value), strict=False):
        if _wanted(output):
            graph.stand_in(output, present)
    if groups > 1:
        key, value = steps.repeated(key, groups, "k"), steps.repeated(value, groups, "v")
    dtype = query.dtype or ir.DataType.FLOAT
    query = steps.add("Mul", "q_scaled", [query, steps.number(scale, dtype, "scale")])
    turned = steps.add("Transpose", "k_turned", [key], perm=[0, 1, 3, 2])
    scores = steps.add("MatMul", "scores", [query, turned])
    causal = steps.causal(query, key, bool(past[0])) if node.attributes.get_int("is_causal", 0) else None
    scores = masks.applied(steps, scores, causal, mask)
    weights = steps.add("Softmax", "weights", [scores], axis=-1)
    result = masks.emptied(steps, steps.add("MatMul", "mixed", [weights, value]), causal, mask)
    if joined:
        result = steps.together(result)
    steps.finish(result)


def _scale(node: ir.Node, query: ir.Value, heads: int) -> float:
    """Of the scores. `heads` lie side by side in the last axis."""
    told = node.attributes.get("scale")
    if told is not None:
        return float(told.as_float())
    width = query.shape[-1] if query.shape is not None else None
    if not isinstance(width, int):
        raise EdgeprofError(
            f"{_called(node)} is scaled by the width of a head, which the file does not tell.",
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
        f"{_called(node)} has a number of heads that the file does not tell.",
        "Save the model with the shapes of its tensors.",
    )


class _Masks:
    """What masks do to scores. What is made of a mask is made once: layers share it."""

    def __init__(self, masked: float, empty_rows: bool) -> None:
        self.masked, self.empty_rows = masked, empty_rows
        self.added: dict[ir.Value, ir.Value] = {}
        self.rows: dict[tuple[ir.Value, bool], ir.Value] = {}

    def applied(self, steps: _Steps, scores: ir.Value, causal: ir.Value | None, mask: ir.Value | None) -> ir.Value:
        import onnx_ir as ir

        dtype = scores.dtype or ir.DataType.FLOAT
        for name, seen in (("causal", causal), ("mask", mask)):
            if seen is None:
                continue
            if seen.dtype == ir.DataType.BOOL:
                number = steps.number(self.masked, dtype, f"{name}_masked")
                scores = steps.add("Where", f"{name}_applied", [seen, scores, number])
                continue
            if seen not in self.added:
                # Without infinities: their sums would be no numbers.
                in_type = steps.cast(seen, dtype, "mask_in_type")
                lowest = steps.number(self.masked, dtype, "mask_lowest")
                self.added[seen] = steps.add("Clip", "mask_limited", [in_type, lowest])
            scores = steps.add("Add", "masked", [scores, self.added[seen]])
        return scores

    def emptied(self, steps: _Steps, result: ir.Value, causal: ir.Value | None, mask: ir.Value | None) -> ir.Value:
        """With zeros for queries that may look at nothing; a causal mask alone has none."""
        import onnx_ir as ir

        if mask is None or not self.empty_rows:
            return result
        dtype, key = result.dtype or ir.DataType.FLOAT, (mask, causal is not None)
        if key not in self.rows:
            seen = mask
            if mask.dtype != ir.DataType.BOOL:
                lowest = steps.number(float(np.asarray(dtype.min, dtype.numpy())), dtype, "lowest")
                seen = steps.add("Greater", "mask_seen", [steps.cast(mask, dtype, "mask_numbers"), lowest])
            if causal is not None:
                seen = steps.add("And", "seen", [seen, causal])
            any_key = steps.add(
                "ReduceMax",
                "any_key",
                [steps.cast(seen, ir.DataType.FLOAT, "seen_number"), steps.constant(np.array([-1]), "keys")],
            )
            self.rows[key] = steps.cast(any_key, ir.DataType.BOOL, "row")
        return steps.add("Where", "y_rows", [self.rows[key], result, steps.number(0.0, dtype, "nothing")])


class _Steps(Replacement):
    """Nodes that compute one Attention."""

    def number(self, value: float, dtype: ir.DataType, name: str) -> ir.Value:
        return self.constant(np.asarray(value, dtype.numpy()), name)

    def apart(self, joined: ir.Value, heads: int, name: str) -> ir.Value:
        """[batch, tokens, heads x width] -> [batch, heads, tokens, width]"""
        shape = self.constant(np.array([0, 0, heads, -1], np.int64), f"{name}_shape")
        return self.add("Transpose", name, [self.add("Reshape", f"{name}_heads", [joined, shape])], perm=[0, 2, 1, 3])

    def together(self, parts: ir.Value) -> ir.Value:
        """The reverse of `apart`."""
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
        made = self.add("Cast", name, [value], to=dtype)
        made.type = ir.TensorType(dtype)
        return made

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
