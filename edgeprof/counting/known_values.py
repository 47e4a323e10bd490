"""Values of small tensors: the shape arithmetic of a graph, done in numpy so that reshapes and ranges have sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Compute = Callable[..., Array | list[Array] | None]

SMALL = 256
"""Most elements of a tensor that counts as shape arithmetic."""
LARGEST = 1 << 18
"""Most elements of a tensor whose values are computed: positions, which are looked up in tables."""
VALUES_BUDGET = 1 << 28
"""Bytes of all values with more than `SMALL` elements together."""


def _list(values: Any) -> list[int]:
    """Axes, sizes or positions: an attribute in old opsets, an input in new ones."""
    return [int(value) for value in np.asarray(values).reshape(-1)]


def _gather(data: Array, indices: Array, *, axis: int = 0) -> Array:
    return np.asarray(np.take(data, indices, axis=axis))


def _slice(data: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None) -> Array:
    which = _list(axes) if axes is not None else range(len(starts))
    by = _list(steps) if steps is not None else [1] * len(starts)
    index = [slice(None)] * data.ndim
    for axis, start, end, step in zip(which, _list(starts), _list(ends), by, strict=True):
        stop = None if step < 0 and end < -data.shape[axis] else end
        index[axis] = slice(start, stop, step)
    return data[tuple(index)]


def _squeeze(data: Array, axes: Array | None = None) -> Array:
    return np.squeeze(data, None if axes is None else tuple(_list(axes)))


def _split(data: Array, split: Array | None = None, *, axis: int = 0, num_outputs: int = 0) -> list[Array]:
    """Parts of the given sizes; or equal parts, of which the last may be smaller."""
    if split is not None:
        return np.split(data, np.cumsum(_list(split))[:-1], axis)
    part = -(-data.shape[axis] // num_outputs)
    return np.split(data, range(part, part * num_outputs, part), axis)


def _clip(data: Array, low: Any = None, high: Any = None, **old: float) -> Array:
    low, high = old.get("min", low), old.get("max", high)
    return data if low is None and high is None else np.clip(data, low, high).astype(data.dtype)


def _reduce(function: Callable[..., Any]) -> Compute:
    def compute(data: Array, axes: Array | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Array:
        which = None if axes is None else tuple(_list(axes))
        if not which and noop_with_empty_axes:
            return data
        return np.asarray(function(data, axis=which or None, keepdims=bool(keepdims)))

    return compute


def _reshape(data: Array, shape: Array, *, allowzero: int = 0) -> Array:
    sizes = [data.shape[axis] if size == 0 and not allowzero else size for axis, size in enumerate(shape.tolist())]
    return data.reshape(sizes)


def _divide(one: Array, other: Array) -> Array:
    if not np.issubdtype(one.dtype, np.integer):
        return np.asarray(one / other)
    rounded_down = (one % other != 0) & ((one < 0) != (other < 0))
    return np.asarray(one // other + rounded_down).astype(one.dtype)  # ONNX rounds towards zero


def _constant_of_shape(shape: Array, *, value: Array | None = None) -> Array:
    filler = np.zeros(1, np.float32) if value is None else value
    return np.full(shape.tolist(), filler.item(), filler.dtype)


def _running_sum(data: Array, axis: Array, *, exclusive: int = 0, reverse: int = 0) -> Array | None:
    return None if exclusive or reverse else np.cumsum(data, axis.item()).astype(data.dtype)


def _fold(function: Callable[[Array, Array], Any]) -> Compute:
    def compute(first: Array, *others: Array) -> Array:
        for other in others:
            first = np.asarray(function(first, other))
        return first

    return compute


def _plain(function: Callable[..., Any]) -> Compute:
    return lambda *arrays, **_: np.asarray(function(*arrays))


COMPUTE: dict[str, Compute] = {
    "Cast": lambda data, **_: data,  # the caller converts it to the type of the output
    "Abs": _plain(np.abs),
    "Add": _plain(np.add),
    "And": _plain(np.logical_and),
    "Ceil": _plain(np.ceil),
    "Clip": _clip,
    "Concat": lambda *arrays, axis: np.concatenate(arrays, axis),
    "ConstantOfShape": _constant_of_shape,
    "CumSum": _running_sum,
    "Div": _divide,
    "Equal": _plain(np.equal),
    "Expand": lambda data, shape: np.broadcast_to(data, np.broadcast_shapes(data.shape, tuple(shape.tolist()))),
    "Flatten": lambda data, axis=1: data.reshape(int(np.prod(data.shape[:axis])), -1),
    "Floor": _plain(np.floor),
    "Gather": _gather,
    "Greater": _plain(np.greater),
    "GreaterOrEqual": _plain(np.greater_equal),
    "Identity": _plain(lambda data: data),
    "Less": _plain(np.less),
    "LessOrEqual": _plain(np.less_equal),
    "Max": _fold(np.maximum),
    "Min": _fold(np.minimum),
    "Mod": lambda one, other, fmod=0: np.asarray((np.fmod if fmod else np.mod)(one, other)),
    "Mul": _plain(np.multiply),
    "Neg": _plain(np.negative),
    "NonZero": lambda data: np.stack(np.nonzero(data)).astype(np.int64),
    "Not": _plain(np.logical_not),
    "Or": _plain(np.logical_or),
    "Pow": lambda one, other: np.asarray(np.power(one, other)).astype(one.dtype),
    "Range": lambda start, limit, step: np.arange(start.item(), limit.item(), step.item()).astype(start.dtype),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "Reshape": _reshape,
    "Round": _plain(np.round),
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _plain(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(np.subtract),
    "Sum": _fold(np.add),
    "Tile": lambda data, repeats: np.tile(data, repeats.tolist()),
    "Transpose": lambda data, perm=None: np.transpose(data, perm),
    "Unsqueeze": lambda data, axes: np.expand_dims(data, tuple(_list(axes))),
    "Where": _plain(np.where),
    "Xor": _plain(np.logical_xor),
}


NOT_DEFINED = (ArithmeticError, AttributeError, IndexError, TypeError, ValueError)


def compute(
    operator: str, arrays: Sequence[Array | None], attributes: dict[str, Any], most: int = SMALL
) -> Sequence[Array | None]:
    """Compute an operator from known values; one result for each output.

    >>> import numpy as np
    >>> compute("Concat", [np.array([1, 2]), np.array([-1])], {"axis": 0})[0].tolist()
    [1, 2, -1]

    Returns:
        Nothing where the operator is not in `COMPUTE`, where a result would have more than `most` elements (which is
        checked before it is computed), or where the operator is not defined for these values: a graph may hold nodes
        that never run, and values that are not known are reported where they matter.
    """
    function = COMPUTE.get(operator)
    if function is None or not arrays or arrays[0] is None:
        return ()
    try:
        if elements(operator, arrays, attributes) > most:
            return ()
        with np.errstate(divide="raise", invalid="raise"):
            results = function(*arrays, **attributes)
    except NOT_DEFINED:
        return ()
    return results if isinstance(results, list) else [results]


ONE_FOR_ONE = {
    *("Abs", "Cast", "Ceil", "Clip", "CumSum", "Flatten", "Floor", "Identity", "Neg", "Not", "ReduceMax", "ReduceMin"),
    *("ReduceProd", "ReduceSum", "Reshape", "Round", "Slice", "Split", "Sqrt", "Squeeze", "Transpose", "Unsqueeze"),
}
"""Operators whose results have no more elements than their first input."""


def elements(operator: str, arrays: Sequence[Array | None], attributes: dict[str, Any]) -> int:
    """Most elements that a result can have, from the sizes and values of the inputs alone.
    Raises:
        ArithmeticError, LookupError, TypeError, ValueError: the operator is not defined for them.
    """
    known = [array for array in arrays if array is not None]
    first, last = known[0], known[-1]
    match operator:
        case _ if operator in ONE_FOR_ONE:
            return first.size
        case "Concat":
            return sum(array.size for array in known)
        case "ConstantOfShape":
            return int(prod(first.tolist()))
        case "Expand":
            return prod(np.broadcast_shapes(first.shape, tuple(last.tolist())))
        case "Gather":
            return int(first.size // max(first.shape[attributes.get("axis", 0)], 1) * last.size)
        case "NonZero":
            return first.size * max(first.ndim, 1)
        case "Range":
            start, limit, step = (float(array.item()) for array in known)
            return max(ceil((limit - start) / step), 0)
        case "Tile":
            return int(first.size * prod(last.tolist()))
    return prod(np.broadcast_shapes(*(array.shape for array in known)))
