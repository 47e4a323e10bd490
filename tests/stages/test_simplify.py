"""Simplification is kept only if it made nothing worse. A stand-in for onnxsim in the child does what onnxsim might."""

import re
from pathlib import Path

import pytest
from onnx_files import copy_of

from edgeprof.process import silent
from edgeprof.schema import Artifact
from edgeprof.stages.simplify import simplify

GROW = """
import numpy as np, onnx
def simplify(model):
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(100_000, np.float32), "copy"))
    return model, True
"""
BREAK = """
def simplify(model):
    next(node for node in model.graph.node if node.op_type == "Add").op_type = "Sub"
    return model, True
"""
FIX_A_DIMENSION = """
def simplify(model):
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    return model, True
"""
FAIL = """
def simplify(model):
    raise RuntimeError("cannot")
"""
CRASH = """
import os
def simplify(model):
    os.abort()
"""


def test_the_real_one_removes_nodes_and_no_weight(artifacts: dict[tuple[str, str], Artifact]) -> None:
    for family in ("gpt2", "bert", "vit"):
        (receipt,) = artifacts[family, "fp32"].stages
        assert receipt.stage == "simplify" and receipt.kept
        assert receipt.after.node_total < receipt.before.node_total
        assert 0 <= receipt.before.weights_bytes - receipt.after.weights_bytes < 20_000
        assert artifacts[family, "fp32"].count == receipt.after


def test_an_untrained_bias_is_not_simplified_away(artifacts: dict[tuple[str, str], Artifact]) -> None:
    """All biases of random weights are zero. Six Linear layers a block, two blocks, and the residuals: 12 + 4 Adds,
    and two that sum the three embeddings; the pooler's bias lies in its Gemm."""
    assert artifacts["bert", "fp32"].count.nodes["Add"] == 12 + 4 + 2


@pytest.mark.parametrize(
    ("stand_in", "reason"),
    [
        (GROW, r"grew the weights by 0\.4 MB"),
        (BREAK, r"differs from PyTorch"),
        (FIX_A_DIMENSION, r"Dimension 'batch_size' of input_ids became fixed at 1"),
        (FAIL, r"onnxsim failed: cannot"),
        (CRASH, r"signal SIGABRT"),
    ],
)
def test_a_result_that_is_worse_is_not_kept(
    stand_in: str,
    reason: str,
    artifacts: dict[tuple[str, str], Artifact],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    artifact = copy_of(artifacts["bert", "fp32"], tmp_path)
    before = Path(artifact.path).read_bytes()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "onnxsim.py").write_text(stand_in)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    result = simplify(artifact, silent)
    receipt = result.stages[-1]
    assert not receipt.kept
    assert re.search(reason, receipt.reason)
    assert Path(artifact.path).read_bytes() == before
    assert not list(Path(artifact.path).parent.glob("simplified*"))
    assert result.count == artifact.count
    assert len(result.checks) == 3
