"""Read values of inputs from files: an array (.npy), one of several arrays (.npz), or an ONNX tensor (.pb)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprof import store
from edgeprof.errors import UnknownName, UsageError
from edgeprof.inputs import tensors
from edgeprof.schema import InputValue, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = "inputs"
"""Below the cache folder: arrays extracted from files that the measuring process cannot read."""


def given(specs: Sequence[TensorSpec], files: Mapping[str, Path]) -> dict[str, InputValue]:
    """A value for every input that has a file.

    Raises:
        UnknownName: the model has no such input.
        UsageError: a file cannot be read, or holds numbers of another type.
    """
    by_name = {spec.name: spec for spec in specs}
    for name in files:
        if name not in by_name:
            raise UnknownName("model input", name, by_name)
    return {name: _value(by_name[name], Path(file)) for name, file in files.items()}


def _value(spec: TensorSpec, file: Path) -> InputValue:
    source = file if file.suffix == ".npy" and spec.kind == "tensor" else _extracted(spec, file)
    array = tensors.load(str(source), mapped=spec.kind == "tensor", several=spec.kind != "tensor")
    first = array if spec.kind == "tensor" else (array[0] if array else None)
    if first is not None and tensors.typed(first, spec.dtype) is None:
        raise UsageError(
            f"{file} holds {tensors.describe(first)}, but input '{spec.name}' takes {spec.dtype}.",
            f"Convert it: numpy.save(file, array.astype('{spec.dtype}'))",
        )
    return InputValue(
        name=spec.name,
        dtype=spec.dtype,
        kind=spec.kind,
        shape=tuple(first.shape) if first is not None else (),
        fill="file",
        file=str(source.absolute()),
        sha256=store.sha256_of(source),
    )


def _extracted(spec: TensorSpec, file: Path) -> Path:
    """Write the array of an input (several for a sequence) to the cache, named by a digest of its source."""
    import numpy as np

    readers = {".npz": _of_archive, ".pb": _of_proto}
    arrays = readers[file.suffix](spec, file) if file.suffix in readers else [tensors.load(str(file))]
    suffix = "npy" if spec.kind == "tensor" else "npz"
    key = store.content_key(store.sha256_of(file), spec.name, spec.kind)[:32]
    target = store.cache_folder() / FOLDER / f"{key}.{suffix}"
    if not target.is_file():
        with store.writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{key}.partial.{suffix}")
            if spec.kind == "tensor":
                np.save(partial, arrays[0], allow_pickle=False)
            else:
                np.savez(partial, *arrays)
            partial.replace(target)
    return target


def _of_archive(spec: TensorSpec, file: Path) -> list[NDArray[Any]]:
    archive = tensors.archive(str(file))
    if spec.kind == "sequence":
        return list(archive.values())
    if spec.name in archive:
        return [archive[spec.name]]
    if len(archive) == 1:
        return list(archive.values())
    raise UsageError(
        f"{file} holds {len(archive)} arrays, none of them named '{spec.name}'.",
        f"Name the array after the input: numpy.savez(file, **{{'{spec.name}': array}})",
    )


def _of_proto(spec: TensorSpec, file: Path) -> list[NDArray[Any]]:
    """Read a TensorProto, SequenceProto or OptionalProto, as ONNX test cases have them, by the kind of the input."""
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import numpy_helper

    data = store.read_bytes(file, UsageError, "Save one with onnx.save_tensor, or an array with numpy.save.")
    try:
        if spec.kind == "sequence":
            sequence = onnx.SequenceProto.FromString(data)
            return [numpy_helper.to_array(one) for one in sequence.tensor_values]
        if spec.kind == "optional":
            found = numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
            return [] if found is None else [found]
        return [numpy_helper.to_array(onnx.TensorProto.FromString(data))]
    except (DecodeError, ValueError, TypeError) as problem:
        raise UsageError(
            f"{file} is not a serialized ONNX tensor: {str(problem).splitlines()[0] if str(problem) else 'damaged'}.",
            "Save one with onnx.save_tensor, or an array with numpy.save.",
        ) from problem
