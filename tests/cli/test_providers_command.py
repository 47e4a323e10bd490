"""`edgeprof profile --ep`: what a user sees of a point on another provider, and with which exit code it ends."""

from pathlib import Path

import onnx
import pytest
from command import Command
from onnx import TensorProto, helper

from edgeprof.providers.table import here

pytestmark = pytest.mark.skipif(here() not in ("linux-x86_64", "windows-x86_64"), reason="QNN's emulator is for x86")

QUICK = ("--rounds", 1, "--max-time", 0, "--runs", 1, "--min-time", 0, "--threads", 1)


@pytest.fixture
def partly(tmp_path: Path) -> Path:
    """x -> Relu -> Hardmax -> Neg -> y: QNN lacks the one in the middle."""
    names = ["x", "a", "b", "y"]
    graph = helper.make_graph(
        [helper.make_node(name, [names[at]], [names[at + 1]]) for at, name in enumerate(("Relu", "Hardmax", "Neg"))],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 8])],
    )
    file = tmp_path / "partly.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(file))
    return file


def test_a_point_that_ran_in_part_says_so(edgeprof: Command, partly: Path) -> None:
    ran = edgeprof("profile", partly, "--ep", "cpu,qnn", *QUICK)
    assert ran.code == 0, ran.err
    row = next(line for line in ran.out.splitlines() if " qnn " in line)
    assert "emulated; 67 % of nodes, 2 partitions; static" in row
    assert "Memory is host memory: device memory is not reported for qnn." in ran.out
    assert "onnxruntime:" not in ran.out + ran.err  # what providers log stays out of sight


def test_a_share_that_is_required_and_not_reached_fails(edgeprof: Command, partly: Path) -> None:
    ran = edgeprof("profile", partly, "--ep", "npu", "--require-placement", "80%", *QUICK)
    assert ran.code == 1
    assert "failed: partly fp32 on qnn, prefill: qnn runs" in ran.out
    assert "qnn runs 66.7% of the nodes, and 80% are required." in " ".join(ran.out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--require-placement", "most"), "--require-placement takes a share of 0 to 100 %, not 'most'"),
        (("--ep", "qnm"), "Did you mean qnn"),
        (("--ep", "qnn", "--ep-option", "soc_modell=60"), "Did you mean soc_model"),
        (("--ep-library", "mine=libmine.so"), "The library mine is not requested. Add it to the providers: --ep mine"),
        (("--compile",), "The CPU provider does not compile ahead of time."),
    ],
)
def test_invalid_options_are_refused(edgeprof: Command, partly: Path, words: tuple[str, ...], message: str) -> None:
    ran = edgeprof("profile", partly, *words)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())
