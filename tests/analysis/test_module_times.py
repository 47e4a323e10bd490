"""Times of nodes meet counts of nodes."""

from edgeprof.analysis.modules import joined, module_times
from edgeprof.counting import NodeWork
from edgeprof.schema import NodeTime


def time(name: str, operator: str, seconds: float) -> NodeTime:
    return NodeTime(name=name, operator=operator, time_s=seconds)


def work(name: str, operator: str, module: str, macs: int = 0, precision: str = "fp32") -> NodeWork:
    return NodeWork(name=name, operator=operator, module=module, precision=precision, macs=macs, weights_bytes=macs)


WORKS = [
    work("up", "MatMul", "MLP", 100, "int8"),
    work("gate", "MatMul", "MLP", 10),
    work("patch", "Conv", "embedding", 7),
    work("shape", "Shape", "other"),
]
TIMES = [
    time("gate", "MatMul", 2.0),
    time("up", "MatMul", 1.0),
    time("patch_nchwc", "Conv", 4.0),
    time("reorder", "ReorderOutput", 0.5),
]


def test_by_name_then_by_operator() -> None:
    pairs = [(one and one.name, other and other.name) for one, other in joined(TIMES, WORKS)]
    assert pairs == [("gate", "gate"), ("up", "up"), ("patch_nchwc", "patch"), ("reorder", None), (None, "shape")]


def test_nothing_is_lost_in_the_sums() -> None:
    modules = {one.module: one for one in module_times(TIMES, WORKS)}
    assert list(modules) == ["embedding", "MLP", "other"], "the longest first"
    mlp = modules["MLP"]
    assert (mlp.nodes, mlp.time_s, mlp.macs, mlp.weights_bytes, mlp.precision) == (2, 3.0, 110, 110, "int8")
    assert (modules["other"].nodes, modules["other"].time_s) == (1, 0.5)
    assert sum(one.time_s for one in modules.values()) == 7.5
    assert mlp.flops_per_s == 2 * 110 / 3.0 and mlp.bytes_per_s == 110 / 3.0 and mlp.intensity == 2.0
