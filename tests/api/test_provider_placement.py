"""Preparation of points for other providers, on QNN's emulator and on libraries that fail on purpose."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from builders.records import changed
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from edgeprof import process
from edgeprof.api.placement import misfit, prepared
from edgeprof.errors import EdgeprofError
from edgeprof.inputs import tensors
from edgeprof.measure.launch import measure, measure_operators, request_of
from edgeprof.measure.placement_worker import PlacementReading, PlacementRequest, padded
from edgeprof.measure.schedule import Job, Prepared, Visit, place_of
from edgeprof.providers.table import here, target
from edgeprof.schema import (
    CPU,
    Facts,
    Graph,
    GraphCount,
    InputValue,
    LeftOperator,
    Load,
    PointKey,
    Precision,
    ProviderShare,
    StoppingRule,
    Subject,
    Target,
    TensorSpec,
    WeightsSource,
)
from edgeprof.store import sha256_of

qnn_only = pytest.mark.skipif(here() not in ("linux-x86_64", "windows-x86_64"), reason="QNN's emulator is for x86")
compiler_only = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

ROWS, WIDTH = 4, 8


def save(
    file: Path, nodes: Sequence[Any], weights: Sequence[Any] = (), dims: Sequence[int | str] = (ROWS, WIDTH)
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=9), str(file))
    return file


def chain(file: Path, *operators: str, dims: Sequence[int | str] = (ROWS, WIDTH)) -> Path:
    """x -> operators -> y; nodes have no names."""
    names = ["x", *(f"h{at}" for at in range(1, len(operators))), "y"]
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((WIDTH, WIDTH), np.float32), "w")
    nodes = [
        helper.make_node(operator, [names[at], *(["w"] if operator == "MatMul" else [])], [names[at + 1]])
        for at, operator in enumerate(operators)
    ]
    return save(file, nodes, [weight], dims)


def job(model: Path, on: Target, precision: str = "fp32", rows: int = ROWS, **changes: Any) -> Job:
    graph = Graph(
        path=str(model),
        sha256=sha256_of(model),
        opset=21,
        inputs=(TensorSpec(name="x", dtype="float32", dims=("n", WIDTH)),),
        outputs=(),
        count=GraphCount(nodes={}, weights_bytes=0),
    )
    weights = WeightsSource(kind="file")
    subject = Subject(model="toy", precision=Precision.parse(precision), weights=weights, digest=graph.sha256)
    plain = Job(
        key=PointKey(subject=subject, load=Load(tokens=rows), place=place_of(on, "here", 1)),
        facts=Facts(params=WIDTH**2),
        graph=graph,
        target=on,
        inputs=(InputValue(name="x", dtype="float32", shape=(rows, WIDTH), fill="normal"),),
        stopping=StoppingRule(min_runs=1, min_time_s=0.0),
        timeout_s=60.0,
    )
    return replace(plain, **changes)


def outcome(requested: Job, least_share: float = 0.0) -> Prepared:
    result = prepared(requested, least_share).prepared
    assert result is not None
    return result


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPROF_CACHE", str(tmp_path / "cache"))


def test_nothing_is_adapted_for_the_cpu_provider(tmp_path: Path) -> None:
    requested = job(chain(tmp_path / "toy.onnx", "MatMul"), CPU)
    assert prepared(requested) is requested


# --- a device in software ------------------------------------------------------------------------------


@qnn_only
def test_a_graph_that_runs_entirely_on_the_provider(tmp_path: Path) -> None:
    """Its length is fixed for the point; 4 x 8 x 8 MACs."""
    requested = job(chain(tmp_path / "toy.onnx", "MatMul", "Relu", dims=("n", WIDTH)), target("qnn"))
    result = outcome(requested, least_share=1.0)
    assert (result.status, result.error, result.receipt.static) == ("ok", "", True)
    assert result.receipt.placement
    assert result.receipt.placement.placed == (ProviderShare(provider="qnn", nodes=2, macs=256, partitions=1),)
    placement = result.receipt.placement
    assert (placement.left, placement.copies, placement.disagreement) == ((), 0, "")
    assert result.receipt.agreement
    assert result.receipt.agreement.within
    record = measure(Visit(job=replace(requested, prepared=result), round=0))
    assert (record.outcome.status, record.place.provider) == ("ok", "qnn")
    assert (record.receipt.static, record.place.emulated) == (True, True)
    assert (record.receipt.placement, record.receipt.agreement) == (result.receipt.placement, result.receipt.agreement)
    wrong = changed(
        result,
        placement=replace(result.receipt.placement, placed=(replace(result.receipt.placement.placed[0], nodes=5),)),
    )
    record = measure(Visit(job=replace(requested, prepared=wrong), round=0))
    assert record.outcome.status == "failed"
    assert "qnn was assigned 2 nodes" in record.outcome.error


@qnn_only
def test_a_graph_of_which_a_part_is_left(tmp_path: Path) -> None:
    requested = job(chain(tmp_path / "toy.onnx", "Relu", "Hardmax", "Neg"), target("qnn"))
    result = outcome(requested)
    assert result.status == "ok"
    assert result.receipt.placement
    assert result.receipt.placement.placed == (
        ProviderShare(provider="qnn", nodes=2, macs=0, partitions=2),
        ProviderShare(provider="cpu", nodes=1, macs=0, partitions=1),
    )
    reason = "Operators of type `Hardmax` are not supported by QNN EP"
    assert result.receipt.placement.left == (LeftOperator(operator="Hardmax", nodes=1, macs=0, reason=reason),)
    strict = outcome(requested, least_share=0.8)
    assert (strict.status, strict.error) == ("failed", "qnn runs 66.7% of the nodes, and 80% are required.")
    assert measure(Visit(job=replace(requested, prepared=strict), round=0)).outcome.status == "failed"


@qnn_only
def test_a_provider_that_takes_nothing_says_why(tmp_path: Path) -> None:
    """It stays listed as active, and onnxruntime runs all of it on the CPU."""
    model = chain(tmp_path / "toy.onnx", "Relu", dims=("n", WIDTH))
    dynamic = outcome(job(model, replace(target("qnn"), static=False)))
    assert dynamic.status == "unsupported"
    assert dynamic.error == "qnn accepts no node of toy in fp32: Cannot get shape."
    broken = outcome(job(model, replace(target("qnn"), options={"backend_path": "/no/such/libQnnHtp.so"})))
    assert broken.status == "unsupported"
    assert "accepts no node of toy in fp32: QNN SetupBackend failed" in broken.error
    assert "/no/such/libQnnHtp.so: cannot open" in broken.error
    record = measure(Visit(job=job(model, target("qnn"), prepared=broken), round=0))
    assert (record.outcome.status, record.outcome.reading, record.outcome.error) == ("unsupported", None, broken.error)


@qnn_only
@pytest.mark.parametrize(("gain", "within"), [(1, True), (32, False)])
def test_a_result_outside_tolerance_is_seen(gain: int, within: bool, tmp_path: Path) -> None:
    """Eight bits before a steep curve: a rounding that falls the other way changes half of the result."""
    result = outcome(job(steep(tmp_path / "steep.onnx", gain), target("qnn"), "a8w8", rows=64))
    assert result.status == "ok"
    assert result.receipt.placement
    assert result.receipt.placement.nodes_share == 1
    assert result.receipt.agreement
    assert (result.receipt.agreement.tolerance, result.receipt.agreement.within) == (0.15, within)
    assert (result.receipt.agreement.max_rel_error > 0.3) is not within


@qnn_only
def test_the_original_file_is_what_a_result_is_compared_with(tmp_path: Path) -> None:
    """A graph for the provider with another result: -|x| in place of |x|."""
    original = job(chain(tmp_path / "original.onnx", "Abs"), CPU)
    wrong = replace(original, target=target("qnn"))
    wrong = replace(
        wrong, prepared=Prepared(model=str(chain(tmp_path / "wrong.onnx", "Abs", "Neg")), inputs=wrong.inputs)
    )
    requested = PlacementRequest(
        request=request_of(wrong), original=request_of(original), precision=Precision(recipe="fp32")
    )
    result = process.call("edgeprof.measure.placement_worker", requested, PlacementReading)
    assert result.agreement
    assert result.agreement.max_rel_error == pytest.approx(2, abs=0.01)


def test_a_cache_of_fixed_size_holds_what_the_growing_one_holds() -> None:
    """Two tokens in three slots."""
    growing = InputValue(name="past.0", dtype="float32", shape=(1, 2, 2, 4), fill="normal")
    ids = InputValue(name="input_ids", dtype="int64", shape=(1, 1), fill="zeros")
    built = padded([ids, replace(growing, shape=(1, 2, 3, 4))], [ids, growing])
    assert list(built) == ["past.0"]
    np.testing.assert_array_equal(built["past.0"][:, :, :2], tensors.make(growing))
    assert (built["past.0"][:, :, 2] == 0).all()


def steep(file: Path, gain: int) -> Path:
    """Sigmoid(gain * (x @ w)), everything between in 8 bits."""
    ranges = {"x": (-4, 4), "w": (-4, 4), "h": (-16, 16), "g": (0, gain), "k": (-16 * gain, 16 * gain), "p": (0, 1)}
    values = np.random.default_rng(0).standard_normal((WIDTH, WIDTH))
    weights, nodes = [], []
    for name, (low, high) in ranges.items():
        step = np.float32((high - low) / 255)
        zero = np.uint8(round(-low / step))
        weights += [
            numpy_helper.from_array(np.array(step), f"{name}_s"),
            numpy_helper.from_array(np.array(zero), f"{name}_z"),
        ]
        if name == "w":
            weights.append(
                numpy_helper.from_array(np.clip(np.round(values / step) + zero, 0, 255).astype(np.uint8), "w_q")
            )
    weights.append(numpy_helper.from_array(np.array([255], np.uint8), "g_q"))

    def in_8_bits(name: str, source: str = "", result: str = "") -> None:
        if source:
            nodes.append(helper.make_node("QuantizeLinear", [source, f"{name}_s", f"{name}_z"], [f"{name}_q"]))
        outputs = [result or f"{name}_d"]
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", f"{name}_s", f"{name}_z"], outputs))

    in_8_bits("x", "x")
    in_8_bits("w")
    in_8_bits("g")
    nodes.append(helper.make_node("MatMul", ["x_d", "w_d"], ["h"]))
    in_8_bits("h", "h")
    nodes.append(helper.make_node("Mul", ["h_d", "g_d"], ["k"]))
    in_8_bits("k", "k")
    nodes.append(helper.make_node("Sigmoid", ["k_d"], ["p"]))
    in_8_bits("p", "p", "y")
    return save(file, nodes, weights, (64, WIDTH))


@qnn_only
def test_what_a_provider_compiled_is_loaded(tmp_path: Path) -> None:
    requested = job(chain(tmp_path / "toy.onnx", "MatMul", "Relu"), target("qnn"), compile=True)
    result = outcome(requested)
    assert (result.status, result.receipt.compiled) == ("ok", True)
    assert result.receipt.compile_s
    assert result.receipt.load_plain_s
    record = measure(Visit(job=replace(requested, prepared=result), round=0))
    assert (record.outcome.status, record.receipt.compiled, record.receipt.load_plain_s) == (
        "ok",
        True,
        result.receipt.load_plain_s,
    )
    assert record.receipt.placement == result.receipt.placement


def test_a_run_that_fails_on_the_device_does_not_fall_back_to_the_cpu(tmp_path: Path, swiftshader: None) -> None:
    """SwiftShader has no numbers of 16 bits."""
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Exp", ["half"], ["more"]),
        helper.make_node("Cast", ["more"], ["y"], to=TensorProto.FLOAT),
    ]
    result = outcome(job(save(tmp_path / "half.onnx", nodes), target("webgpu"), "fp16"))
    assert result.status == "failed"
    assert "webgpu cannot run" in result.error
    assert "requires f16 but the device does not support it" in result.error


def test_times_of_operators_that_are_only_handed_over_say_so(tmp_path: Path, swiftshader: None) -> None:
    requested = job(chain(tmp_path / "toy.onnx", "MatMul", "Relu"), target("webgpu"))
    result = measure_operators(prepared(requested))
    assert (result.outcome.status, result.place.provider, result.dispatch_only) == ("ok", "webgpu", True)
    assert result.outcome.reading
    assert {one.operator for one in result.outcome.reading.operators} >= {"MatMul", "Relu"}
    assert not measure_operators(replace(requested, target=CPU)).dispatch_only


# --- providers that do not come back -------------------------------------------------------------------

START = "void *CreateEpFactories(void) {{ {} }}\nvoid *ReleaseEpFactory(void) {{ return 0; }}\n"


@pytest.fixture
def library(tmp_path: Path) -> Callable[[str], Target]:
    """A plugin of which this is what happens when onnxruntime loads it."""

    def build(body: str) -> Target:
        (tmp_path / "mine.c").write_text("#include <stdlib.h>\n#include <unistd.h>\n" + START.format(body))
        call = ["cc", "-shared", "-fPIC", "-o", str(tmp_path / "libmine.so"), str(tmp_path / "mine.c")]
        subprocess.run(call, check=True, capture_output=True)
        return Target(provider="mine", runtime_name="mine", kind="NPU", library=str(tmp_path / "libmine.so"))

    return build


@compiler_only
def test_a_provider_that_crashes_costs_its_point(tmp_path: Path, library: Callable[[str], Target]) -> None:
    result = outcome(job(chain(tmp_path / "toy.onnx", "Relu"), library("abort();")))
    assert result.status == "failed"
    assert result.error.startswith("mine ended the process in which it ran: ")
    assert "SIGABRT" in result.error


@compiler_only
def test_a_provider_that_hangs_costs_its_point(tmp_path: Path, library: Callable[[str], Target]) -> None:
    requested = job(chain(tmp_path / "toy.onnx", "Relu"), library("for (;;) sleep(1);"), timeout_s=2.0)
    result = outcome(requested)
    assert (result.status, result.error) == ("timeout", "No reply within 2 s. Raise --timeout, or request less.")
    record = measure(Visit(job=replace(requested, prepared=result), round=0))
    assert (record.outcome.status, record.outcome.reading) == ("timeout", None)  # it is not started again


def test_a_library_that_is_none_costs_its_point(tmp_path: Path) -> None:
    (tmp_path / "libmine.so").write_text("not a library")
    mine = Target(provider="mine", runtime_name="mine", kind="NPU", library=str(tmp_path / "libmine.so"))
    result = outcome(job(chain(tmp_path / "toy.onnx", "Relu"), mine))
    assert result.status == "failed"
    assert "onnxruntime cannot load" in result.error


# --- precisions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "precision", "recipe"),
    [
        ("qnn", "int8", "a16w8"),
        ("webgpu", "a8w8", "fp16"),
        ("xnnpack", "fp16", "fp32"),
        ("cpu", "a8w8", None),
        ("webgpu", "int4-block128-asymmetric", None),
        ("qnn", "int4-block128-asymmetric", "a16w8"),
    ],
)
def test_an_unsupported_precision_names_the_recipe_that_is_supported(
    provider: str, precision: str, recipe: str | None
) -> None:
    foreign = Subject(model="toy", precision=Precision.parse(precision), weights=WeightsSource(kind="file"))
    result = misfit(target(provider), replace(foreign, weights=WeightsSource(kind="random")))
    assert misfit(target(provider), foreign) is None  # its operators are unknown
    if recipe is None:
        assert result is None
    else:
        assert isinstance(result, EdgeprofError)
        assert f"{provider} does not accept {precision}; it accepts " in result.what
        assert result.next_step == f"Run: edgeprof export toy --precision {recipe}"


def test_fused_attention_is_refused_where_it_cannot_run() -> None:
    subject = Subject(model="toy", precision=Precision(recipe="a16w8"), weights=WeightsSource(kind="random"))
    problem = misfit(target("qnn"), subject, {"MatMul", "GroupQueryAttention"})
    assert str(problem) == (
        "qnn lacks GroupQueryAttention, which computes the attention of toy. "
        "Run: edgeprof export toy --portable --precision a16w8"
    )
    assert misfit(target("qnn"), subject, {"MatMul"}) is None
    assert (
        misfit(target("webgpu"), replace(subject, precision=Precision(recipe="fp16")), {"GroupQueryAttention"}) is None
    )
