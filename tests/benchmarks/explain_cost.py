"""`edgeprof explain`, whole process: wall time (median and range of nine), highest resident set, bytes read.

From closed forms (a variant), and counted node by node: a graph of 1,000 nodes, and the exported gpt2-xl (6.2 GB of
weights beside it, of which none may be read).
"""

import re
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeprof import units
from tests.benchmarks.harness import Cost, edgeprof, python, spread

TITLE = "Explain: cost of an explanation"
TIMES = 9

EXPLAIN = """
import atexit, sys
from edgeprof.cli import main
def tell():
    status, io = open('/proc/self/status').read(), open('/proc/self/io').read()
    print([line for line in (status + io).splitlines() if line.startswith(('VmHWM', 'rchar'))])
atexit.register(tell)
main()
"""


def run() -> list[str]:
    lines = ["| what | nodes | wall, s | peak RSS | bytes read |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        chain = _chain(work / "chain.onnx", nodes=1000)
        edgeprof("export", "gpt2-xl", "--weights", "random", cwd=work)
        exported = work / "models" / "gpt2-xl" / "fp32" / "model.onnx"
        for label, target, nodes in (
            ("variant gpt2, closed forms", "gpt2", ""),
            ("file of 1,000 nodes", chain, f"{_nodes(chain):,}"),
            ("exported gpt2-xl", exported, f"{_nodes(exported):,}"),
        ):
            costs = [python("-c", EXPLAIN, "explain", target, "--seq", "512", cwd=work) for _ in range(TIMES)]
            peak, read = (max(_value(cost, key) for cost in costs) for key in ("VmHWM", "rchar"))
            wall = spread([cost.wall_s for cost in costs])
            lines.append(f"| {label} | {nodes} | {wall} | {units.size(1024 * peak)} | {units.size(read)} |")
    return lines


def _value(cost: Cost, key: str) -> int:
    """What the process said of itself as it ended: `ru_maxrss` would begin at this process's own value."""
    result = re.search(rf"{key}:(?:\\t)? *(\d+)", cost.output)
    assert result, cost.output
    return int(result[1])


def _nodes(path: Path) -> int:
    return len(onnx.load(path, load_external_data=False).graph.node)


def _chain(path: Path, nodes: int) -> Path:
    """Matmuls, additions, norms and shape arithmetic, as exported transformers have them."""
    width = 64
    built, weights = [], [numpy_helper.from_array(np.ones(width, np.float32), "scale")]
    last = "x"
    for index in range(nodes // 5):
        weights.append(numpy_helper.from_array(np.ones((width, width), np.float32), f"w{index}"))
        built += [
            helper.make_node("LayerNormalization", [last, "scale"], [f"n{index}"]),
            helper.make_node("MatMul", [f"n{index}", f"w{index}"], [f"m{index}"]),
            helper.make_node("Shape", [f"m{index}"], [f"s{index}"]),
            helper.make_node("Reshape", [f"m{index}", f"s{index}"], [f"r{index}"]),
            helper.make_node("Add", [f"r{index}", last], [f"a{index}"]),
        ]
        last = f"a{index}"
    dims = ["batch_size", "sequence_length", width]
    graph = helper.make_graph(
        built,
        "chain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, dims)],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)]), path)
    return path
