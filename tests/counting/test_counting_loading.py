"""What a session holds of the weights: by hand, from the rules that experiments gave (`counting.loading`)."""

import math
from typing import Any

import pytest
from onnx import ModelProto, TensorProto, helper

from edgeprof import counting
from edgeprof.counting.loading import CHUNK, NODE_BYTES
from edgeprof.counting.records import HeldWeights, Table

WIDTH, ROWS = 64, 1000


def stored(name: str, *shape: int, external: bool = True, kind: int = TensorProto.FLOAT) -> TensorProto:
    """A weight in a data file, without values, or in the .onnx file."""
    if not external:
        return helper.make_tensor(name, kind, shape, [1.0] * math.prod(shape))
    return TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)


def held(nodes: list[Any], weights: list[TensorProto], kind: int = TensorProto.FLOAT) -> HeldWeights:
    """Of a graph from `x` [2, WIDTH] and `ids` [5] to `y`."""
    inputs = [
        helper.make_tensor_value_info("x", kind, [2, WIDTH]),
        helper.make_tensor_value_info("ids", TensorProto.INT64, [5]),
    ]
    outputs = [helper.make_tensor_value_info("y", kind, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)])
    return counting.count(model, {"x": (2, WIDTH), "ids": (5,)}).held


MATMUL = helper.make_node("MatMul", ["x", "w"], ["y"])


@pytest.mark.parametrize(("columns", "filled"), [(32, 32), (20, 32)])
def test_a_factor_is_repacked_in_sixteen_columns_and_its_original_freed(columns: int, filled: int) -> None:
    found = held([MATMUL], [stored("w", WIDTH, columns)])
    assert (found.packed_bytes, found.mapped_bytes, found.copied_bytes) == (4 * WIDTH * filled, 0, 0)
    assert found.session_bytes == NODE_BYTES
    assert found.most_bytes == 4 * WIDTH * (filled + columns) + CHUNK  # both for a moment


def test_a_bias_is_read_by_the_runs() -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Add", ["a", "b"], ["y"])]
    assert held(nodes, [stored("w", WIDTH, 32), stored("b", 32)]).touched_bytes == 4 * 32


def test_a_tied_head_is_held_twice() -> None:
    """The table stays mapped for its rows; its transpose is computed, repacked and freed."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Transpose", ["table"], ["head"], perm=[1, 0]),
        helper.make_node("MatMul", ["rows", "head"], ["y"]),
    ]
    found = held(nodes, [stored("table", ROWS, WIDTH)])
    assert found.tables == (Table(nbytes=4 * ROWS * WIDTH, lookups=5),)
    assert (found.copied_bytes, found.mapped_bytes) == (0, 0)
    assert found.packed_bytes == 4 * 1008 * WIDTH
    assert found.unpacked_bytes == 4 * ROWS * WIDTH


def test_weights_in_the_onnx_file_are_copied() -> None:
    found = held([helper.make_node("Add", ["x", "w"], ["y"])], [stored("w", 2, WIDTH, external=False)])
    assert (found.copied_bytes, found.touched_bytes) == (4 * 2 * WIDTH, 0)


def test_half_precision_is_widened_where_kernels_compute_in_fp32() -> None:
    found = held([MATMUL], [stored("w", WIDTH, 32, kind=TensorProto.FLOAT16)], TensorProto.FLOAT16)
    assert found.packed_bytes == 4 * WIDTH * 32
    assert found.unpacked_bytes == 4 * WIDTH * 32


def test_blocks_of_four_bits_are_packed_with_scales_and_sums() -> None:
    """64 x 32 weights in blocks of 32: 16 bytes of integers, a scale and a sum for each of 32 x 2 blocks."""
    node = helper.make_node(
        "MatMulNBits", ["x", "q", "s"], ["y"], domain="com.microsoft", K=WIDTH, N=32, bits=4, block_size=32
    )
    found = held([node], [stored("q", 32, 2, 16, kind=TensorProto.UINT8), stored("s", 64)])
    assert found.packed_bytes == 32 * 2 * (16 + 4 + 4)
    assert found.mapped_bytes == 4 * 64  # the scales stay


def test_rows_bring_a_window_of_the_file_each() -> None:
    """Of ten windows, two rows at random touch 1.9."""
    assert Table(nbytes=10 * 4096, lookups=2).resident_bytes(4096) == 7782
    assert Table(nbytes=100, lookups=2).resident_bytes(4096) == 100
