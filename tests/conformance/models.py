"""The models of the onnx package's own backend test suite, with the inputs of their first data set."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.test import loader

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


class Example(NamedTuple):
    """A model and what it is given, by name: an array, a list of them for a sequence, or None."""

    name: str
    model: onnx.ModelProto
    feeds: dict[str, Any]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: value.shape for name, value in self.feeds.items() if isinstance(value, np.ndarray)}

    def with_constants(self, inputs: int) -> Example:
        """With tensors among the inputs as part of the model, but for the first `inputs` of them.

        One input more is there, which nothing reads: a graph needs one. Outputs are copies, so that all that was
        there before can be computed beforehand.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        model.ir_version = max(model.ir_version, 4)
        graph, feeds = model.graph, dict(self.feeds)
        for value in [value for value in graph.input if isinstance(feeds.get(value.name), np.ndarray)][inputs:]:
            graph.initializer.append(numpy_helper.from_array(feeds.pop(value.name), value.name))
            graph.input.remove(value)
        for output in graph.output:
            graph.node.append(helper.make_node("Identity", [output.name], [f"{output.name}/same"]))
            output.name += "/same"
        graph.input.append(helper.make_tensor_value_info("nothing", onnx.TensorProto.FLOAT, [1]))
        return Example(self.name, model, {**feeds, "nothing": np.zeros(1, np.float32)})


def examples() -> list[Example]:
    """All of them, in an order that stays the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numpy: the suite computes what is not a number on purpose
        return list(_examples())


def sample(size: int) -> list[str]:
    """The names of those that differ most: each brings the most operators and types that none before it had."""
    result = {one.name: _features(one) for one in examples()}
    seen, names = set[str](), list[str]()
    for _ in range(size):
        names.append(max((name for name in result if name not in names), key=lambda name: len(result[name] - seen)))
        seen |= result[names[-1]]
    return names


def _features(one: Example) -> set[str]:
    nodes = list(one.model.graph.node)
    for node in nodes:  # grows meanwhile
        nodes += [inner for attribute in node.attribute for inner in attribute.g.node]
    described = (*one.model.graph.input, *one.model.graph.output)
    return {
        *(f"{node.domain}.{node.op_type}" for node in nodes),
        *(f"{value.type.WhichOneof('value')} {value.type.tensor_type.elem_type}" for value in described),
        *("left out" for node in nodes if "" in node.input),
        *("function" for _ in one.model.functions),
        *("weights" for _ in one.model.graph.initializer),
        f"IR version {one.model.ir_version}",
    }


def _examples() -> Iterator[Example]:
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
        yield Example(f"light/{file.stem}", model, _random_inputs(model))


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


def _random_inputs(model: onnx.ModelProto) -> dict[str, Any]:
    """For the nets without a data set: an image. Their weights are listed as inputs too."""
    weights, random = {tensor.name for tensor in model.graph.initializer}, np.random.default_rng(0)
    return {
        value.name: random.random([dim.dim_value for dim in value.type.tensor_type.shape.dim], np.float32)
        for value in model.graph.input
        if value.name not in weights
    }
