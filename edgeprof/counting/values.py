"""What small tensors hold: the shape arithmetic of a graph, done in numpy so that reshapes and ranges have sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Compute = Callable[..., Array]

SMALL = 256
"""Elements up to which a tensor is taken for shape arithmetic."""


def _axes(array: Array, attributes: dict[str, Any], axes: Array | None) -> list[int]:
    given = axes.tolist() if axes is not None else attributes.get("axes")
    return [int(axis) for axis in given] if given is not None else list(range(array.ndim))


def _gather(data: Array, indices: Array, *, axis: int = 0) -> Array:
    return np.asarray(np.take(data, indices, axis=axis))


def _slice(data: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None) -> Array:
    which = axes.tolist() if axes is not None else range(len(starts))
    by = steps.tolist() if steps is not None else [1] * len(starts)
    index = [slice(None)] * data.ndim
    for axis, start, end, step in zip(which, starts.tolist(), ends.tolist(), by, strict=True):
        stop = None if step < 0 and end < -data.shape[axis] else end
        index[axis] = slice(start, stop, step)
    return data[tuple(index)]


def _unsqueeze(data: Array, axes: Array | None = None, **attributes: Any) -> Array:
    return np.expand_dims(data, tuple(_axes(data, attributes, axes)))


def _squeeze(data: Array, axes: Array | None = None, **attributes: Any) -> Array:
    if axes is None and "axes" not in attributes:
        return np.squeeze(data)
    return np.squeeze(data, tuple(_axes(data, attributes, axes)))


def _reduce(function: Callable[..., Any]) -> Compute:
    def compute(data: Array, axes: Array | None = None, *, keepdims: int = 1, **attributes: Any) -> Array:
        return np.asarray(function(data, axis=tuple(_axes(data, attributes, axes)), keepdims=bool(keepdims)))

    return compute


def _reshape(data: Array, shape: Array, *, allowzero: int = 0) -> Array:
    wanted = [data.shape[axis] if size == 0 and not allowzero else size for axis, size in enumerate(shape.tolist())]
    return data.reshape(wanted)


def _divide(one: Array, other: Array) -> Array:
    if np.issubdtype(one.dtype, np.integer):
        return np.asarray(np.trunc(one / other)).astype(one.dtype)  # ONNX rounds towards zero
    return np.asarray(one / other)


def _constant_of_shape(shape: Array, *, value: Array | None = None) -> Array:
    filler = np.zeros(1, np.float32) if value is None else value
    return np.full(shape.tolist(), filler.item(), filler.dtype)


def _fold(function: Callable[[Array, Array], Any]) -> Compute:
    def compute(first: Array, *others: Array) -> Array:
        for other in others:
            first = np.asarray(function(first, other))
        return first

    return compute


def _plain(function: Callable[..., Any]) -> Compute:
    return lambda *arrays, **_: np.asarray(function(*arrays))


COMPUTE: dict[str, Compute] = {
    "Abs": _plain(np.abs),
    "Add": _plain(np.add),
    "And": _plain(np.logical_and),
    "Ceil": _plain(np.ceil),
    "Concat": lambda *arrays, axis: np.concatenate(arrays, axis),
    "ConstantOfShape": _constant_of_shape,
    "Div": _divide,
    "Equal": _plain(np.equal),
    "Expand": lambda data, shape: data * np.ones(shape.tolist(), data.dtype),
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
    "Sqrt": _plain(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(np.subtract),
    "Tile": lambda data, repeats: np.tile(data, repeats.tolist()),
    "Transpose": lambda data, perm=None: np.transpose(data, perm),
    "Unsqueeze": _unsqueeze,
    "Where": _plain(np.where),
}


def compute(operator: str, arrays: Sequence[Array | None], attributes: dict[str, Any]) -> Array | None:
    """What an operator makes of known values; None where it is not one of those, or something goes beyond SMALL."""
    function = COMPUTE.get(operator)
    if function is None or not arrays or arrays[0] is None or _grows(operator, arrays):
        return None
    result = function(*arrays, **attributes)
    return result if result.size <= SMALL else None


def _grows(operator: str, arrays: Sequence[Array | None]) -> bool:
    """Whether small values make a tensor that is not small: it is not made at all."""
    known = [array for array in arrays if array is not None]
    if operator == "Range":
        start, limit, step = (float(array.item()) for array in known)
        return abs((limit - start) / step) > SMALL
    return operator in ("ConstantOfShape", "Expand", "Tile") and np.prod(known[-1].astype(float)) > SMALL
