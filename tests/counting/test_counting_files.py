"""Files: what can be read, what is said of those that cannot, and that no weight is ever opened."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from nodes import count, f32, graph, node, shapes
from onnx import TensorProto, helper

from edgeprof import counting
from edgeprof.errors import ModelFileError

FEEDS = {"x": f32(2, 3, 4)}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(graph(node("MatMul", "x w"), FEEDS, {"w": f32(4, 500)}), path)
    return path


def test_counts_are_those_of_the_model_in_memory(saved: Path) -> None:
    model = counting.read(saved)
    assert counting.count(model, shapes(FEEDS)).macs == 2 * 3 * 500 * 4


def test_nodes_in_any_order(tmp_path: Path) -> None:
    """onnxruntime runs such a file: each node is put before the first that reads from it."""
    nodes = [node("Add", "m m", "y"), node("Shape", "x", "z"), node("MatMul", "a w", "m"), node("Relu", "x", "a")]
    onnx.save(graph(nodes, FEEDS, {"w": f32(4, 500)}), tmp_path / "model.onnx")
    model = counting.read(tmp_path / "model.onnx")
    assert [one_node.op_type for one_node in model.graph.node] == ["Relu", "MatMul", "Add", "Shape"]
    assert counting.count(model, shapes(FEEDS)).macs == 2 * 3 * 500 * 4


def test_a_circle_is_left_as_it_is(tmp_path: Path) -> None:
    nodes = [node("Add", "x b", "a"), node("Relu", "a", "b")]
    onnx.save(graph(nodes, FEEDS), tmp_path / "model.onnx")
    assert len(counting.read(tmp_path / "model.onnx").graph.node) == 2


def test_no_weight_is_read(tmp_path: Path) -> None:
    """The data file is gone, and everything is still there to be counted."""
    path = tmp_path / "model.onnx"
    model = graph(node("MatMul", "x w"), FEEDS, {"w": f32(4, 500)})
    onnx.save(model, path, save_as_external_data=True, location="data", size_threshold=0)
    (tmp_path / "data").unlink()
    counted = counting.count(counting.read(path), shapes(FEEDS))
    assert (counted.macs, counted.params, counted.weights_bytes) == (12_000, 2000, 8000)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"There is no file .*absent.onnx"):
        counting.read(tmp_path / "absent.onnx")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="cannot be read"):
        counting.read(tmp_path)


def test_a_truncated_file(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-500])
    with pytest.raises(ModelFileError, match=r"not a readable ONNX file.*export it again"):
        counting.read(saved)


@pytest.mark.parametrize("content", [b"", b"hello, this is not a graph", b"\x89PNG\r\n\x1a\n" + bytes(100)])
@pytest.mark.parametrize("name", ["model.onnx", "model.json", "model.onnxtxt"])
def test_something_else(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelFileError):
        counting.read(tmp_path / name)


def value(name: str, dims: Any, dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, dims)


def with_inputs(*values: onnx.ValueInfoProto) -> onnx.ModelProto:
    built = graph(node("Relu", "x"), FEEDS)
    del built.graph.input[:]
    built.graph.input.extend(values)
    return built


def test_inputs_have_sizes_symbols_and_dimensions_without_a_name() -> None:
    (spec,) = counting.inputs(with_inputs(value("x", [1, "tokens", None])))
    assert (spec.name, spec.dtype, spec.dims) == ("x", "float32", (1, "tokens", ""))


def test_a_scalar_has_no_dimensions() -> None:
    (spec,) = counting.inputs(with_inputs(value("x", [])))
    assert spec.dims == ()


def test_bfloat16_and_bool_have_names() -> None:
    model = with_inputs(value("x", [1], TensorProto.BFLOAT16), value("m", [1], TensorProto.BOOL))
    assert [spec.dtype for spec in counting.inputs(model)] == ["bfloat16", "bool"]


def test_initializers_that_old_files_list_as_inputs_are_none() -> None:
    model = graph(node("MatMul", "x w"), FEEDS, {"w": f32(4, 5)})
    model.graph.input.append(value("w", [4, 5]))
    assert [spec.name for spec in counting.inputs(model)] == ["x"]
    assert count(model, FEEDS).live_bytes == 96 + 2 * 3 * 5 * 4


def test_an_input_without_a_shape_is_named() -> None:
    with pytest.raises(ModelFileError, match=r"how many dimensions input 'x' has.*Save the model with the shapes"):
        counting.inputs(with_inputs(value("x", None)))


def test_an_input_without_a_type_is_named() -> None:
    untyped = value("x", [2, 3])
    untyped.type.tensor_type.elem_type = TensorProto.UNDEFINED
    with pytest.raises(ModelFileError, match="input 'x'"):
        counting.inputs(with_inputs(untyped))


def test_sequences_and_maps_are_described_by_their_elements() -> None:
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, ["n", 2])
    strings = value("s", [3], TensorProto.STRING)
    brain = value("b", [-1, 4], TensorProto.BFLOAT16)
    mapped = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    inputs = counting.inputs(with_inputs(sequence, strings, brain, helper.make_value_info("m", mapped)))
    assert [(spec.name, spec.kind, spec.dtype, spec.dims) for spec in inputs] == [
        ("x", "sequence", "float32", ("n", 2)),
        ("s", "tensor", "string", (3,)),
        ("b", "tensor", "bfloat16", ("", 4)),
        ("m", "map", "float32", ()),
    ]


def test_strings_are_no_crash() -> None:
    model = with_inputs(value("x", [2, 3]), value("s", [3], TensorProto.STRING))
    assert [spec.name for spec in counting.inputs(model)] == ["x", "s"]
    assert counting.count(model, {"x": (2, 3), "s": (3,)}).macs == 0


def test_local_functions_are_counted_as_what_they_are() -> None:
    """A function of two products, called twice: 2 x (3 x 4 x 4) each, as the graph has it written out."""
    opsets = [helper.make_opsetid("", 23)]
    twice = helper.make_function(
        "mine", "Twice", ["a", "w"], ["c"], [node("MatMul", "a w", "b"), node("MatMul", "b w", "c")], opsets
    )
    calls = [helper.make_node("Twice", [a, "w"], [b], domain="mine") for a, b in (("x", "h"), ("h", "y"))]
    feeds = {"x": f32(3, 4)}
    model = graph(calls, feeds, {"w": f32(4, 4)})
    model.opset_import.append(helper.make_opsetid("mine", 1))
    model.functions.append(twice)
    path = Path("model.onnx")
    assert counting.count(read_back(model, path), shapes(feeds)).macs == 4 * 3 * 4 * 4


def read_back(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, Path(folder) / path)
        return counting.read(Path(folder) / path)


def test_neither_torch_nor_onnxruntime_is_imported(saved: Path) -> None:
    """Nor onnx_ir, which alone takes longer than the whole answer may."""
    code = (
        "import sys, pathlib; from edgeprof import counting; m = counting.read(pathlib.Path(sys.argv[1])); "
        "counting.count(m, {'x': (2, 3, 4)}); "
        "print(sorted({'torch', 'onnxruntime', 'onnx_ir', 'transformers', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, saved], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_graph_of_nothing_but_inputs() -> None:
    model = with_inputs(value("x", [2, 3]))
    del model.graph.node[:]
    counted = counting.count(model, {"x": (2, 3)})
    assert (counted.macs, counted.live_bytes) == (0, np.zeros((2, 3), np.float32).nbytes)
