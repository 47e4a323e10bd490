"""What onnxruntime makes of exported files: fusions counted by hand, one that is missing, and the graph as a file."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
import tiny_models
from onnx_files import at, copy_of, edit, run

from edgeprof import counting
from edgeprof.errors import ModelFileError, StorageError, VerificationError
from edgeprof.families import family_of
from edgeprof.process import silent
from edgeprof.schema import Artifact, FusionReceipt, Precision
from edgeprof.stages.export import ExportRequest, export
from edgeprof.stages.optimize import optimize, receipt_of
from edgeprof.stages.weights import Weights

Artifacts = dict[tuple[str, str], Artifact]


def receipt(artifact: Artifact) -> FusionReceipt:
    return receipt_of(artifact, artifact.graph(), silent)


def fused(artifact: Artifact) -> dict[str, tuple[int, int]]:
    """Operator -> expected, found."""
    return {fusion.operator: (fusion.expected, fusion.found) for fusion in receipt(artifact).fusions}


SKIP = "LayerNormalization or SkipLayerNormalization"  # the runtime joins those behind an addition with it


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("gpt2", {"GroupQueryAttention": (2, 2), SKIP: (5, 5), "FastGelu": (2, 2)}),
        ("gpt2-portable", {"Attention": (2, 2), SKIP: (5, 5), "FastGelu": (2, 2)}),
        ("bert", {"Attention": (2, 2), SKIP: (5, 5), "BiasGelu": (2, 2)}),
        ("vit", {"Attention": (12, 12), SKIP: (25, 25), "BiasGelu": (12, 12)}),
    ],
)
def test_every_block_is_fused(artifacts: Artifacts, family: str, expected: dict[str, tuple[int, int]]) -> None:
    assert fused(artifacts[family, "fp32"]) == expected


@pytest.mark.parametrize(("family", "matmuls"), [("gpt2", 2 * 4 + 1), ("bert", 2 * 6 + 1), ("vit", 12 * 6 + 1)])
def test_every_integer_matmul_is_one_node(artifacts: Artifacts, family: str, matmuls: int) -> None:
    """4 a block of gpt2 and its head; 6 of bert and its pooler; 6 of vit and its classifier."""
    result = fused(artifacts[family, "int8"])
    assert sum(result[name][1] for name in result if "MatMul" in name) == matmuls
    assert all(expected == there for expected, there in result.values())


def test_nodes_are_those_of_the_graph_that_runs(artifacts: Artifacts) -> None:
    nodes = receipt(artifacts["bert", "fp32"]).nodes
    assert nodes["BiasGelu"] == 2
    assert "Gelu" not in nodes
    assert nodes["MatMul"] == 2 * 6
    assert nodes["FusedGemm"] == 1  # the pooler, with its tanh


def replace(model: onnx.ModelProto, old: str, new: str, how_many: int) -> None:
    for node in [node for node in model.graph.node if node.op_type == old][:how_many]:
        node.op_type = new
        del node.attribute[:]


def test_fewer_than_expected_are_named_and_counted(artifacts: Artifacts, tmp_path: Path) -> None:
    broken = copy_of(artifacts["vit", "fp32"], tmp_path)
    edit(broken, lambda model: replace(model, "Gelu", "Tanh", 2))
    with pytest.raises(VerificationError, match="fuses only 10 of 12 Gelu or BiasGelu or FastGelu;"):
        optimize(broken, silent)


def test_none_is_an_error_too(artifacts: Artifacts, tmp_path: Path) -> None:
    broken = copy_of(artifacts["bert", "fp32"], tmp_path)
    edit(broken, lambda model: replace(model, "Gelu", "Tanh", 2))
    with pytest.raises(VerificationError, match="fuses only 0 of 2 Gelu") as problem:
        optimize(broken, silent)
    assert "--opset 24" in problem.value.next_step


def test_fusions_that_a_rewriting_precision_loses_are_reported(artifacts: Artifacts, tmp_path: Path) -> None:
    changed = copy_of(artifacts["bert", "fp32"], tmp_path)
    edit(changed, lambda model: replace(model, "Gelu", "Tanh", 2))
    result = receipt(msgspec.structs.replace(changed, precision=Precision(recipe="fp16")))
    assert [(fusion.expected, fusion.found) for fusion in result.fusions] == [(2, 2), (5, 5), (2, 0)]
    assert result.note == "In fp16 the others run in parts."


def test_nothing_is_expected_of_a_foreign_file(artifacts: Artifacts) -> None:
    result = receipt(msgspec.structs.replace(artifacts["bert", "int8"], variant=None))
    assert result.fusions == ()
    assert result.note == ""
    assert result.nodes["Attention"] == 2


@pytest.fixture(scope="module")
def old_block(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("old")
    variant = tiny_models.variant("mixer", "block")
    request = ExportRequest(name="old", variant=variant, weights=Weights(), logits="all", opset=18, folder=str(folder))
    return export(request, silent)


def test_old_operator_sets_spread_attention_which_is_reported(old_block: Artifact) -> None:
    result = receipt(old_block)
    assert [(fusion.expected, fusion.found) for fusion in result.fusions] == [(2, 2)]  # the norms
    assert result.note == (
        "In operator set 18 attention is spread over about 15 nodes a layer and GELU is spread over 5 nodes; "
        "--opset 24 has one operator for it."
    )


# --- as a file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "precision"), [("gpt2", "fp32"), ("gpt2", "int8"), ("vit", "fp32")])
def test_saved_graph_stands_alone_and_computes_the_same(
    artifacts: Artifacts, family: str, precision: str, tmp_path: Path
) -> None:
    artifact = artifacts[family, precision]
    saved = tmp_path / "optimized.onnx"
    result = receipt_of(artifact, artifact.graph(), silent, save_to=saved)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["optimized.onnx", "optimized.onnx.data"]
    assert sum(result.nodes.values()) == len(counting.read(saved).graph.node)
    assert artifact.variant is not None
    made_by = family_of(artifact.variant)
    for case in (check.case for check in artifact.checks):
        feeds = made_by.feeds(artifact.variant, case, np.random.default_rng(0))
        again = run(saved, feeds)
        for name, array in run(artifact.location, feeds).items():
            np.testing.assert_allclose(again[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


def test_saving_again_replaces(artifacts: Artifacts, tmp_path: Path) -> None:
    saved = tmp_path / "optimized.onnx"
    saved.write_text("something else")
    artifact = artifacts["bert", "fp32"]
    receipt_of(artifact, artifact.graph(), silent, save_to=saved)
    assert counting.read(saved).graph.node


def one_file(artifact: Artifact, folder: Path) -> Artifact:
    """With its weights in the graph file, and so many that they are noticed."""
    model = onnx.load(artifact.location)
    table: Any = np.ones((9, 2**20), np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(table, "unused"))
    model.graph.node.append(onnx.helper.make_node("Shape", ["unused"], ["its_shape"]))
    onnx.save(model, folder / "model.onnx")
    return at(artifact, folder / "model.onnx")


def test_a_file_that_holds_its_weights(artifacts: Artifacts, tmp_path: Path) -> None:
    assert fused(one_file(artifacts["bert", "fp32"], tmp_path)) == fused(artifacts["bert", "fp32"])
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_file_that_onnxruntime_refuses(artifacts: Artifacts, tmp_path: Path) -> None:
    broken = copy_of(artifacts["bert", "fp32"], tmp_path)
    edit(broken, lambda model: replace(model, "Gelu", "NoSuchOperator", 1))
    with pytest.raises(ModelFileError, match="NoSuchOperator"):
        optimize(broken, silent)


def test_a_place_that_cannot_be_written(artifacts: Artifacts, tmp_path: Path) -> None:
    artifact = artifacts["bert", "fp32"]
    with pytest.raises(StorageError):
        receipt_of(artifact, artifact.graph(), silent, save_to=tmp_path / "missing" / "optimized.onnx")
