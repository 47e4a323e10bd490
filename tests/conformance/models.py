"""The models of the onnx package's own backend test suite, with the inputs of their first data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test import loader

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


class Example(NamedTuple):
    """A model and what it is given, by name: an array, a list of them for a sequence, or None."""

    name: str
    model: onnx.ModelProto
    feeds: dict[str, Any]


def examples() -> Iterator[Example]:
    """All of them, in an order that stays the same."""
    for kind in KINDS:
        for case in loader.load_model_tests(kind=kind):
            if case.model is not None:
                ((inputs, _),) = case.data_sets[:1]
                model, values = case.model, [_value(one) for one in inputs]
            else:
                folder = Path(case.model_dir)
                model = onnx.load(folder / "model.onnx")
                values = _saved(folder / "test_data_set_0", model)
            names = [value.name for value in model.graph.input]
            yield Example(f"{kind}/{case.name}", model, dict(zip(names, values, strict=False)))
    for file in sorted(LIGHT.glob("*.onnx")):
        model = onnx.load(file)
        yield Example(f"light/{file.stem}", model, _made_up(model))


def _value(given: Any) -> Any:
    if isinstance(given, onnx.TensorProto):
        return numpy_helper.to_array(given)
    if given is None or isinstance(given, list):
        return given
    return np.asarray(given)


def _saved(folder: Path, model: onnx.ModelProto) -> list[Any]:
    values = []
    for index, value in enumerate(model.graph.input):
        file = folder / f"input_{index}.pb"
        if file.exists():
            values.append(_parsed(file.read_bytes(), value.type.WhichOneof("value")))
    return values


def _parsed(data: bytes, kind: str) -> Any:
    if kind == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if kind == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return numpy_helper.to_array(onnx.TensorProto.FromString(data))


def _made_up(model: onnx.ModelProto) -> dict[str, Any]:
    """For the nets without a data set: an image. Their weights are listed as inputs too."""
    weights, random = {tensor.name for tensor in model.graph.initializer}, np.random.default_rng(0)
    return {
        value.name: random.random([dim.dim_value for dim in value.type.tensor_type.shape.dim], np.float32)
        for value in model.graph.input
        if value.name not in weights
    }
