"""The measuring child on real models: what it reads, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from toys import QUICK, save, save_matmuls, x

from edgeprof.errors import EdgeprofError, ModelFileError, UsageError
from edgeprof.measure.launch import LATENCY_WORKER
from edgeprof.process import call
from edgeprof.schema import InputValue, Reading, Request

MIB = 2**20


def read(model: Path, *values: InputValue, threads: int = 1) -> Reading:
    request = Request(model=str(model), threads=threads, inputs=values, stopping=QUICK)
    return call(LATENCY_WORKER, request, Reading, timeout_s=60)


def test_a_reading(toy: Path) -> None:
    reading = read(toy, x(2, 5, 8))
    assert reading.providers_active == ("CPUExecutionProvider",)
    assert len(reading.latencies_s) == QUICK.min_runs
    assert min(reading.latencies_s) > 0
    assert reading.load_s > 0
    assert reading.first_run_s > 0
    assert reading.warmup_runs >= 10


def test_weights_show_in_what_is_resident_after_load(tmp_path: Path) -> None:
    reading = read(save_matmuls(tmp_path / "big.onnx", width=2048, layers=4), x(1, 1, 2048))  # 4 x 16 MiB
    grown = reading.memory_loaded_bytes - reading.memory_imports_bytes
    assert 60 * MIB < grown < 140 * MIB
    assert reading.memory_imports_bytes > 20 * MIB
    assert reading.memory_load_peak_bytes >= reading.memory_loaded_bytes
    assert 0 <= reading.memory_loaded_file_bytes < reading.memory_loaded_bytes


def test_inputs_and_outputs_show_in_the_peak_of_the_runs_and_not_in_what_was_loaded(toy: Path) -> None:
    small, large = read(toy, x(1, 1, 8)), read(toy, x(1, MIB, 8))  # 32 MiB each of input, between and output
    assert abs(large.memory_loaded_bytes - small.memory_loaded_bytes) < 8 * MIB
    assert 60 * MIB < large.memory_run_peak_bytes - small.memory_run_peak_bytes < 200 * MIB
    assert small.memory_run_peak_bytes - small.memory_loaded_bytes < 16 * MIB


def test_a_peak_while_loading_is_not_counted_as_one_of_the_runs(tmp_path: Path) -> None:
    """Weights that constant folding makes smaller are needed at load only."""
    model = save(
        tmp_path / "folded.onnx",
        [
            helper.make_node("Expand", ["one", "shape"], ["wide"]),
            helper.make_node("ReduceSum", ["wide", "axes"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["x", "sum"], ["y"]),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
            helper.make_tensor("shape", TensorProto.INT64, [1], [64 * MIB // 4]),
            helper.make_tensor("axes", TensorProto.INT64, [1], [0]),
        ],
    )
    reading = read(model, x(4))
    assert reading.memory_load_peak_bytes - reading.memory_run_peak_bytes > 32 * MIB


def test_a_kv_cache_that_starts_empty(tmp_path: Path) -> None:
    model = save(
        tmp_path / "cache.onnx",
        [helper.make_node("Concat", ["past", "new"], ["present"], axis=1)],
        [
            helper.make_tensor_value_info("past", TensorProto.FLOAT, ["batch", "past", 4]),
            helper.make_tensor_value_info("new", TensorProto.FLOAT, ["batch", "seq", 4]),
        ],
        [helper.make_tensor_value_info("present", TensorProto.FLOAT, None)],
    )
    past = InputValue(name="past", dtype="float32", shape=(1, 0, 4), fill="normal")
    new = InputValue(name="new", dtype="float32", shape=(1, 2, 4), fill="normal")
    assert len(read(model, past, new).latencies_s) == 3


def test_outputs_whose_size_changes_from_run_to_run_are_measured_too(tmp_path: Path) -> None:
    model = save(
        tmp_path / "chance.onnx",
        [helper.make_node("Bernoulli", ["x"], ["coins"]), helper.make_node("NonZero", ["coins"], ["y"])],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, None)],
    )
    np.save(tmp_path / "x.npy", np.full(10_000, 0.5, np.float32))
    value = InputValue(name="x", dtype="float32", shape=(10_000,), fill="file", file=str(tmp_path / "x.npy"))
    assert len(read(model, value).latencies_s) == 3


def test_outputs_that_are_views_constants_or_sequences(tmp_path: Path) -> None:
    model = save(
        tmp_path / "views.onnx",
        [
            helper.make_node("Relu", ["x"], ["y"]),
            helper.make_node("Reshape", ["y", "flat"], ["view"]),
            helper.make_node("Identity", ["constant"], ["same"]),
            helper.make_node("SequenceConstruct", ["y", "y"], ["pair"]),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["a", "b"])],
        [
            *(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "view", "same")),
            helper.make_tensor_sequence_value_info("pair", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
            helper.make_tensor("constant", TensorProto.FLOAT, [2], [1.0, 2.0]),
        ],
    )
    assert len(read(model, x(2, 3)).latencies_s) == 3


@pytest.mark.parametrize("library", ["torch", "transformers", "onnx", "matplotlib", "scipy"])
def test_other_libraries_are_refused(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    (tmp_path / f"{library}.py").touch()
    (tmp_path / "sitecustomize.py").write_text(f"import {library}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EdgeprofError, match=f"'{library}' was imported into the measuring process"):
        read(toy, x(1, 1, 8))


def test_a_file_that_is_not_there_or_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot load .*none.onnx: .*doesn't exist"):
        read(tmp_path / "none.onnx", x(1))
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(
        ModelFileError,
        match=r"cannot load .*text.onnx: Protobuf parsing failed\. Check at its source that it is complete",
    ):
        read(tmp_path / "text.onnx", x(1))


def test_inputs_that_do_not_fit_the_model(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgeprofError, match=r"cannot run .*invalid dimensions"):
        read(toy, x(1, 1, 9))
    with pytest.raises(EdgeprofError, match="cannot run"):
        read(toy)
    missing = InputValue(name="x", dtype="float32", shape=(1, 1, 8), fill="file", file=str(tmp_path / "none.npy"))
    with pytest.raises(UsageError, match=r"none\.npy cannot be read: there is no such file"):
        read(toy, missing)
