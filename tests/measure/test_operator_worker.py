"""The profiling child: what it makes of onnxruntime's profile, and that a real one has what it expects."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from builders.records import changed
from onnx import TensorProto, helper, numpy_helper
from toys import make_job, save, x

from edgeprof.errors import EdgeprofError
from edgeprof.measure import matmul_speed
from edgeprof.measure.launch import measure_operators, operator_job
from edgeprof.measure.operator_worker import STOPPING, last_runs, matrix_times, operator_times
from edgeprof.measure.schedule import plan_passes
from edgeprof.schema import InputValue, KernelTime, OperatorPass, OperatorReading, Outcome, decode, encode

RUN = {"cat": "Session", "name": "model_run", "dur": 100, "ts": 1, "ph": "X", "args": {}}


def node(kind: str, micros: int, ins: Sequence[Any] = (), outs: Sequence[Any] = (), constants: int = 0) -> Any:
    shapes = {"input_type_shape": list(ins), "output_type_shape": list(outs), "parameter_size": str(constants)}
    args = {"op_name": kind, "node_index": "3", "thread_scheduling_stats": {"main": 1}, **shapes}
    return {"cat": "Node", "name": f"some/{kind}_kernel_time", "dur": micros, "ts": 1, "args": args}


def profile(*events: dict[str, Any]) -> bytes:
    return json.dumps([{"cat": "Session", "name": "session_initialization", "dur": 5}, *events]).encode()


# --- reading a profile -----------------------------------------------------------------------------------------


def test_times_are_medians_over_the_last_runs_of_sums_over_nodes() -> None:
    """Add takes 1 + 2, 2 + 3 and 10 + 10 microseconds; the run before those is warm-up."""
    warm_up = [node("Add", 900), node("Relu", 900), RUN]
    runs = [[node("Add", a), node("Relu", 1), node("Add", b), RUN] for a, b in ((1, 2), (2, 3), (10, 10))]
    read = last_runs(profile(*warm_up, *(event for run in runs for event in run)), 3)
    add, relu = operator_times(read)
    assert (add.operator, add.nodes, add.time_s) == ("Add", 2, pytest.approx(5e-6))
    assert (relu.operator, relu.nodes, relu.time_s) == ("Relu", 1, pytest.approx(1e-6))


def test_a_node_with_a_graph_inside_is_not_counted_twice() -> None:
    before = {"cat": "Node", "name": "some/Add_fence_before", "dur": 7, "args": {"op_name": "Add"}}
    read = last_runs(profile(before, node("Add", 3), node("If", 50), RUN), 1)
    assert [(time.operator, time.time_s) for time in operator_times(read)] == [("Add", pytest.approx(3e-6))]


@pytest.mark.parametrize("data", [b"", b"{", profile(), profile(RUN), profile(node("Add", 1))])
def test_a_profile_without_the_runs_is_refused(data: bytes) -> None:
    with pytest.raises(EdgeprofError, match="onnxruntime's profile"):
        last_runs(data, 1)


def test_matrix_products_by_shape_and_by_where_the_second_factor_comes_from() -> None:
    a, wide = {"float": [1, 5, 8]}, {"float": [1, 5, 24]}
    events = [
        node("MatMul", 4, [a], [wide]),  # packed at load: no longer an input
        node("MatMul", 5, [a], [wide]),
        node("MatMul", 7, [a, {"float": [8, 24]}], [wide], constants=8 * 24 * 4),
        node("MatMul", 20, [a, {"float": [8, 24]}], [wide]),
        node("MatMul", 30, [{"float": [1, 2, 5, 8]}, {"float": [1, 2, 8, 5]}], [{"float": [1, 2, 5, 5]}]),
        node("DynamicQuantizeMatMul", 6, [a, {"float": [24]}, {"int8": [24]}], [wide]),
        node("MatMulNBits", 8, [a, {"uint8": [24, 1, 4]}, {"float": [24]}], [wide], constants=24 * 4 + 24 * 4),
        node("Softmax", 99, [a], [a]),
        RUN,
    ]
    result = [(t.operator, t.inner, t.columns, t.second, t.nodes) for t in matrix_times(last_runs(profile(*events), 1))]
    assert result == [
        ("MatMul", 8, 5, "activation", 1),
        ("MatMul", 8, 24, "computed", 1),
        ("MatMul", 8, 24, "constant", 3),
        ("MatMulNBits", 8, 24, "constant", 1),
        ("DynamicQuantizeMatMul", 8, 24, "constant", 1),
    ]


# --- the real thing --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """x -> MatMul with a constant -> Relu -> MatMul with a matrix that is dequantized in every run -> y."""
    weights = np.ones((8, 8))
    return save(
        tmp_path_factory.mktemp("mixed") / "mixed.onnx",
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("DequantizeLinear", ["q", "scale"], ["v"]),
            helper.make_node("MatMul", ["r", "v"], ["y"]),
        ],
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch_size", "sequence_length", 8]),
            helper.make_tensor_value_info("q", TensorProto.UINT8, [8, 8]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights.astype(np.float32), "w"), numpy_helper.from_array(np.float32(0.5), "scale")],
    )


def test_a_pass_over_a_real_model(mixed: Path) -> None:
    quantized = InputValue(name="q", dtype="uint8", shape=(8, 8), fill="zeros")
    record = measure_operators(make_job(mixed, (x(1, 2, 8), quantized)))
    assert (record.outcome.status, record.outcome.error, record.load.length, record.machine_id) == ("ok", "", 2, "here")
    reading = record.outcome.reading
    assert reading
    assert {time.operator: time.nodes for time in reading.operators} == {"MatMul": 2, "DequantizeLinear": 1, "Relu": 1}
    assert {(time.inner, time.columns, time.second) for time in reading.matrices} == {
        (8, 8, "constant"),
        (8, 8, "computed"),
    }
    assert len(reading.profiled_latencies_s) == len(reading.latencies_s) == STOPPING.min_runs
    assert 0 < sum(time.time_s for time in reading.operators) < 1
    assert decode(encode(record), OperatorPass, "memory") == record


def test_a_pass_that_fails_is_a_record_with_its_reason(toy: Path, tmp_path: Path) -> None:
    record = measure_operators(make_job(toy, (x(1, 2, 9),)))
    assert (record.outcome.status, record.outcome.reading) == ("failed", None)
    assert "invalid dimensions" in record.outcome.error
    record = measure_operators(make_job(tmp_path / "none.onnx", (x(1, 2, 8),)))
    assert "doesn't exist" in record.outcome.error


def test_what_is_profiled_is_not_profiled_again(toy: Path) -> None:
    job = make_job(toy, (x(1, 2, 8),))
    record = measure_operators(job)
    wider = make_job(toy, (x(1, 3, 8),))
    visits = [operator_job(job), operator_job(wider)]
    assert plan_passes(visits, [record]) == visits[1:]
    assert plan_passes(visits) == visits


def test_a_pass_that_does_not_say_where_weights_come_from_is_not_repeated(toy: Path) -> None:
    """Passes of version 1 do not; the digest of the graph and the settings say what they are of."""
    job = operator_job(changed(make_job(toy, (x(1, 2, 8),)), weights="random"))
    outcome = Outcome[OperatorReading](status="unsupported", started_at="2026-01-01T00:00:00+00:00")
    record = OperatorPass(key=changed(job, weights="file").key, settings_key=job.settings_key, outcome=outcome)
    assert plan_passes([job], [record]) == []
    assert plan_passes([changed(job, digest="b" * 64)], [record]) != []


def test_the_profile_is_written_nowhere_that_stays(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.chdir(tmp_path)
    model = shutil.copy(toy, tmp_path / "toy.onnx")
    assert measure_operators(make_job(Path(model), (x(1, 2, 8),))).outcome.status == "ok"
    left = {path.name for path in tmp_path.rglob("*")} - {".ses"}  # of every session: an id that onnxruntime keeps
    assert left == {"scratch", "toy.onnx"}


# --- one matrix product ----------------------------------------------------------------------------------------


def test_fp32_and_int8_take_turns_and_nothing_is_measured_twice() -> None:
    every = matmul_speed.to_measure(2, [])
    assert [product.precision for product in every] == ["fp32", "int8"] * (len(every) // 2)
    assert {product.tokens for product in every} == {1, 128}
    done = [kernel_time(every[0]._asdict()), kernel_time(every[1]._asdict(), status="failed", median_s=None)]
    assert matmul_speed.to_measure(2, done) == every[1:]
    assert matmul_speed.to_measure(1, done) == every


def kernel_time(fields: dict[str, Any], **changes: Any) -> KernelTime:
    plain = {"width": 8, "threads": 2, "status": "ok", "median_s": 1.0, "machine_id": "m", "started_at": "now"}
    return KernelTime(**{**plain, **fields, **changes})


def test_the_products_are_measured_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matmul_speed, "WIDTH", 16)
    products = matmul_speed.to_measure(1, [])[:2]
    built = list(matmul_speed.measure_kernels(products, 1, "here"))
    assert [(one.precision, one.tokens, one.status, one.error) for one in built] == [
        ("fp32", 1, "ok", ""),
        ("int8", 1, "ok", ""),
    ]
    assert all(one.median_s and one.median_s > 0 for one in built)
    assert onnx.checker.check_model(matmul_speed.model("int8")) is None
