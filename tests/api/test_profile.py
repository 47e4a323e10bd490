"""`profile`: every point measured for real, recorded as what it was, and never measured twice."""

import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeprof import EdgeprofError, Run, load_run, profile
from edgeprof.api.static_export import fix
from edgeprof.api.targets import of_file
from edgeprof.errors import ModelFileError, RunError, UnknownName, UsageError
from edgeprof.process import silent
from edgeprof.schema import Case, Machine, decode, encode
from edgeprof.store import load_artifact

QUICK: dict[str, Any] = {"rounds": 1, "max_time_s": 0, "runs": 2, "min_time_s": 0.0}


@pytest.fixture(scope="module")
def everything(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All that is exported, at two lengths, in two rounds."""
    out = tmp_path_factory.mktemp("reports")
    return profile(seq=[50, 4], rounds=2, max_time_s=0, runs=2, min_time_s=0.0, name="all", models=models, out=out)


def test_every_model_phase_and_length_is_a_point(everything: Run) -> None:
    points = {
        (p.subject.model, p.subject.precision.recipe, p.load.phase, p.load.tokens, p.load.past_tokens)
        for p in everything.points
    }
    expected = {
        (name, precision, *shape)
        for precision in ("fp32", "int8")
        for name, shapes in {
            "bert-tiny": [("prefill", 4, 0), ("prefill", 50, 0)],
            "gpt2-small": [("prefill", 4, 0), ("prefill", 50, 0), ("decode", 1, 4), ("decode", 1, 50)],
            "vit-tiny": [("prefill", 2, 0), ("prefill", 50, 0)],  # images of 1 and of 7 x 7 patches
        }.items()
        for shape in shapes
    }
    assert points == expected
    assert not everything.failed


def test_every_point_is_visited_once_a_round(everything: Run) -> None:
    assert len(everything.measurements) == 2 * len(everything.points)
    assert {point.rounds for point in everything.points} == {2}
    assert [record.round for record in everything.measurements] == sorted(r.round for r in everything.measurements)


def test_models_take_turns(everything: Run) -> None:
    names = [record.subject.model for record in everything.measurements]
    changes = sum(one != other for one, other in pairwise(names))
    assert changes > 6  # one after the other would be 2 in each round


def test_parameters_and_macs_are_those_of_the_formulas(everything: Run) -> None:
    """bert-tiny at 4 tokens: 2 layers of 12 d^2 x 4 + 2 x 4 x 4 x d, and the pooler's d^2; d = 128."""
    point = next(
        p
        for p in everything.points
        if (p.subject.model, p.load.tokens, p.subject.precision.recipe) == ("bert-tiny", 4, "int8")
    )
    assert point.facts.params == 4_385_920
    assert point.facts.macs == 2 * (12 * 128**2 * 4 + 2 * 4 * 4 * 128) + 128**2


def test_what_was_measured_is_whole(everything: Run) -> None:
    for record in everything.measurements:
        reading = record.outcome.reading
        assert reading is not None
        assert len(reading.latencies_s) >= 2
        assert min(reading.latencies_s) > 0
        assert 0 < reading.memory_imports_bytes < reading.memory_loaded_bytes
        assert reading.memory_run_peak_bytes > reading.memory_imports_bytes
        assert reading.providers_active == ("CPUExecutionProvider",)


def test_a_run_is_read_back_as_it_was_returned(everything: Run) -> None:
    assert load_run(everything.folder) == everything
    assert load_run("all", out=Path(everything.folder).parent) == everything
    assert load_run(out=Path(everything.folder).parent) == everything


# --- resumed runs ----------------------------------------------------------------------------------------------


def test_an_interrupted_run_is_resumed(models: Path, tmp_path: Path) -> None:
    same = {"name": "again", "models": models, "out": tmp_path, "phase": "prefill", "precision": ["fp32"], **QUICK}
    file = tmp_path / "again" / "measurements.jsonl"
    profile(["bert-tiny"], seq=[4], **same)
    first = file.read_bytes()
    profile(["bert-tiny"], seq=[4], **same)
    assert file.read_bytes() == first
    run = profile(["bert-tiny", "vit-tiny"], seq=[4, 8], **same)
    assert file.read_bytes().startswith(first)
    measured = sorted((record.subject.model, record.load.tokens) for record in run.measurements)
    assert measured == [("bert-tiny", 4), ("bert-tiny", 8), ("vit-tiny", 2), ("vit-tiny", 5)]


def test_records_of_another_machine_are_not_mixed_in(models: Path, tmp_path: Path) -> None:
    same = {"name": "mine", "models": models, "out": tmp_path, "precision": ["fp32"], **QUICK}
    run = profile(["bert-tiny"], seq=[4], **same)
    file = Path(run.folder) / "machine.json"
    other = msgspec.structs.replace(decode(file.read_bytes(), Machine, "it"), machine_id="another", cpu="Z80")
    file.write_bytes(encode(other))
    before = (Path(run.folder) / "measurements.jsonl").read_bytes()
    with pytest.raises(RunError, match=r"measured on another machine \(Z80.*choose another --name"):
        profile(["bert-tiny"], seq=[8], **same)
    assert (Path(run.folder) / "measurements.jsonl").read_bytes() == before


@pytest.mark.parametrize(("file", "part"), [("model.onnx", "graph"), ("model.onnx.data", "weights")])
def test_a_model_that_is_not_what_its_record_says_is_not_measured(
    file: str, part: str, models: Path, tmp_path: Path
) -> None:
    shutil.copytree(models / "bert-tiny" / "fp32", tmp_path / "bert")
    with (tmp_path / "bert" / file).open("r+b") as opened:  # the producer's name in the graph; a weight
        opened.seek(5 if part == "graph" else 0)
        byte = opened.read(1)[0]
        opened.seek(-1, 1)
        opened.write(bytes([byte ^ 1]))
    with pytest.raises(RunError, match=f"digest of its {part} differs from its record"):
        profile([str(tmp_path / "bert")], seq=[4], out=tmp_path / "reports", **QUICK)
    assert not (tmp_path / "reports").exists()


def test_a_file_from_elsewhere_whose_weights_were_replaced_is_another_model(tmp_path: Path) -> None:
    model = save(tmp_path / "one.onnx", ["batch_size", "sequence_length", 8])
    onnx.save(onnx.load(model), model, save_as_external_data=True, location="one.data", size_threshold=0)
    requested = {"seq": [4], "name": "run", "out": tmp_path / "reports", **QUICK}
    first = profile([str(model)], **requested)
    (tmp_path / "one.data").write_bytes(np.zeros((8, 8), np.float32).tobytes())
    second = profile([str(model)], **requested)
    assert len(second.measurements) == 2 * len(first.measurements) > 0


# --- files from elsewhere --------------------------------------------------------------------------------------


def save(path: Path, dims: list[int | str], ids: bool = False) -> Path:
    """x -> MatMul -> y, or token ids -> Gather -> y; eight rows of weights."""
    weights = numpy_helper.from_array(np.ones((8, 8), np.float32), "w")
    dtype, node = TensorProto.FLOAT, helper.make_node("MatMul", ["x", "w"], ["y"])
    if ids:
        dtype, node = TensorProto.INT64, helper.make_node("Gather", ["w", "input_ids"], ["y"])
    x = helper.make_tensor_value_info("input_ids" if ids else "x", dtype, dims)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [x], [y], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    return path


@pytest.mark.parametrize(
    ("dims", "options", "batch", "tokens", "rows"),
    [
        (["batch_size", "sequence_length", 8], {"seq": [5]}, 1, 5, 5),
        (["N", "T", 8], {"seq": [5], "batch": [3]}, 3, 5, 15),
        (["batch_size", "sequence_length", 8], {"dim": {"sequence_length": 5}}, 1, 5, 5),
        (["batch_size", "frames", 8], {"dim": {"frames": 5}}, 1, 5, 5),
        (["rows", "frames", 8], {"dim": {"rows": 2, "frames": 5}, "seq": [5]}, 2, 5, 10),
        (["batch_size", "seq", 8], {"dim": {"batch_size": 4, "seq": 5}}, 4, 5, 20),
        (["batch_size", 8], {}, 1, None, 1),
        ([6, 8], {}, 1, None, 6),
    ],
)
def test_the_token_dimension_of_a_foreign_file(
    dims: list[int | str], options: dict[str, Any], batch: int, tokens: int | None, rows: int, tmp_path: Path
) -> None:
    """Every row of 8 is multiplied by 8 x 8 weights."""
    file = save(tmp_path / "foreign.onnx", dims)
    (point,) = profile([str(file)], out=tmp_path / "reports", **options, **QUICK).points
    assert (point.status, point.subject.model, point.load.batch, point.load.tokens) == ("ok", "foreign", batch, tokens)
    assert (point.facts.params, point.facts.macs, point.subject.weights.kind) == (64, rows * 64, "file")


def test_an_input_from_a_file_is_fed_as_it_is(tmp_path: Path) -> None:
    model = save(tmp_path / "foreign.onnx", ["batch_size", "sequence_length"], ids=True)
    np.save(tmp_path / "ids.npy", np.array([[1, 2, 7]]))
    inputs = {"input_ids": tmp_path / "ids.npy"}
    (point,) = profile([str(model)], input=inputs, out=tmp_path / "reports", **QUICK).points
    assert (point.status, point.load.tokens) == ("ok", 3)


def test_a_point_that_fails_is_a_record_and_the_run_goes_on(tmp_path: Path) -> None:
    bad = save(tmp_path / "bad.onnx", ["batch_size", "sequence_length", 9])  # its weights have eight rows
    good = save(tmp_path / "good.onnx", ["batch_size", "sequence_length"], ids=True)
    run = profile([str(bad), str(good)], seq=[64], out=tmp_path / "reports", **QUICK)
    assert {(point.subject.model, point.status) for point in run.points} == {("bad", "failed"), ("good", "ok")}
    (failed,) = run.failed
    assert failed.latency is None
    assert "MatMul" in failed.error
    assert failed.facts.macs is None


def test_two_files_of_one_name_are_distinguished(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    files = [save(tmp_path / "model.onnx", ["batch", "seq", 8]), save(tmp_path / "other" / "model.onnx", ["b", "s", 8])]
    run = profile([str(file) for file in files], seq=[4], out=tmp_path / "reports", **QUICK)
    assert sorted(point.subject.model for point in run.points) == sorted([tmp_path.name, "other"])


def test_an_exported_file_may_be_given_by_folder_or_file(models: Path, tmp_path: Path) -> None:
    folder = models / "bert-tiny" / "int8"
    same: dict[str, Any] = {"seq": [4], "models": tmp_path / "nowhere", "out": tmp_path, **QUICK}
    (by_folder,) = profile([str(folder)], **same).points
    assert (by_folder.subject.model, by_folder.subject.precision.recipe) == ("bert-tiny", "int8")
    (by_file,) = profile([str(folder / "model.onnx")], **same).points
    assert (by_file.subject.model, by_file.load.tokens, by_file.status) == ("bert-tiny", 4, "ok")


def test_a_static_graph_is_measured_at_its_shape(portable_models: Path, tmp_path: Path) -> None:
    """One step of two sequences after six tokens: the points of the model itself, under a name of its own."""
    folder = Path(shutil.copytree(portable_models / "gpt2-small-portable/fp32", tmp_path / "fp32"))
    fix(load_artifact(folder), [Case(batch=2, tokens=12), Case(batch=2, tokens=1, past_tokens=6)], False, silent)
    files = [str(folder / name) for name in ("prefill-2x12.onnx", "decode-2x6.onnx")]
    same: dict[str, Any] = {"batch": [2], "out": tmp_path, **QUICK}
    decode, prefill = profile(files, **same).points
    assert (prefill.subject.model, prefill.load.phase, prefill.load.batch, prefill.load.length) == (
        "gpt2-small-portable-prefill-2x12",
        "prefill",
        2,
        12,
    )
    assert (decode.subject.model, decode.load.phase, decode.load.batch, decode.load.tokens, decode.load.length) == (
        "gpt2-small-portable-decode-2x6",
        "decode",
        2,
        1,
        6,
    )
    (grown,) = profile([str(folder)], seq=[6], phase="decode", **same).points
    assert decode.facts.macs == grown.facts.macs
    with pytest.raises(UsageError, match=r"6 tokens and the new one\. Decode after 6 tokens"):
        profile(files[1:], seq=[5], **same)
    with pytest.raises(UsageError, match="decode-2x6 is one step of decode"):
        profile(files[1:], phase="prefill", **same)
    (folder / "model.onnx").unlink()  # on a device, the graph and the weights it reads are enough
    assert of_file(Path(files[1])).name == "gpt2-small-portable-decode-2x6"


# --- refused before anything is measured -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "options", "kind", "message"),
    [
        (["bert-tiny"], {}, UsageError, "A token length is required"),
        (["bert-tiny"], {"seq": [0]}, UsageError, "--seq must be 1 to"),
        (["bert-tiny"], {"seq": [4, -1]}, UsageError, "--seq must be 1 to"),
        (["bert-tiny"], {"seq": [4], "batch": [0]}, UsageError, "--batch must be 1 to"),
        (["bert-tiny"], {"seq": [4], "rounds": 0}, UsageError, "--rounds must be 1 to"),
        (["bert-tiny"], {"seq": [16, 513]}, UsageError, "at most 512 tokens, but 513 tokens are requested"),
        (["gpt2-small"], {"seq": [64]}, UsageError, "at most 64 tokens, but 64 cached and 1 new token "),
        (["vit-tiny"], {"seq": [1]}, UsageError, "No input of vit-tiny is as short as --seq 1"),
        (["bert-tiny"], {"seq": [4], "phase": "decode"}, UsageError, "none can decode.*--phase prefill"),
        (["bert-tiny"], {"seq": [4], "dim": {"sequence_length": 8}}, UsageError, "is sized by --seq and --batch"),
        (["bert-tiny"], {"seq": [4], "precision": ["int4"]}, UsageError, "not exported in int4.*--precision int4"),
        (
            ["bert-tiny"],
            {"seq": [4], "ep": ["cuba"]},
            UnknownName,
            "no execution provider called 'cuba'. Did you mean cuda",
        ),
        (["bert-tinny"], {"seq": [4]}, UnknownName, "Did you mean bert-tiny"),
        (["gpt2"], {"seq": [4]}, UsageError, "gpt2 is not exported yet. Run: edgeprof export gpt2"),
        (["nowhere.onnx"], {"seq": [4]}, ModelFileError, "There is no file nowhere.onnx"),
        (["bert-tiny"], {"seq": [4], "name": "../mine"}, UsageError, "cannot name a run"),
    ],
)
def test_a_request_that_cannot_be_met(
    targets: list[str],
    options: dict[str, Any],
    kind: type[EdgeprofError],
    message: str,
    models: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(kind, match=message):
        profile(targets, models=models, out=tmp_path / "reports", **options)
    assert not (tmp_path / "reports").exists()


def test_nothing_exported_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Nothing is exported in \S+ yet\. Run: edgeprof export gpt2"):
        profile(seq=[512], models=tmp_path / "models")


def test_an_artifact_that_lost_its_weights_says_so(models: Path, tmp_path: Path) -> None:
    shutil.copytree(models / "bert-tiny", tmp_path / "bert-tiny")
    (tmp_path / "bert-tiny/int8/model.onnx.data").unlink()
    with pytest.raises(RunError, match=r"int8 has lost its model files\. Export it again"):
        profile(["bert-tiny"], seq=[4], models=tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.write_bytes(b"no graph"), r"is not a readable ONNX file"),
        (lambda file: file.write_bytes(b""), r"is not an ONNX file, or an empty one"),
        (lambda file: file.write_bytes(file.read_bytes()[:2000]), r"is not a readable ONNX file"),
        (lambda file: file.with_name("model.onnx.data").unlink(), r"keeps its weights in model\.onnx\.data"),
        (lambda file: file.with_name("model.onnx.data").write_bytes(b"short"), r"is shorter than model\.onnx says"),
    ],
    ids=["garbage", "empty", "truncated", "no data", "truncated data"],
)
def test_a_file_that_is_damaged_is_refused(damage: Any, message: str, models: Path, tmp_path: Path) -> None:
    file = Path(shutil.copytree(models / "bert-tiny/fp32", tmp_path / "foreign")) / "model.onnx"
    damage(file)
    with pytest.raises(ModelFileError, match=message):
        profile([str(file)], seq=[4], out=tmp_path / "reports")


# --- operators -------------------------------------------------------------------------------------------------


def test_operators_are_profiled_once_after_the_timed_visits(models: Path, tmp_path: Path) -> None:
    same: dict[str, Any] = {"name": "ops", "models": models, "out": tmp_path, "threads": 1, **QUICK}
    timed = profile(["bert-tiny"], seq=[4], precision=["fp32"], **same)
    assert (timed.operators, timed.kernels) == ((), ())
    run = profile(["bert-tiny"], seq=[4], ops=True, **same)
    assert {(one.subject.precision.recipe, one.load.tokens, one.outcome.status) for one in run.operators} == {
        ("fp32", 4, "ok"),
        ("int8", 4, "ok"),
    }
    assert run.measurements[: len(timed.measurements)] == timed.measurements
    products = {"fp32": {"MatMul", "FusedGemm"}, "int8": {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"}}
    for one in run.operators:
        assert one.outcome.reading is not None
        assert {time.operator for time in one.outcome.reading.matrices} == products[one.subject.precision.recipe]
        weighted = sum(time.nodes for time in one.outcome.reading.matrices if time.second == "constant")
        assert weighted == 13  # 2 blocks of Q, K, V, output, up, down; and the pooler
    assert {one.subject.precision.recipe: one.quantization is not None for one in run.operators} == {
        "fp32": False,
        "int8": True,
    }
    assert {(one.precision, one.tokens, one.status) for one in run.kernels} == {
        (precision, tokens, "ok") for precision in ("fp32", "int8") for tokens in (1, 128)
    }
    file = Path(run.folder) / "operators.jsonl"
    file.write_bytes(file.read_bytes() + b'{"half a li')  # as a killed process leaves it
    assert profile(["bert-tiny"], seq=[4], ops=True, **same) == run == load_run(run.folder)
