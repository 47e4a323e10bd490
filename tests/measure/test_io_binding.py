"""Inputs and outputs of a session: written where they were before, and a cache where it was read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper
from toys import save, x

from edgeprof.measure.io_binding import Binding
from edgeprof.providers.session import open_session
from edgeprof.providers.table import here, target
from edgeprof.schema import CPU, InputValue, Target

SLOTS, WIDTH = 4, 8
SCORES = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
PAST = InputValue(name="past_key_values.0.key", dtype="float32", shape=(1, 1, SLOTS, WIDTH), fill="normal")


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    """x is written into the last slot of the cache; y is the sum over the slots."""
    last = np.arange(SLOTS).reshape(1, 1, SLOTS, 1) == SLOTS - 1
    return save(
        tmp_path / "decoder.onnx",
        [
            helper.make_node("Where", ["last", "x", PAST.name], ["present.0.key"]),
            helper.make_node("ReduceSum", ["present.0.key", "axis"], ["y"]),
        ],
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, WIDTH]),
            helper.make_tensor_value_info(PAST.name, TensorProto.FLOAT, PAST.shape),
        ],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 1, WIDTH]),
            helper.make_tensor_value_info("present.0.key", TensorProto.FLOAT, PAST.shape),
        ],
        [numpy_helper.from_array(last, "last"), numpy_helper.from_array(np.array([2]), "axis")],
    )


@pytest.mark.parametrize("on", ["cpu", "qnn"])
def test_a_cache_is_written_where_it_was_read(decoder: Path, on: str) -> None:
    if on == "qnn" and here() not in ("linux-x86_64", "windows-x86_64"):
        pytest.skip("QNN's emulator is for x86")
    where: Target = target(on)
    binding = Binding(open_session(str(decoder), where), where, (x(1, 1, 1, WIDTH), PAST))
    binding.run()
    y, present = (output.copy() for output in binding.bound.copy_outputs_to_cpu())
    cache = binding.inputs[PAST.name]
    before = cache.numpy().copy()
    binding.settle(in_place=True)
    binding.run()
    np.testing.assert_array_equal(binding.bound.copy_outputs_to_cpu()[0], y)
    np.testing.assert_array_equal(cache.numpy(), present)
    assert (before[0, 0, SLOTS - 1] != present[0, 0, SLOTS - 1]).all()
    np.testing.assert_allclose(y[0, 0, 0], present[0, 0].sum(0), atol=0.01)  # QNN computes in fp16


def test_a_cache_that_grows_stays_as_it_was(decoder: Path) -> None:
    binding = Binding(open_session(str(decoder)), CPU, (x(1, 1, 1, WIDTH), PAST))
    cache = binding.inputs[PAST.name]
    before = cache.numpy().copy()
    binding.run()
    binding.settle()
    binding.run()
    np.testing.assert_array_equal(cache.numpy(), before)


def test_the_runs_to_come_write_where_the_first_did(toy: Path) -> None:
    binding = Binding(open_session(str(toy)), CPU, (x(1, 2, 8),))
    binding.run()
    (first,) = binding.bound.get_outputs()
    run, count = binding.warm_up(lambda run: [run(), run()].count(None))
    run()
    (last,) = binding.bound.get_outputs()
    assert (count, last.data_ptr()) == (2, first.data_ptr())


# --- types that numpy lacks, and what is no tensor ------------------------------------------------------------


def identity(file: Path, kind: int, shape: list[int]) -> Path:
    return save(
        file,
        [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
        opset=21,
    )


@pytest.mark.parametrize("kind", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_a_type_that_numpy_lacks_goes_in_and_comes_out_as_it_is(kind: str, tmp_path: Path) -> None:
    values = np.array([[0.5, -3, 0.015625, 1.75, -0.0]]).astype(getattr(ml_dtypes, kind))
    number = getattr(TensorProto, kind.upper().replace("_", ""))
    binding = given(identity(tmp_path / "same.onnx", number, [1, 5]), "x", values)
    np.testing.assert_array_equal(binding.outputs()["y"].view(np.uint8), values.view(np.uint8))
    assert binding.outputs()["y"].dtype == values.dtype


@pytest.mark.parametrize(("kind", "values"), [("int4", [[-8, 7, 0, -1, 3]]), ("uint4", [[15, 0, 7, 8, 1]])])
def test_four_bits_are_packed(kind: str, values: list[list[int]], tmp_path: Path) -> None:
    """Five values in three bytes; DequantizeLinear reads them."""
    file = save(
        tmp_path / "packed.onnx",
        [helper.make_node("DequantizeLinear", ["x", "scale"], ["y"])],
        [helper.make_tensor_value_info("x", getattr(TensorProto, kind.upper()), [1, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(np.array(0.5, np.float32), "scale")],
        opset=21,
    )
    binding = given(file, "x", np.array(values).astype(getattr(ml_dtypes, kind)))
    np.testing.assert_array_equal(binding.outputs()["y"], np.array(values) / 2)


def test_strings_are_fed_in_every_run(tmp_path: Path) -> None:
    """They cannot be bound; what comes out is what `run` gives, also from the second run on."""
    words = np.array([["edge", "", "ö"]])
    binding = given(identity(tmp_path / "same.onnx", TensorProto.STRING, [1, 3]), "x", words)
    run, runs = binding.warm_up(lambda run: [run(), run()].count(None))
    run()
    assert runs == 2
    assert binding.outputs()["y"].tolist() == words.tolist()


def test_a_sequence_is_fed_and_a_sequence_comes_out(tmp_path: Path) -> None:
    parts = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    file = save(
        tmp_path / "parts.onnx",
        [
            helper.make_node("SequenceAt", ["x", "last"], ["y"]),
            helper.make_node("SequenceErase", ["x", "last"], ["rest"]),
        ],
        [parts],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
            helper.make_tensor_sequence_value_info("rest", TensorProto.FLOAT, None),
        ],
        [numpy_helper.from_array(np.array(-1), "last")],
    )
    result = given(file, "x", [np.ones(2, np.float32), np.zeros((1, 3), np.float32)]).outputs()
    assert result["y"].tolist() == [[0, 0, 0]]
    assert [part.tolist() for part in result["rest"]] == [[1, 1]]


def test_runs_that_make_a_sequence_keep_nothing_of_each_other(tmp_path: Path) -> None:
    """4 MB a run: 200 of them would be 800 MB."""
    file = save(
        tmp_path / "split.onnx",
        [helper.make_node("SplitToSequence", ["x"], ["parts"], axis=0)],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 2**18])],
        [helper.make_tensor_sequence_value_info("parts", TensorProto.FLOAT, None)],
    )
    x = InputValue(name="x", dtype="float32", shape=(4, 2**18), fill="ones")
    binding = Binding(open_session(str(file)), CPU, [x])

    def several(run: Callable[[], object]) -> int:
        for _ in range(200):
            run()
        return 200

    binding.run()
    before = psutil.Process().memory_info().rss
    binding.warm_up(several)
    assert psutil.Process().memory_info().rss - before < 200e6


def test_a_classifier_gives_labels_and_a_map_of_strings(tmp_path: Path) -> None:
    """As scikit-learn's converter writes it; its input is bound."""
    file = save(
        tmp_path / "classifier.onnx",
        [
            helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0),
            helper.make_node(
                "LabelEncoder",
                ["best"],
                ["label"],
                domain="ai.onnx.ml",
                keys_int64s=[0, 1],
                values_strings=["no", "yes"],
            ),
            helper.make_node("ZipMap", ["x"], ["scores"], domain="ai.onnx.ml", classlabels_strings=["no", "yes"]),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])],
        [
            helper.make_tensor_value_info("label", TensorProto.STRING, [1]),
            helper.make_value_info("scores", helper.make_sequence_type_proto(SCORES)),
        ],
    )
    binding = given(file, "x", np.array([[0.25, 0.75]], np.float32))
    assert not binding.fed
    result = binding.outputs()
    assert result["label"].tolist() == ["yes"]
    assert result["scores"] == [{"no": 0.25, "yes": 0.75}]


def given(file: Path, name: str, values: Any) -> Binding:
    """After one run with these values."""
    placeholder = InputValue(name=name, dtype="float32", shape=(), fill="zeros")
    binding = Binding(open_session(str(file)), CPU, (placeholder,), {name: values})
    binding.run()
    binding.settle()
    return binding
