"""An element type and a shape, and their size in bytes."""

from __future__ import annotations

from functools import cache
from math import prod
from typing import NamedTuple

BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}


class Tensor(NamedTuple):
    """An element type of ONNX and a shape, which is None where it depends on data.

    >>> Tensor(1, (2, 3)).nbytes, Tensor(22, (3,)).nbytes  # FLOAT, INT4
    (24, 2)
    """

    dtype: int
    shape: tuple[int, ...] | None

    @property
    def size(self) -> int:
        return prod(self.shape) if self.shape is not None else 0

    @property
    def nbytes(self) -> int:
        return stored_bytes(self.dtype, self.size)


def stored_bytes(dtype: int, elements: int) -> int:
    """Bytes of packed elements, rounded up."""
    return -(-elements * _bits(dtype) // 8)


@cache
def _bits(dtype: int) -> int:
    """Bits of one element; of a string, those of a pointer."""
    from onnx import TensorProto, helper

    if dtype == TensorProto.UNDEFINED:
        return 0
    return BITS.get(TensorProto.DataType.Name(dtype)) or 8 * int(helper.tensor_dtype_to_np_dtype(dtype).itemsize)
