"""`quantize`: from what is exported, or a file from elsewhere, to smaller files whose receipts say what happened."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeprof import EdgeprofError, export, quantize, verify
from edgeprof.api.export import Export
from edgeprof.errors import QuantizationError, StorageError, UsageError
from edgeprof.schema import Artifact
from edgeprof.store import load_artifact

RANDOM = "random"


@pytest.fixture
def mine(models: Path, tmp_path: Path) -> Path:
    """The exported models, in a folder that a test may change."""
    return Path(shutil.copytree(models, tmp_path / "models"))


def artifact(built: list[Export]) -> Artifact:
    (one,) = built
    assert one.artifact is not None
    return one.artifact


def test_a_result_is_written_beside_its_source(mine: Path) -> None:
    built = artifact(quantize(["bert-tiny"], recipe=["int4"], models=mine))
    assert Path(built.location) == mine / "bert-tiny" / "int4" / "model.onnx"
    assert (built.name, str(built.precision)) == ("bert-tiny", "int4")
    assert load_artifact(mine / "bert-tiny" / "int4") == built
    assert [str(one.precision) for one in verify(["bert-tiny"], models=mine)] == ["fp32", "int4", "int8"]


def test_receipts_report_quantized_fused_and_unknown(mine: Path) -> None:
    """2 layers of 6 matmuls, and the pooler: 12 d^2 a layer and d^2, d = 128."""
    built = artifact(quantize(["bert-tiny"], recipe=["int4"], models=mine))
    reached, fusion = built.graph().quantization, built.graph().fusion
    assert reached is not None
    assert (reached.matmuls, reached.matmuls_quantized, reached.left) == (13, 13, ())
    assert reached.weight_bytes_quantized == reached.weight_bytes == 4 * (2 * 12 * 128**2 + 128**2)
    assert fusion is not None
    assert {one.operator: (one.expected, one.found) for one in fusion.fusions}["MatMulNBits"] == (13, 13)
    assert built.accuracy is None
    assert built.accuracy_note == "structure verified; no accuracy statement: weights are random"


def test_settings_are_part_of_the_name_and_of_the_file(mine: Path) -> None:
    built = artifact(
        quantize(["bert-tiny"], recipe=["int4"], block_size=64, symmetric=False, accuracy_level=1, models=mine)
    )
    assert str(built.precision) == "int4-block64-asymmetric-level1"
    model = onnx.load(built.location, load_external_data=False)
    node = next(node for node in model.graph.node if node.op_type == "MatMulNBits")
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    assert attributes == {"K": 128, "N": 128, "bits": 4, "block_size": 64, "accuracy_level": 1}
    assert len(node.input) == 4  # with zero points


def test_an_up_to_date_result_is_not_rebuilt(mine: Path) -> None:
    first, second = (quantize(["bert-tiny"], recipe=["int4"], models=mine)[0] for _ in range(2))
    assert (first.up_to_date, second.up_to_date) == (False, True)
    assert not quantize(["bert-tiny"], recipe=["int4"], models=mine, force=True)[0].up_to_date


def test_export_and_quantize_make_the_same(mine: Path, tmp_path: Path) -> None:
    by_export = export(["bert-tiny"], precision=["int4"], out=tmp_path / "other")[0].artifact
    by_quantize = artifact(quantize(["bert-tiny"], recipe=["int4"], models=mine))
    assert by_export is not None
    assert (by_export.sha256, by_export.data_sha256) == (by_quantize.sha256, by_quantize.data_sha256)
    assert by_export.key == by_quantize.key


def test_random_calibration_is_for_those_who_ask_for_it(mine: Path) -> None:
    with pytest.raises(UsageError, match=r"mean nothing for the random weights of .*--calibration random"):
        quantize(["bert-tiny"], recipe=["int8-static"], models=mine)
    built = artifact(quantize(["bert-tiny"], recipe=["int8-static"], calibration=RANDOM, samples=3, models=mine))
    assert built.graph().quantization is not None
    calibration = built.graph().quantization.calibration
    assert calibration is not None
    assert (calibration.random, calibration.samples, calibration.method) == (True, 3, "min-max")


def test_a_users_samples_calibrate(mine: Path, tmp_path: Path) -> None:
    """Odd samples are kept for evaluation, which random weights do not get."""
    np.savez(tmp_path / "ids.npz", input_ids=np.arange(60).reshape(6, 10))
    built = artifact(
        quantize(["bert-tiny"], recipe=["int8-static"], calibration=str(tmp_path / "ids.npz"), models=mine)
    )
    assert built.graph().quantization is not None
    calibration = built.graph().quantization.calibration
    assert calibration is not None
    assert (calibration.samples, calibration.lengths, calibration.random) == (3, (10,), False)
    assert "ids.npz" in calibration.data


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.full((4, 10), 10**6), r"1000000 in input 'input_ids', outside the model's 0 to 30521"),
        (
            np.zeros((4, 10, 2), np.int64),
            r"int64 \[1, 10, 2\] for input 'input_ids', but the model takes int64 \[batch_size, sequence_length\]",
        ),
        (np.full((4, 10), np.nan, np.float32), "float32|int64|NaN"),
    ],
    ids=["ids beyond the vocabulary", "another rank", "no integers"],
)
def test_bad_calibration_data_is_one_sentence_and_changes_nothing(
    array: Any, sentence: str, mine: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "bad.npz", input_ids=array)
    before = files(mine)
    with pytest.raises(UsageError, match=sentence):
        quantize(["bert-tiny"], recipe=["int8-static"], calibration=str(tmp_path / "bad.npz"), models=mine)
    assert files(mine) == before


def files(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*.json"))}


def test_what_is_quantized_is_not_quantized_again(mine: Path) -> None:
    before = files(mine)
    with pytest.raises(QuantizationError, match=r"holds no fp32 model, only int8\. Quantizing twice loses twice"):
        quantize([str(mine / "bert-tiny" / "int8")], recipe=["int4"], models=mine)
    with pytest.raises(QuantizationError, match="The model is quantized already: it has DynamicQuantizeLinear nodes"):
        quantize([str(mine / "bert-tiny" / "int8" / "model.onnx")], recipe=["int4"], models=mine)
    assert files(mine) == before


def test_a_disk_that_refuses_leaves_the_old_artifact(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = artifact(quantize(["bert-tiny"], recipe=["int4"], models=mine))
    limit_file_size(monkeypatch, 2_000_000)
    with pytest.raises(
        StorageError, match=r"^Cannot write .*bert-tiny: (a file may not be so large here|the disk took only a part)"
    ):
        quantize(["bert-tiny"], recipe=["int4"], models=mine, force=True)
    assert load_artifact(mine / "bert-tiny" / "int4") == old
    assert sorted(path.name for path in (mine / "bert-tiny").iterdir()) == ["fp32", "int4", "int8"]


def limit_file_size(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Children may write no larger file: the kernel then says EFBIG, where a full disk says ENOSPC."""
    import resource
    import signal
    import subprocess

    start = subprocess.Popen

    def limited(*arguments: Any, **options: Any) -> Any:
        def restrict() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return start(*arguments, **options, preexec_fn=restrict)

    monkeypatch.setattr(subprocess, "Popen", limited)


# --- files from elsewhere ------------------------------------------------------------------------------------


def foreign(folder: Path, *, opset: int = 18, second: str = "MatMul") -> Path:
    """Two layers, 32 -> 64 -> 32, with weights inside the file."""
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.standard_normal(shape, dtype=np.float32), name)
        for name, shape in (("up", (32, 64)), ("down", (64, 32)))
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "up"], ["wide"], name="first"),
        helper.make_node("Relu", ["wide"], ["positive"], name="relu"),
        helper.make_node(second, ["positive", "down"], ["y"], name="second"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "seq", 32])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "seq", 32])
    graph = helper.make_graph(nodes, "mlp", [x], [y], weights)
    path = folder / "mlp.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9), path)
    return path


@pytest.mark.parametrize("recipe", ["fp16", "int8", "int8-weights"])
def test_a_file_from_elsewhere_is_compared_with_itself(recipe: str, tmp_path: Path) -> None:
    built = artifact(quantize([str(foreign(tmp_path))], recipe=[recipe], models=tmp_path / "models"))
    assert Path(built.location) == tmp_path / "models" / "mlp" / recipe / "model.onnx"
    assert [(check.case.batch, check.case.tokens) for check in built.checks] == [(1, 16), (2, 5)]
    assert all(check.cosine > 0.999 for check in built.checks)
    assert built.graph().quantization is not None
    assert built.graph().quantization.weight_bytes_quantized == 2 * 4 * 32 * 64
    assert "a file that it did not export" in built.accuracy_note


def test_accuracy_of_a_foreign_file_is_evaluated_on_the_users_samples(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(1).standard_normal((8, 16, 32), dtype=np.float32))
    built = artifact(
        quantize(
            [str(foreign(tmp_path))], recipe=["int8"], calibration=str(tmp_path / "x.npy"), models=tmp_path / "models"
        )
    )
    assert built.accuracy is not None
    assert (built.accuracy.task, built.accuracy.samples) == ("embedding", 4)
    assert built.accuracy.cosine_mean > 0.999


def test_16_bits_in_an_operator_set_that_has_none_of_them(tmp_path: Path) -> None:
    """QuantizeLinear takes them from operator set 21 on; onnxruntime's own does in any."""
    source = foreign(tmp_path, opset=18)
    built = artifact(quantize([str(source)], recipe=["a16w8"], calibration=RANDOM, models=tmp_path / "models"))
    domains = {node.domain for node in onnx.load(built.location).graph.node if node.op_type == "QuantizeLinear"}
    assert (built.graph().opset, domains) == (18, {"com.microsoft"})
    assert all(check.cosine > 0.999 for check in built.checks)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"recipe": ["int3"]}, r"no precision called 'int3'\. Did you mean int8, int4"),
        ({"recipe": ["int8"], "block_size": 64}, "Recipe int8 has no block size"),
        ({"recipe": ["int4"], "block_size": 48}, "Block size 48 is not a power of two"),
        ({"recipe": []}, "Nothing to quantize"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(
    options: dict[str, Any], sentence: str, models: Path
) -> None:
    with pytest.raises(EdgeprofError, match=sentence) as caught:
        quantize(["bert-tiny"], models=models, **options)
    assert caught.value.exit_code == 2
