"""onnxsim is kept only if it made nothing worse; else the graph stays as it was, and the receipt says why.

The guard is provoked by another `onnxsim`, put in the way of the real one in the child process.
"""

import re
import textwrap
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx_files import copy_of

from edgeprof.process import silent
from edgeprof.schema import Artifact, StageReceipt
from edgeprof.stages.simplify import simplify
from edgeprof.store import sha256_of

GROWING = """
    weights = numpy_helper.from_array(numpy.full((500, 500), 1.5, numpy.float32), "folded")
    model.graph.initializer.append(weights)
    model.graph.node.append(helper.make_node("Relu", ["folded"], ["unread"]))
"""
FREEZING = """
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7
"""
WRONG = """
    next(node for node in model.graph.node if node.op_type == "Add").op_type = "Sub"
"""
EMPTYING = """
    del model.graph.node[:]
"""
CRASHING = """
    raise RuntimeError("I cannot do this")
"""
DYING = """
    os._exit(9)
"""


@pytest.fixture
def onnxsim_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts an onnxsim into the way whose simplify(model) does this."""

    def put(body: str) -> None:
        head = "import os\nimport numpy\nfrom onnx import helper, numpy_helper\n\n\ndef simplify(model):\n"
        folder = tmp_path / "modules"
        folder.mkdir()
        (folder / "onnxsim.py").write_text(
            head + textwrap.indent(textwrap.dedent(body), "    ") + "    return model, True\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(folder))

    return put


def receipt(artifact: Artifact) -> StageReceipt:
    return next(stage for stage in artifact.graph().stages if stage.stage == "simplify")


@pytest.mark.parametrize("family", ["gpt2", "bert", "vit"])
def test_it_makes_graphs_smaller_and_keeps_their_weights(
    family: str, artifacts: dict[tuple[str, str], Artifact]
) -> None:
    artifact = artifacts[family, "fp32"]
    done = receipt(artifact)
    assert (done.kept, done.reason) == (True, "")
    assert done.after.node_total < done.before.node_total
    assert done.after.weights_bytes <= done.before.weights_bytes + 64  # numbers of constants may become weights
    assert artifact.graph().count == done.after


def test_weights_that_are_zero_stay(artifacts: dict[tuple[str, str], Artifact]) -> None:
    """The biases of an untrained model could all be simplified away; a trained model would have them."""
    artifact = artifacts["bert", "fp32"]
    model = onnx.load(artifact.location, load_external_data=False)
    stored = sum(weights.dims[0] if len(weights.dims) == 1 else 0 for weights in model.graph.initializer)
    # norms and biases: (4 + 4 + 1) d and the inner 4 d a layer, embedding norm 2 d, pooler d; d = 128, 2 layers
    assert stored >= 2 * 13 * 128 + 3 * 128


def test_the_tied_embedding_is_stored_once(artifacts: dict[tuple[str, str], Artifact]) -> None:
    artifact = artifacts["gpt2", "fp32"]
    assert artifact.data_bytes < 4 * artifact.params * 1.01


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (GROWING, r"Simplification made the weights 1\.0 MB larger"),
        (FREEZING, r"Dimension 'sequence_length' of input_ids became fixed at 7"),
        (WRONG, r"Output \S+ differs from PyTorch by \S+ at batch 1, tokens 1, past 0"),
        (EMPTYING, r"onnxruntime cannot load"),
        (CRASHING, r"onnxsim failed: I cannot do this\. The graph is kept as it is"),
        (DYING, r"The child process ended with exit code 9"),
    ],
    ids=["growing", "freezing", "wrong", "emptying", "crashing", "dying"],
)
def test_what_makes_it_worse_is_not_kept_and_the_reason_is(
    body: str,
    reason: str,
    artifacts: dict[tuple[str, str], Artifact],
    tmp_path: Path,
    onnxsim_that: Callable[[str], None],
) -> None:
    before = copy_of(artifacts["bert", "fp32"], tmp_path)
    onnxsim_that(body)
    after = simplify(before, silent)
    done = after.graph().stages[-1]
    assert not done.kept
    assert re.search(reason, done.reason)
    assert (after.graph().count, after.checks) == (before.graph().count, before.checks)
    assert sha256_of(Path(after.location)) == before.sha256
    assert sorted(path.name for path in after.folder.iterdir()) == [
        "artifact.json",
        "model.onnx",
        "model.onnx.data",
        "reference.npz",
    ]
