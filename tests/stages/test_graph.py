"""Files from elsewhere: what can be told of them without running them."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_files import run

from edgeprof import counting
from edgeprof.errors import ModelFileError
from edgeprof.schema import TensorSpec
from edgeprof.stages import graph


def model(path: Path, *weights: Any, dims: tuple[int | str | None, ...] = ("batch", 4)) -> Path:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, dims)
    stored = [numpy_helper.from_array(array, f"w{at}") for at, array in enumerate(weights)]
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    built = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], stored), opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    )
    onnx.save(built, path)
    return path


@pytest.mark.parametrize(
    ("dtypes", "word"),
    [
        (["float32"], "fp32"),
        (["float16", "int64"], "fp16"),
        (["int8", "float32"], "int8"),
        (["uint8"], "int8"),
        (["int64"], "fp32"),
        ([], "fp32"),
    ],
)
def test_precision_is_that_of_most_weight_bytes_and_shapes_are_no_weights(
    dtypes: list[str], word: str, tmp_path: Path
) -> None:
    weights = [np.ones(100 // (at * 9 + 1), dtype) for at, dtype in enumerate(dtypes)]
    assert counting.precision(counting.read(model(tmp_path / "m.onnx", *weights))) == word


def test_parameters_are_elements_of_weights(tmp_path: Path) -> None:
    weights = [np.ones((3, 4), np.float32), np.ones(5, np.int8), np.ones((), np.float32), np.ones(7, np.int64)]
    assert counting.parameters(counting.read(model(tmp_path / "m.onnx", *weights))) == 3 * 4 + 5


def test_a_dimension_without_a_name_is_empty(tmp_path: Path) -> None:
    loaded = graph.load(model(tmp_path / "m.onnx", dims=("batch", None, 3)))
    assert graph.specs(list(loaded.graph.inputs)) == (TensorSpec(name="x", dtype="float32", dims=("batch", "", 3)),)


@pytest.mark.parametrize("data", [b"", b"no graph", b"\x08\x09" * 1000, b"\xff" * 50])
def test_what_is_no_onnx_file_is_refused(data: bytes, tmp_path: Path) -> None:
    from edgeprof.api.targets import foreign

    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelFileError, match=r"m\.onnx"):
        foreign(tmp_path / "m.onnx")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError):
        graph.load(tmp_path)


# --- data in files of their own --------------------------------------------------------------------------------


def keeping(path: Path, location: str, *, inner: bool = False) -> Path:
    """A product with 8 x 8 ones that lie at `location`; in a branch of an If where `inner`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[8, 8], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": "0", "length": "256"}.items():
        data.external_data.add(key=key, value=value)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 8]) for name in "xy")
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    if inner:
        branch = helper.make_graph([product], "branch", [], [y], [data])
        flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
        node = helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)
        built = helper.make_graph([node], "g", [x, flag], [y])
    else:
        built = helper.make_graph([product], "g", [x], [y], [data])
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("location", ["../out.bin", "/etc/passwd", "linked.bin", "sub/../../out.bin"])
def test_data_outside_of_the_folder_is_refused(location: str, inner: bool, tmp_path: Path) -> None:
    (tmp_path / "out.bin").write_bytes(np.ones((8, 8), np.float32).tobytes())
    file = keeping(tmp_path / "in" / "m.onnx", location, inner=inner)
    (file.parent / "linked.bin").symlink_to("../out.bin")
    with pytest.raises(ModelFileError, match=rf"m\.onnx names {location}, which does not lie in its folder"):
        graph.load(file)


def test_data_that_a_hub_cache_links_to_is_read(tmp_path: Path) -> None:
    """In a snapshot both the graph and its data are links to blobs, and have their names there only."""
    cache = tmp_path / "models--acme--mini"
    file = keeping(cache / "blobs" / ("a" * 64), "model.onnx_data")
    (cache / "blobs" / ("b" * 64)).write_bytes(np.ones((8, 8), np.float32).tobytes())
    snapshot = cache / "snapshots" / "c0ffee" / "onnx"
    snapshot.mkdir(parents=True)
    (snapshot / "model.onnx").symlink_to(f"../../../blobs/{file.name}")
    (snapshot / "model.onnx_data").symlink_to("../../../blobs/" + "b" * 64)
    loaded = graph.load(snapshot / "model.onnx")
    graph.require_external_data(loaded, snapshot / "model.onnx")
    assert run(snapshot / "model.onnx", {"x": np.ones((2, 8), np.float32)})["y"].tolist() == [[8.0] * 8] * 2


def product(path: Path, width: int = 3, target: tuple[int, ...] = (-1,), prefix: str = "", **settings: Any) -> Path:
    """A product with a random matrix, then a softmax and a new shape; names begin with `prefix`."""
    generator = np.random.default_rng(len(str(path)))
    matrix = generator.standard_normal((4, width)).astype(np.float32)
    stored = [numpy_helper.from_array(matrix, prefix + "w"), numpy_helper.from_array(np.array(target), prefix + "t")]
    nodes = [
        helper.make_node("MatMul", ["x", prefix + "w"], [prefix + "p"], name=prefix + "n"),
        helper.make_node("Softmax", [prefix + "p"], [prefix + "s"], **settings),
        helper.make_node("Reshape", [prefix + "s", prefix + "t"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 4))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    built = helper.make_graph(nodes, "g", [x], [y], stored)
    onnx.save(helper.make_model(built, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_models_of_one_structure_differ_in_weights_and_names_alone(tmp_path: Path) -> None:
    base, *same = (
        graph.count(graph.load(path)).structure
        for path in (
            product(tmp_path / "base.onnx"),
            product(tmp_path / "fine-tuned.onnx"),
            product(tmp_path / "renamed.onnx", prefix="other_"),
        )
    )
    others = [
        graph.count(graph.load(path)).structure
        for path in (
            product(tmp_path / "wider.onnx", width=5),
            product(tmp_path / "shaped.onnx", target=(1, -1)),
            product(tmp_path / "axis.onnx", axis=0),
            model(tmp_path / "other.onnx"),
        )
    ]
    assert same == [base, base]
    assert len({base, *others}) == 5
