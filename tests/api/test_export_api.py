"""`export`: nothing is done twice, nothing is left half done, and wrong requests are refused before anything is."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import tiny_models

from edgeprof import EdgeprofError, Export, export
from edgeprof.api import export as exporting
from edgeprof.errors import (
    CheckpointError,
    MissingExtra,
    QuantizationError,
    UnknownName,
    UsageError,
    VerificationError,
)
from edgeprof.schema import Artifact, Precision
from edgeprof.stages import export as export_stage
from edgeprof.store import artifact_folders


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.checkpoint(tmp_path_factory.mktemp("checkpoints") / "small-bert", "bert", "base")


@pytest.fixture
def misfit(bert: Path, tmp_path: Path) -> Path:
    """A checkpoint whose config asks for a layer too many."""
    folder = Path(shutil.copytree(bert, tmp_path / "misfit"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    return folder


def everything_below(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_one_result_for_each_target_and_precision_in_order(exports: list[Export]) -> None:
    assert [(built.artifact.name, built.precision) for built in exports if built.artifact] == [
        (name, precision) for name in ("gpt2-small", "bert-tiny", "vit-tiny") for precision in ("fp32", "int8")
    ]
    assert not any(built.up_to_date or built.error for built in exports)


def test_random_weights_are_reported_and_recorded(exports: list[Export]) -> None:
    checkpoint, variant = exports[0], exports[2]
    assert checkpoint.artifact is not None
    assert variant.artifact is not None
    assert (checkpoint.note, str(checkpoint.artifact.weights)) == ("", "pretrained (gpt2-small)")
    assert variant.note.startswith("bert-tiny has random weights: The hub is switched off")
    assert str(variant.artifact.weights) == "random (seed 0)"


def test_a_folder_is_laid_out_as_documented(models: Path) -> None:
    assert sorted(str(path.relative_to(models)) for path in artifact_folders(models)) == [
        f"{name}/{precision}" for name in ("bert-tiny", "gpt2-small", "vit-tiny") for precision in ("fp32", "int8")
    ]
    for folder in artifact_folders(models):
        files = sorted(file.name for file in folder.iterdir())
        assert files == ["artifact.json", "model.onnx", "model.onnx.data", "reference.npz"]
    assert not list(models.rglob(".*"))


def test_the_same_export_again_is_up_to_date_and_touches_nothing(
    exports: list[Export], models: Path, gpt2_checkpoint: Path
) -> None:
    before = everything_below(models)
    again = export([str(gpt2_checkpoint), "bert-tiny", "vit-tiny"], precision=["fp32", "int8"], out=models)
    assert all(built.up_to_date for built in again)
    assert [built.artifact for built in again] == [built.artifact for built in exports]
    assert everything_below(models) == before


class Started(Exception):
    pass


def starts_anew(targets: list[Path | str], out: Path, **options: Any) -> bool:
    """Whether `export` begins to work; it is stopped there."""

    def stop(doing: str, _share: float | None) -> None:
        if "importing torch" in doing:
            raise Started

    try:
        built = export([str(target) for target in targets], out=out, progress=stop, **options)
    except Started:
        return True
    assert all(one.up_to_date for one in built)
    return False


def test_it_is_rebuilt_on_request_or_when_an_option_or_a_file_differs(models: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(models, tmp_path / "models"))
    assert not starts_anew(["bert-tiny"], out)
    assert starts_anew(["bert-tiny"], out, force=True)
    assert starts_anew(["bert-tiny"], out, opset=18)
    assert starts_anew(["bert-tiny"], out, name="other")
    assert starts_anew(["bert-mini"], out)
    (out / "bert-tiny/fp32/model.onnx.data").write_bytes(b"cut off")
    assert starts_anew(["bert-tiny"], out)
    (out / "vit-tiny/fp32/artifact.json").write_text("{")
    assert starts_anew(["vit-tiny"], out)


def test_it_is_rebuilt_when_the_weights_differ(models: Path, gpt2_checkpoint: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(gpt2_checkpoint, tmp_path / "gpt2-small"))
    config = json.loads((source / "config.json").read_text())
    assert not starts_anew([source], models)
    (source / "config.json").write_text(json.dumps({**config, "layer_norm_epsilon": 1e-6}))
    assert starts_anew([source], models)
    shutil.copyfile(gpt2_checkpoint / "config.json", source / "config.json")
    assert not starts_anew([source], models)
    with (source / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    assert starts_anew([source], models)


def test_options_are_recorded_and_every_step_is_reported(gpt2_checkpoint: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    (built,) = export(
        [str(gpt2_checkpoint)],
        logits="last",
        opset=18,
        out=tmp_path,
        progress=lambda doing, _share: steps.append(doing.partition(": ")[2]),
    )
    artifact = built.artifact
    assert artifact is not None
    assert (artifact.name, artifact.logits, artifact.graph().opset) == ("gpt2-small-last", "last", 18)
    assert artifact.graph().outputs[0].dims == ("batch_size", 1, 4000)
    assert "Attention" not in artifact.graph().count.nodes
    summary = (
        "importing torch",
        "building gpt2-small-last",
        "tracing",
        "translating to ONNX",
        "writing",
        "simplifying",
    )
    assert [step for step in steps if step in summary] == list(summary)
    assert "comparing at batch 3, tokens 7, past 0" in steps


# --- what fails leaves nothing ---------------------------------------------------------------------------------


@pytest.fixture
def break_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real export, after which something subtracts where it should add."""
    real: Callable[..., Artifact] = export_stage.export

    def broken(*arguments: Any) -> Artifact:
        artifact = real(*arguments)
        model = onnx.load(artifact.location, load_external_data=False)
        next(node for node in model.graph.node if node.op_type == "Add").op_type = "Sub"
        onnx.save(model, artifact.location)
        return artifact

    monkeypatch.setattr(export_stage, "export", broken)


@pytest.mark.usefixtures("break_the_graph")
def test_a_graph_that_is_wrong_fails_the_export_and_leaves_no_artifact(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=r"differs from PyTorch by \S+ at batch 1, tokens 1, past 0"):
        export([str(bert)], out=tmp_path)
    assert list((tmp_path / "small-bert").iterdir()) == []


def test_with_keep_going_the_others_are_exported(misfit: Path, models: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    out = Path(shutil.copytree(models, tmp_path / "models"))
    failed, unreadable, good = export([str(misfit), str(empty), "bert-tiny"], out=out, keep_going=True)
    assert "layer.2" in failed.error
    assert "holds no config.json" in unreadable.error
    assert failed.artifact is unreadable.artifact is None
    assert good.artifact is not None
    assert artifact_folders(out / "misfit") == []


def test_with_keep_going_a_recipe_that_fails_costs_its_precision_alone(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = exporting.quantized

    def but_one(base: Artifact, expected: Path, precision: Precision, *others: Any) -> tuple[Artifact, bool]:
        if precision.recipe == "int8":
            raise QuantizationError("int8 is broken.")
        return real(base, expected, precision, *others)

    monkeypatch.setattr(exporting, "quantized", but_one)
    requested: dict[str, Any] = {"precision": ["fp32", "int8", "int4"], "out": tmp_path}
    plain, broken, tiny_models = export([str(bert)], keep_going=True, **requested)
    assert [one.precision for one in (plain, broken, tiny_models)] == ["fp32", "int8", "int4"]
    assert (plain.error, broken.error, tiny_models.error) == ("", "int8 is broken.", "")
    assert [folder.name for folder in artifact_folders(tmp_path)] == ["fp32", "int4"]
    with pytest.raises(QuantizationError, match="int8 is broken"):
        export([str(bert)], **requested)


def test_without_it_the_first_failure_ends_the_export(misfit: Path, bert: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"layer\.2"):
        export([str(misfit), str(bert)], out=tmp_path / "models")
    assert artifact_folders(tmp_path / "models") == []


# --- refused before anything is exported ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "options", "kind", "message"),
    [
        ([], {}, UsageError, "Nothing to export"),
        (["bert-tiny", "bert-tinny"], {}, UnknownName, "Did you mean bert-tiny"),
        (["bert-tiny"], {"precision": ["fp32", "int9"]}, UnknownName, "Did you mean int8"),
        (["bert-tiny", "./nowhere"], {}, UsageError, "There is no folder"),
        (["bert-tiny"], {"logits": "last"}, UsageError, "bert-tiny has no LM head"),
        (["bert-tiny", "vit-tiny"], {"name": "mine"}, UsageError, "--name is for a single target"),
        (["bert-tiny"], {"name": "../mine"}, UsageError, "cannot name an artifact"),
        (["bert-tiny", "owner/name"], {}, CheckpointError, "The hub is switched off"),
        (["bert-tiny", "owner/name"], {"keep_going": True, "name": "x"}, UsageError, "single target"),
    ],
)
def test_a_request_that_cannot_be_met(
    targets: list[str], options: dict[str, Any], kind: type[EdgeprofError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message):
        export(targets, out=tmp_path / "models", **options)
    assert not (tmp_path / "models").exists()


def test_two_targets_of_one_name_are_refused(bert: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(bert, tmp_path / "other" / "small-bert"))
    with pytest.raises(UsageError, match="Two of these would be exported as small-bert"):
        export([str(bert), str(other)], out=tmp_path / "models")


def test_pretrained_weights_that_cannot_be_had_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"The hub is switched off .* or --weights random"):
        export(["bert-tiny"], weights="pretrained", out=tmp_path)
    with pytest.raises(CheckpointError, match=r"No checkpoint of vit-huge is published"):
        export(["vit-huge"], weights="pretrained", out=tmp_path)


def test_random_weights_do_not_pass_for_pretrained_ones(models: Path) -> None:
    with pytest.raises(CheckpointError, match="The hub is switched off"):
        export(["bert-tiny"], weights="pretrained", out=models)


def test_without_torch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name))
    with pytest.raises(MissingExtra, match=r"Exporting needs 'torch'.*pip install 'edgeprof\[export\]'"):
        export(["bert-tiny"], out=tmp_path)
