"""The digest of a graph: names and values of weights do not count, sizes and attributes do."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeprof import counting


def model(
    weight: float = 1.0, *, prefix: str = "", rows: int = 8, shape: tuple[int, ...] = (-1, 4), axis: int = 1
) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", [f"{prefix}x", f"{prefix}w"], [f"{prefix}product"]),
        helper.make_node("Reshape", [f"{prefix}product", f"{prefix}shape"], [f"{prefix}rows"]),
        helper.make_node("Softmax", [f"{prefix}rows"], [f"{prefix}y"], axis=axis),
    ]
    constants = [
        numpy_helper.from_array(np.full((rows, 8), weight, np.float32), f"{prefix}w"),
        numpy_helper.from_array(np.array(shape, np.int64), f"{prefix}shape"),
    ]
    x = helper.make_tensor_value_info(f"{prefix}x", TensorProto.FLOAT, ("n", rows))
    y = helper.make_tensor_value_info(f"{prefix}y", TensorProto.FLOAT, ("m", "k"))
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], constants))


def test_other_weights_and_names_are_the_same_graph() -> None:
    assert counting.structure(model()) == counting.structure(model(2.0)) == counting.structure(model(prefix="tuned."))


@pytest.mark.parametrize("other", [model(rows=16), model(shape=(-1, 2)), model(axis=0)])
def test_other_sizes_and_attributes_are_another(other: onnx.ModelProto) -> None:
    assert counting.structure(other) != counting.structure(model())
