"""Arrays as onnxruntime's values and back, also in element types that numpy or onnxruntime's Python API lacks.

Those types are from `ml_dtypes`, and are passed as bits; types of 4 and 2 bits are packed, the first element in the
lowest bits, as in ONNX.
"""

import ctypes
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import OrtValue

ELEMENT_TYPES = {
    "bfloat16": 16,
    "float8_e4m3fn": 17,
    "float8_e4m3fnuz": 18,
    "float8_e5m2": 19,
    "float8_e5m2fnuz": 20,
    "uint4": 21,
    "int4": 22,
    "float4_e2m1fn": 23,
    "float8_e8m0fnu": 24,
    "uint2": 25,
    "int2": 26,
}
"""ONNX's numbers (TensorProto.DataType) for element types that numpy lacks, by the names of `ml_dtypes`."""

STRING = 8

BITS = {"uint4": 4, "int4": 4, "float4_e2m1fn": 4, "uint2": 2, "int2": 2}
"""Sizes of types that are smaller than a byte."""

_NAMES = {number: name for name, number in ELEMENT_TYPES.items()}


def bindable(kind: str) -> bool:
    """Whether I/O binding accepts an input of this type, by onnxruntime's name for it.

    onnxruntime 1.32 refuses all others: "Only binding non-string Tensors is currently supported".

    >>> bindable("tensor(float)"), bindable("tensor(string)"), bindable("seq(tensor(float))")
    (True, False, False)
    """
    return kind.startswith("tensor(") and kind != "tensor(string)"


def from_array(array: "NDArray[Any]") -> "OrtValue":
    """A tensor on the host that shares the memory of the array."""
    import numpy as np
    from onnxruntime import OrtValue

    number = ELEMENT_TYPES.get(array.dtype.name)
    if number is None:
        return OrtValue.ortvalue_from_numpy(array)
    codes: NDArray[Any] = array.view(np.uint16 if array.itemsize == 2 else np.uint8)
    if bits := BITS.get(array.dtype.name):
        # onnxruntime reads the shape from the array: it is large enough, and its first bytes hold the packed values.
        packed = np.unpackbits(codes.reshape(-1, 1), axis=1, count=bits, bitorder="little")
        codes = np.zeros_like(codes)
        values = np.packbits(packed, bitorder="little")
        codes.reshape(-1)[: values.size] = values
    return OrtValue.ortvalue_from_numpy_with_onnx_type(codes, number)


def to_array(value: "OrtValue") -> "NDArray[Any]":
    """A copy of a tensor on the host."""
    import ml_dtypes
    import numpy as np

    name = _NAMES.get(value.element_type())
    array: NDArray[Any]
    if name is None:
        array = value.numpy()
        return array
    memory = np.frombuffer(ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes()), np.uint8)
    if bits := BITS.get(name):
        size = int(np.prod(value.shape()))
        memory = np.packbits(
            np.unpackbits(memory, count=size * bits, bitorder="little").reshape(size, bits), axis=1, bitorder="little"
        )
    array = memory.view(getattr(ml_dtypes, name)).reshape(value.shape())
    return array


def copied_by_binding(value: "OrtValue") -> bool:
    """Whether `copy_outputs_to_cpu` can copy a value: onnxruntime 1.32 crashes on strings, and refuses _NAMES."""
    return bool(value.is_tensor()) and value.element_type() not in (STRING, *_NAMES)
