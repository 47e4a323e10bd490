"""Predicted latencies, computed by hand from a probe with round numbers."""

import math

import pytest
from builders import invented_probe
from builders.invented_probe import mixed, probe, product, resized, rows
from msgspec.structs import replace
from onnx import parser

from edgeprof import counting
from edgeprof.analysis.prediction import DOUBT, ERRORS, UNTESTED, paper_latency, predicted_latency
from edgeprof.counting import NodeWork
from edgeprof.errors import RunError, UsageError
from edgeprof.schema import PaperDevice, PredictedLatency, Probe, WorkTime

ONE = (product(4, 64, 32, 7e-6), product(16, 64, 32, 14e-6))
MATMUL = """
<ir_version: 10, opset_import: ["" : 21]>
one (float[n, 64] x, float[64, 32] w) => (float[n, 32] y) { y = MatMul(x, w) }
"""


def works(text: str, **shapes: tuple[int, ...]) -> list[NodeWork]:
    model = parser.parse_model(text)
    for value in list(model.graph.input)[1:]:  # all but the first input are weights
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        model.graph.initializer.append(_zeros(value.name, dims))
        model.graph.input.remove(value)
    return counting.by_node(model, shapes)


def _zeros(name: str, dims: list[int]) -> object:
    import numpy as np
    from onnx import numpy_helper

    return numpy_helper.from_array(np.zeros(dims, np.float32), name)


def latency(text: str, seen: Probe, rows: int) -> PredictedLatency:
    return predicted_latency(works(text, x=(rows, 64)), seen, precision="fp32", phase="prefill")


@pytest.mark.parametrize(
    ("rows", "expected_us"),
    [
        (4, 2 + 1 + 7),  # as measured
        (16, 2 + 1 + 14),
        (8, 2 + 1 + math.sqrt(98)),  # per MAC in the middle of the logarithms of 7 / 8192 and 14 / 32768
        (2, 2 + 1 + 3.5),  # at the edge, what a MAC took there
        (64, 2 + 1 + 56),
    ],
)
def test_a_product_takes_its_macs_a_node_and_a_run(rows: int, expected_us: float) -> None:
    found = latency(MATMUL, probe(*ONE), rows)
    assert found.best_s == pytest.approx(expected_us * 1e-6, rel=1e-9)
    assert found.usual_s == pytest.approx(2 * expected_us * 1e-6, rel=1e-9), "the medians are twice as long"
    assert found.run_s == pytest.approx(2e-6) and list(found.operators) == ["MatMul"]


def test_a_node_takes_what_it_took_among_products() -> None:
    # besides 1 µs each, as in a chain of equal ones, 24 products take 40 µs, and 48 or 96 small nodes 1.5 µs each
    chains = mixed(24, 40e-6), mixed(72, 112e-6), mixed(120, 184e-6)
    assert latency(MATMUL, probe(*ONE, *chains), 4).best_s == pytest.approx((2 + 2.5 + 7) * 1e-6)


def test_what_lies_far_beyond_the_probe_is_named_and_widens_the_interval() -> None:
    near, far = latency(MATMUL, probe(*ONE), 16), latency(MATMUL, probe(*ONE), 64)
    error = 1 + ERRORS["fp32", "prefill"]
    assert near.inferred == () and not near.assumed
    assert near.low_s == pytest.approx(near.best_s / error)
    assert near.high_s == pytest.approx(near.best_s * error)
    (named,) = far.inferred
    assert (named.operator, named.nodes, named.why) == ("MatMul", 1, "size beyond the probe")
    assert named.share == pytest.approx(57 / 59), "the node of 59 µs"
    assert far.high_s == pytest.approx(far.best_s * error * (1 + named.share * (DOUBT - 1)))


def test_an_error_that_was_not_measured_is_assumed() -> None:
    found = predicted_latency(works(MATMUL, x=(16, 64)), probe(*ONE), precision="bf16", phase="prefill")
    assert found.assumed
    assert found.high_s == pytest.approx(found.best_s * (1 + UNTESTED))


def test_it_never_falls_with_the_length() -> None:
    found = [latency(MATMUL, probe(*ONE), rows).best_s for rows in range(1, 40)]
    assert found == sorted(found)


def test_weights_that_all_together_leave_the_caches_add_what_chains_of_matrices_show() -> None:
    # 1,024 x 1,024 in fp32 are 4 MiB: one alone takes 100 µs, 2 of a chain as much each, 8 of them 150 µs, 32 300 µs
    levels = {1: [100], 2: [100], 8: [150, 100, 150, 160], 32: [300]}  # once, 8 of them stayed in a cache by luck
    seen = probe(*(_chain_of(count, micros) for count, micros in levels.items()))
    identity = 1e-6  # a node of its own
    assert _each_s(1, seen) == pytest.approx(101e-6 + identity)
    assert _each_s(8, seen) == pytest.approx(151e-6 + identity / 8)
    assert _each_s(32, seen) == pytest.approx(301e-6 + identity / 32)
    assert _each_s(16, seen) == pytest.approx((151e-6 + 301e-6) / 2 + identity / 16), "in the middle, in the logarithm"
    assert _each_s(40, seen) == pytest.approx(301e-6 + identity / 40), "no more than the longest chain"


def test_what_memory_adds_is_that_of_wide_matrices_and_the_share_that_shows_of_most_lengths() -> None:
    wide = {2: [100], 60: [200]}
    narrow = {2: [20], 4: [20], 32: [45], 240: [70]}  # 32 of them are 32 MiB, where half shows
    seen = probe(
        _chain_of(1, [100]),
        *(_chain_of(count, micros) for count, micros in wide.items()),
        *(_chain_of(count, micros, 512) for count, micros in narrow.items()),
    )
    assert _each_s(60, seen) == pytest.approx(201e-6 + 1e-6 / 60), "100 µs more for 4 MiB, not 4 x 50"
    assert _each_s(8, seen) == pytest.approx(151e-6 + 1e-6 / 8)


def _each_s(count: int, seen: Probe) -> float:
    """Seconds that are predicted for each of so many products of 1,024 x 1,024, one after the other."""
    names = ["x", *(f"h{index}" for index in range(count))]
    body = " ".join(f"h{index} = MatMul({names[index]}, w{index})" for index in range(count))
    weights = ", ".join(f"float[1024, 1024] w{index}" for index in range(count))
    head = f'<ir_version: 10, opset_import: ["" : 21]> g (float[n, 1024] x, {weights}) => (float[n, 1024] y)'
    text = f"{head} {{ {body} y = Identity({names[-1]}) }}"
    found = predicted_latency(works(text, x=(1, 1024)), seen, precision="fp32", phase="decode")
    return (found.best_s - 2e-6) / count


def _chain_of(count: int, micros: list[float], width: int = 1024) -> WorkTime:
    """So many products of square matrices, by the microseconds that each takes in every visit."""
    time = product(1, width, width, 0.0, nodes=count)
    return replace(time, best_s=tuple((2 + count + count * each) * 1e-6 for each in micros))


def test_a_matrix_larger_than_any_of_the_probe_comes_from_memory_as_a_chain_does() -> None:
    # 1,024 x 1,024 in fp32 takes 100 µs in a cache, and 200 µs more of memory: 2,048 x 4,096 is eight times as much
    seen = probe(*(_chain_of(count, micros) for count, micros in {1: [100], 2: [100], 32: [300]}.items()))
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    g (float[n, 2048] x, float[2048, 4096] w, float[4096, 6144] v) => (float[n, 6144] y)
    { h = MatMul(x, w) y = MatMul(h, v) }
    """
    found = predicted_latency(works(text, x=(1, 2048)), seen, precision="fp32", phase="decode")
    assert found.best_s == pytest.approx(2e-6 + 2 * 1e-6 + (8 + 24) * 300e-6)  # together as large as the longest chain


def test_only_cubic_interpolation_takes_what_the_probe_did() -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    g (float[1, 2, 8, 8] x) => (float y) <int64[4] s = {1, 2, 16, 16}> { y = Resize<mode = "cubic">(x, , , s) }
    """
    seen = probe(*ONE, resized(2, 8, 16, 1e-3), rows("Concat", 5, 64, 5e-6))
    cubic, linear = (
        predicted_latency(works(each), seen, precision="fp32", phase="prefill").best_s
        for each in (text, text.replace("cubic", "linear"))
    )
    assert cubic == pytest.approx(2e-6 + 1e-6 + 1e-3)
    assert linear == pytest.approx(2e-6 + 1e-6 + 5e-6), "640 values read and written"


def test_what_moves_bytes_takes_them_and_what_resembles_another_is_named() -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    g (float[n, 64] x) => (float[n, 64] y) { a = Tanh(x) b = Reshape(a, s) c = Exp(b) y = Sign(c) }
    """
    text = text.replace("{ a", "<int64[2] s = {-1, 64}> { a")
    seen = probe(*ONE, rows("Tanh", 10, 64, 5e-6), rows("Add", 10, 64, 3e-6))
    found = latency(text, seen, 20)
    assert found.best_s == pytest.approx(2e-6 + (1 + 10) * 1e-6 + 1e-6 + (1 + 10) * 1e-6 + (1 + 6) * 1e-6)
    assert [(one.operator, one.why) for one in found.inferred] == [
        ("Exp", "another operator stands in"),
        ("Sign", "another operator stands in"),
    ]


def test_a_precision_that_the_probe_has_no_products_of_is_refused() -> None:
    with pytest.raises(UsageError, match=r"multiplies in fp32; the probe has products in int8\..*Choose another"):
        latency(MATMUL, probe(product(4, 64, 32, 7e-6, precision="int8")), 4)


def test_operators_whose_time_no_probe_tells_are_refused_where_they_are_much_of_the_work() -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 21, "com.acme" : 1]>
    g (float[n, 64] x) => (float[n, 64] y) { y = com.acme.Mystery(x) }
    """
    with pytest.raises(UsageError, match="work in Mystery whose time no probe tells"):
        latency(text, probe(*ONE), 4)


def test_a_probe_without_chains_cannot_predict() -> None:
    seen = probe(*ONE)
    broken = type(seen)(**{name: getattr(seen, name) for name in seen.__struct_fields__} | {"times": ONE})
    with pytest.raises(RunError, match="edgeprof probe --force"):
        latency(MATMUL, broken, 4)


def test_on_paper_it_is_the_roofline() -> None:
    # 4 x 64 x 32 = 8,192 MACs: 16,384 FLOP at 1 GFLOP/s; or 8,192 bytes of weights at 1 GB/s
    device = PaperDevice(name="board", gflops={"fp32": 1.0}, gb_per_s=1.0, cache_mb=1.0, node_us=3.0, run_us=5.0)
    found = paper_latency(works(MATMUL, x=(4, 64)), device)
    assert found.best_s == pytest.approx(5e-6 + 3e-6 + 16.384e-6)
    assert found.low_s is found.high_s is found.usual_s is None
    fast = PaperDevice(name="board", gflops={"fp32": 100.0}, gb_per_s=1.0, cache_mb=1.0)
    assert paper_latency(works(MATMUL, x=(4, 64)), fast).best_s == pytest.approx(8.192e-6), "memory-bound"
    uncached = PaperDevice(name="board", gflops={"fp32": 100.0}, gb_per_s=1.0)
    assert paper_latency(works(MATMUL, x=(4, 64)), uncached).best_s == pytest.approx(8.192e-6 + 1.536e-6)
    with pytest.raises(UsageError, match=r"described in int8, and the graph multiplies in fp32\. Add it to \[gflops\]"):
        paper_latency(works(MATMUL, x=(4, 64)), PaperDevice(name="board", gflops={"int8": 1.0}, gb_per_s=1.0))


def test_the_probe_of_a_person_has_round_numbers() -> None:
    assert invented_probe.chain(16).best_s[0] == pytest.approx(18e-6)
