"""Graphs that break rules: each is counted as far as it goes or refused in one sentence, and nothing else gets out."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from nodes import count, f32, graph, i64, node, shapes, u8
from onnx import TensorProto, helper

from edgeprof import counting
from edgeprof.errors import EdgeprofError, ModelFileError
from edgeprof.stages import graph as stages_graph

X = {"x": f32(3, 4)}
QKV = {name: f32(1, 2, 8) for name in "qkv"}


def bare(op_type: str, inputs: int = 0, outputs: int = 1, **attributes: Any) -> onnx.ModelProto:
    """One node with too few inputs, outputs or attributes."""
    return graph(helper.make_node(op_type, ["x"] * inputs, ["y"][:outputs], **attributes), X)


def with_weight(op_type: str, **tensor: Any) -> onnx.ModelProto:
    model = graph(node(op_type, "x w"), X)
    model.graph.initializer.append(TensorProto(name="w", **tensor))
    return model


def changed(change: Callable[[onnx.ModelProto], Any]) -> onnx.ModelProto:
    model = graph(node("Relu", "x"), X)
    change(model)
    return model


def nested(depth: int) -> onnx.ModelProto:
    """A branch in a branch in a branch."""
    built = [onnx.ValueInfoProto(name="b")]
    inner = helper.make_graph([node("Relu", "x", "b")], "g", [], built)
    for _ in range(depth):
        inner = helper.make_graph([node("If", "c", "b", then_branch=inner, else_branch=inner)], "g", [], built)
        if inner.ByteSize() > 1_000_000:
            break
    return graph(node("If", "c", then_branch=inner, else_branch=inner), {**X, "c": np.asarray(True)})


EMPTY = helper.make_graph([], "empty", [], [])
EVERYTHING = ("Add", "Cast", "Conv", "DequantizeLinear", "Gather", "MatMul", "Mul", "QuantizeLinear", "Reshape")
MODELS: dict[str, onnx.ModelProto] = {
    **{f"{name} of nothing": bare(name) for name in (*EVERYTHING, "Softmax", "Transpose", "LSTM", "Pad", "Constant")},
    **{f"{name} that makes nothing": bare(name, 1, 0) for name in (*EVERYTHING, "DynamicQuantizeLinear", "Split")},
    **{f"{name} without body": bare(name, inputs) for name in ("If", "Loop", "Scan") for inputs in (0, 3)},
    **{f"{name} of an empty body": bare(name, 3, body=EMPTY, num_scan_inputs=1) for name in ("Loop", "Scan")},
    "no heads": graph(node("ms.MultiHeadAttention", "q k v", num_heads=0), QKV),
    "no heads, standard": graph(node("Attention", "q k v", q_num_heads=0, kv_num_heads=0), QKV),
    "no heads, grouped": graph(node("ms.GroupQueryAttention", "q k v", num_heads=0, kv_num_heads=0), QKV),
    "no heads, packed": graph(node("ms.Attention", "q w", num_heads=0), QKV, {"w": f32(8, 24)}),
    "no bits": graph(node("ms.GatherBlockQuantized", "w i s", bits=0), {"i": i64(1)}, {"w": u8(6, 16), "s": f32(6, 1)}),
    "no block": graph(
        node("ms.MatMulNBits", "x w s", N=6, K=0, block_size=0, accuracy_level=4), X, {"w": u8(6, 1, 16), "s": f32(6)}
    ),
    "no stride": graph(node("Conv", "x w", strides=[0, 0]), {"x": f32(1, 2, 5, 5)}, {"w": f32(3, 2, 3, 3)}),
    "an axis that is none": graph(node("Gather", "x i", axis=9), X, {"i": i64(1)}),
    "too few pads": graph(node("Pad", "x p", mode="reflect"), X, {"p": i64(1)}),
    "a name twice": graph([node("Relu", "x"), node("Neg", "x"), node("Exp", "y")], X),
    "a circle": graph([node("Add", "x b", "a"), node("Relu", "a", "b"), node("Softmax", "b", "c")], X),
    "its own input": graph(node("Add", "x a", "a"), X),
    "a negative size": with_weight("MatMul", data_type=1, dims=[-2, 2]),
    "no such type": with_weight("MatMul", data_type=99, dims=[2, 2]),
    "no data": with_weight("Reshape", data_type=7, dims=[2]),
    "half an integer": with_weight("Reshape", data_type=7, dims=[2], raw_data=b"abc"),
    "a giant": with_weight("MatMul", data_type=1, dims=[4, 2**62]),
    "a shape of negative sizes": graph(node("ConstantOfShape", "s"), {}, {"s": i64(-5)}),
    "a step of nothing": graph(node("Range", "a b a"), {}, {"a": np.asarray(0), "b": np.asarray(2**62)}),
    "an input of no type": changed(lambda model: model.graph.input.append(onnx.ValueInfoProto(name="u"))),
    "an input of no such type": changed(lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", 77)),
    "no operator set": changed(lambda model: model.ClearField("opset_import")),
    "a negative operator set": changed(lambda model: setattr(model.opset_import[0], "version", -5)),
    "an empty sparse tensor": changed(lambda model: model.graph.sparse_initializer.append(onnx.SparseTensorProto())),
    "many branches": nested(12),
}


@pytest.mark.parametrize("name", MODELS)
def test_nothing_but_an_edgeprof_error_gets_out(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(MODELS[name].SerializeToString())
    sizes = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in MODELS[name].graph.input
    }
    for answer in (
        lambda: stages_graph.load(path),
        lambda: counting.inputs(counting.read(path)),
        lambda: counting.outputs(counting.read(path)),
        lambda: counting.parameters(counting.read(path)),
        lambda: counting.weights_bytes(counting.read(path)),
        lambda: counting.precision(counting.read(path)),
        lambda: counting.count(counting.read(path), sizes),
        lambda: counting.count(MODELS[name], sizes),
    ):
        try:
            answer()
        except EdgeprofError as problem:
            assert len(str(problem)) < 400


def test_no_heads_are_not_counted() -> None:
    counted = count(MODELS["no heads"], QKV)
    assert [missed.operator for missed in counted.uncounted] == ["com.microsoft::MultiHeadAttention"]


def test_sizes_that_no_machine_holds_are_refused() -> None:
    with pytest.raises(ModelFileError, match="larger than any memory"):
        count(MODELS["a giant"], X)


# --- functions ---


def calling(*functions: onnx.FunctionProto) -> onnx.ModelProto:
    model = graph(helper.make_node("F0", ["x"], ["y"], domain="mine"), X)
    model.opset_import.append(helper.make_opsetid("mine", 1))
    model.functions.extend(functions)
    return model


def function(name: str, *nodes: onnx.NodeProto) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", 23), helper.make_opsetid("mine", 1)]
    return helper.make_function("mine", name, ["a"], ["b"], list(nodes), opsets)


def call(name: str, given: str, built: str) -> onnx.NodeProto:
    return helper.make_node(name, [given], [built], domain="mine")


def test_a_function_that_calls_itself_is_named() -> None:
    with pytest.raises(ModelFileError, match="The local function 'F0' calls itself"):
        counting.parameters(calling(function("F0", call("F0", "a", "b"))))


def test_functions_that_double_thirty_times_are_refused() -> None:
    """2^30 nodes: the twentieth from the last becomes more than a million."""
    chain = [function(f"F{at}", call(f"F{at + 1}", "a", "t"), call(f"F{at + 1}", "t", "b")) for at in range(30)]
    model = calling(*chain, function("F30", node("Relu", "a", "b")))
    with pytest.raises(ModelFileError, match=r"The local function 'F1[01]' becomes more than 1,000,000 nodes"):
        counting.count(model, shapes(X))


def test_a_constant_of_a_function_is_stored_once() -> None:
    """4 x 4 numbers in a function that is called twice: 16 parameters, 2 products of 3 x 4 x 4."""
    held = onnx.numpy_helper.from_array(f32(4, 4))
    multiplies = function("F1", node("Constant", "", "k", value=held), node("MatMul", "a k", "b"))
    twice = function("F0", call("F1", "a", "t"), call("F1", "t", "b"))
    counted = count(calling(multiplies, twice), X)
    assert (counted.params, counted.weights_bytes, counted.macs) == (16, 64, 2 * 3 * 4 * 4)


# --- files ---


def test_a_git_lfs_pointer_is_called_that(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4f' * 32}\nsize 90405214\n")
    for load in (counting.read, stages_graph.load):
        with pytest.raises(ModelFileError, match=r"model.onnx is a Git LFS pointer.* Run: git lfs pull"):
            load(path)


def test_weights_that_are_a_git_lfs_pointer_are_called_that(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = graph(node("MatMul", "x w"), X, {"w": f32(4, 500)})
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    (tmp_path / "weights").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelFileError, match=r"weights is a Git LFS pointer"):
        stages_graph.require_external_data(stages_graph.load(path), path)


@pytest.mark.skipif(os.name == "nt", reason="links need a right there that tests do not have")
def test_files_that_a_hub_cache_keeps_by_links(tmp_path: Path) -> None:
    """snapshots/1/model.onnx and its weights are links to blobs of other names: both are looked for beside the link."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    model = graph(node("MatMul", "x w"), X, {"w": f32(4, 500)})
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.onnx_data", size_threshold=0)
    for name, blob in (("m.onnx", "4f1a"), ("m.onnx_data", "90ab")):
        (tmp_path / name).rename(blobs / blob)
        (snapshot / name).symlink_to(Path("..") / ".." / "blobs" / blob)
    path = snapshot / "m.onnx"
    assert counting.parameters(counting.read(path)) == 2000
    loaded = stages_graph.load(path)
    stages_graph.require_external_data(loaded, path)
    weight = loaded.graph.initializers["w"].const_value
    assert weight is not None
    assert (weight.numpy() == 0.5).all()
