"""Graphs of many nodes and of large shapes: work that grows as the graph does, and nothing allocated beforehand."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from nodes import count, f32, graph, i64, node, one
from onnx import helper

from edgeprof import counting
from edgeprof.counting.known_values import compute, elements

X = {"x": f32(3, 4)}
LONG = np.zeros((1 << 18, 1), np.int64)
WIDE = np.zeros((1, 1 << 18), np.int64)

GROWING: dict[str, tuple[str, list[Any], dict[str, Any], int]] = {
    "sum": ("Sum", [LONG, WIDE], {}, 1 << 36),
    "where": ("Where", [LONG > 0, WIDE, WIDE], {}, 1 << 36),
    "power": ("Pow", [LONG, WIDE], {}, 1 << 36),
    "expand": ("Expand", [LONG, i64(1, 1 << 20)], {}, 1 << 38),
    "tile": ("Tile", [LONG, i64(1 << 20, 1 << 20)], {}, 1 << 58),
    "constant": ("ConstantOfShape", [i64(1 << 30, 1 << 30)], {}, 1 << 60),
    "range": ("Range", [np.asarray(0), np.asarray(1 << 50), np.asarray(1)], {}, 1 << 50),
    "concat": ("Concat", [LONG, LONG, LONG], {"axis": 0}, 3 << 18),
    "gather": ("Gather", [WIDE, LONG], {"axis": 0}, 1 << 36),
    "where it is not zero": ("NonZero", [LONG], {}, 2 << 18),
    "reshape": ("Reshape", [LONG, i64(-1)], {}, 1 << 18),
}


@pytest.mark.parametrize("case", GROWING.values(), ids=GROWING)
def test_the_number_of_elements_is_known_before_they_are_computed(case: Any) -> None:
    operator, arrays, options, expected = case
    assert elements(operator, arrays, options) == expected
    assert compute(operator, arrays, options, (1 << 18) - 1) == ()


def test_a_broadcast_of_vectors_is_never_computed() -> None:
    """Four vectors along four axes: 256^4 numbers of 8 bytes, of which only the shape is told."""
    axes = {f"v{axis}": np.zeros([256 if at == axis else 1 for at in range(4)], np.int64) for axis in range(4)}
    nodes = [node("Add", "v0 v1", "a"), node("Add", "v2 v3", "b"), node("Add", "a b")]
    counted = count(graph([*nodes, node("Relu", "x", "r")], X, axes), X)
    assert counted.unsized == 0


def chain(length: int) -> onnx.ModelProto:
    """Products, sums and activations one after the other, written last to first."""
    kinds = (("MatMul", "w"), ("Add", "b"), ("Relu", ""))
    nodes = []
    for at in range(length):
        kind, other = kinds[at % 3]
        nodes.append(node(kind, f"{f't{at - 1}' if at else 'x'} {other}", f"t{at}"))
    return graph(nodes[::-1], X, {"w": f32(4, 4), "b": f32(4)}, outputs=[f"t{length - 1}"])


LIMITED = """
import sys
from pathlib import Path
from edgeprof import counting
from edgeprof.measure import memory
told = []
model = counting.read(Path(sys.argv[1]))
counted = counting.count(model, {"x": (3, 4)}, progress=lambda doing, share: told.append(share))
print(counted.macs, counted.params, len(told) > 5, memory.read().peak_bytes)
"""


def test_many_nodes_in_the_wrong_order(tmp_path: Path) -> None:
    """30,000 nodes, a third of them products of 3 x 4 x 4. What grew with the square of that would take hours."""
    path = tmp_path / "model.onnx"
    onnx.save(chain(30_000), path)
    done = subprocess.run([sys.executable, "-c", LIMITED, path], capture_output=True, text=True, check=True)
    assert done.stdout.split()[:3] == [str(10_000 * 48), "20", "True"]
    if sys.platform == "linux":
        assert int(done.stdout.split()[3]) < 300e6  # a GB would do for ten times as many


def test_many_tensors_at_once() -> None:
    """5,000 results of 3 x 4, all alive until they are put together, and as many outputs."""
    nodes = [node("MatMul", "x w", f"t{at}") for at in range(5000)]
    nodes.append(helper.make_node("Concat", [f"t{at}" for at in range(5000)], ["y"], axis=0))
    counted = count(graph(nodes, X, {"w": f32(4, 4)}, outputs=["y"]), X)
    assert (counted.macs, counted.live_bytes) == (5000 * 48, 48 + 2 * 5000 * 48)
    kept = graph([node("Mul", "x c", f"t{at}") for at in range(5000)], X, {"c": one()})
    assert count(kept, X).live_bytes == 5001 * 48


def test_constants_computed_from_constants() -> None:
    """5,000 matrices summed up one by one, before x is multiplied by what comes of it: each is counted once."""
    sums = [node("Add", f"{f't{at - 1}' if at else 'w0'} w{at + 1}", f"t{at}") for at in range(4999)]
    weights = {f"w{at}": f32(4, 4) for at in range(5000)}
    counted = count(graph([*sums, node("MatMul", "x t4998")], X, weights), X)
    assert (counted.macs, counted.params) == (48, 80_000)
    assert counting.parameters(graph(sums, X, weights)) == 80_000
