"""Other runtimes beside onnxruntime: their points, what they are compared with, and what they do not take."""

import json
import os
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from builders.records import flat
from msgspec.structs import replace

from edgeprof import Run, profile, write_report
from edgeprof.api import baselines
from edgeprof.baselines import BASELINES, chosen
from edgeprof.baselines.llama_cpp_engine import LlamaCpp
from edgeprof.errors import UnknownName, UsageError
from edgeprof.schema import CPU, InputValue
from edgeprof.stages.export import whole_model
from edgeprof.stages.export.kinds import graphs_of
from edgeprof.stages.export.rebuild import rebuilt
from edgeprof.store import load_artifact

ONE_VISIT: dict[str, Any] = {"rounds": 1, "max_time_s": 0, "runs": 2, "min_time_s": 0.0}


@pytest.fixture(scope="module")
def run(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A decoder in two precisions, in PyTorch as well."""
    out = tmp_path_factory.mktemp("reports")
    return profile(["gpt2-small"], seq=[6], baseline=["torch"], name="torch", models=models, out=out, **ONE_VISIT)


def test_torch_measures_the_fp32_points_and_says_what_it_does_not(run: Run) -> None:
    mine = [point for point in run.points if point.place.provider == "torch"]
    assert [(point.status, str(point.subject.precision), point.load.phase) for point in mine] == [
        ("ok", "fp32", "prefill"),
        ("ok", "fp32", "decode"),
    ]
    assert "torch measures fp32, and so not gpt2-small int8." in run.notes
    assert len(run.points) == 6


def test_its_points_are_of_another_runtime(run: Run) -> None:
    mine = [record for record in run.measurements if record.place.is_baseline]
    assert {record.place.runtime for record in mine} == {"torch"}
    for record in mine:
        reading = record.outcome.reading
        assert reading is not None
        assert reading.providers_active == (f"torch {torch.__version__}",)
        assert len(reading.latencies_s) == 2
        assert reading.memory_imports_bytes > 150e6  # PyTorch and transformers
        assert record.facts.memory_predicted_bytes is None
    ours = [record for record in run.measurements if not record.place.is_baseline]
    assert {record.place.runtime for record in ours} == {"onnxruntime"}


def test_what_it_computes_was_compared(run: Run) -> None:
    for point in run.points:
        agreement = point.receipt.agreement
        assert (agreement is not None) == point.place.is_baseline
        assert agreement is None or 0 < agreement.max_rel_error < 1e-5


def test_the_page_compares_it_with_onnxruntime(run: Run) -> None:
    text = (write_report(run.folder).parent / "report.md").read_text()
    assert " torch" in text
    assert f"a baseline, measured in turn with onnxruntime, in processes of its own (torch {torch.__version__})" in text
    assert "edgeprof profile gpt2-small --seq 6 --phase both --precision fp32 --ep cpu --baseline torch" in text


def test_a_step_leaves_the_past_as_it_was(models: Path) -> None:
    """Otherwise every run would have one token more than the one before."""
    artifact = load_artifact(models / "gpt2-small" / "fp32")
    with torch.inference_mode():
        blueprint = rebuilt(artifact, "model")
        feeds = {
            "input_ids": torch.tensor([[3]]),
            "attention_mask": torch.ones(1, 5, dtype=torch.int64),
            "position_ids": torch.tensor([[4]]),
            **{
                spec.name: torch.randn(1, 4, 4, 32, generator=torch.Generator().manual_seed(index))
                for index, spec in enumerate(artifact.graph().inputs)
                if spec.name.startswith("past")
            },
        }
        once = blueprint.runner(feeds)
        first, second = once(), once()
        expected = dict(zip(blueprint.outputs, blueprint.reference(feeds), strict=True))
    for name, tensor in expected.items():
        torch.testing.assert_close(first[name], tensor)
        torch.testing.assert_close(second[name], tensor)
        assert "present" not in name or tensor.shape[2] == 5


def test_a_step_with_a_source_leaves_both_pasts_as_they_were() -> None:
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4, "vocab_size": 30}
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes)).eval()
    with torch.inference_mode():
        _, decoder = graphs_of(model, "all")
        feeds = whole_model.tensors(decoder.feeds(decoder.cases[2], np.random.default_rng(0)))
        once = decoder.runner(feeds)
        first, second = once(), once()
        expected = dict(zip(decoder.outputs, decoder.reference(feeds), strict=True))
    for name, tensor in expected.items():
        torch.testing.assert_close(first[name], tensor)
        torch.testing.assert_close(second[name], tensor)


def test_a_baseline_that_takes_none_of_the_points_is_refused(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"torch measures fp32, and so not bert-tiny int8\. Add fp32 to --precision"):
        profile(
            ["bert-tiny"], seq=[4], precision=["int8"], baseline=["torch"], models=models, out=tmp_path, **ONE_VISIT
        )
    assert not list(tmp_path.iterdir())


def test_a_file_from_elsewhere_has_no_pytorch(models: Path) -> None:
    artifact = replace(load_artifact(models / "bert-tiny" / "fp32"), name="mine", variant=None, architecture=None)
    (target,) = baselines.targets(["torch"])
    assert baselines.accepting(artifact, [CPU, target]) == (CPU,)
    assert baselines.refusals([artifact], [CPU, target]) == [
        "torch measures models that edgeprof exported, and so not mine fp32."
    ]


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match=r"There is no baseline called 'troch'\. Did you mean torch"):
        chosen(["troch"])
    with pytest.raises(UsageError, match=r"--baseline torch=model.gguf names a file"):
        chosen(["torch=model.gguf"])
    with pytest.raises(UsageError, match=r"llama.cpp needs a GGUF file of the model\. Example: --baseline llama\.cpp="):
        chosen(["llama.cpp"])
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UsageError, match=r"torch-compile needs a C\+\+ compiler"):
        chosen(["torch-compile"])


def test_one_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for row in BASELINES:
        with pytest.raises(UsageError, match=r"not installed\. Run: pip install ") as refused:
            chosen([row.name + ("=model.gguf" if row.reads == "gguf" else "")])
        assert refused.value.exit_code == 2
        assert row.install in str(refused.value)


def test_llama_cpp_takes_decoders_beside_fp32_and_its_points_are_of_its_file(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.gguf"
    file.write_bytes(b"weights")
    target = replace(
        CPU,
        provider="llama.cpp",
        runtime="x",
        runtime_name="llama.cpp",
        library=str(file),
        options={"precision": "q8_0"},
    )
    decoder = load_artifact(models / "gpt2-small" / "fp32")
    others = [load_artifact(models / name) for name in ("gpt2-small/int8", "bert-tiny/fp32")]
    assert baselines.accepting(decoder, [target]) == (target,)
    assert baselines.refusals([decoder, *others], [target]) == [
        "llama.cpp measures its own file, once beside fp32, and so not gpt2-small int8.",
        "llama.cpp measures decoders with logits, and so not bert-tiny fp32.",
    ]
    subject = baselines.subject_on(target, decoder.subject)
    assert (subject.model, str(subject.precision), subject.digest) == (
        "gpt2-small",
        "q8_0",
        sha256(b"weights").hexdigest(),
    )
    assert [state.path for state in baselines.files_on(target)] == [str(file)]


def test_llama_cpp_is_compared_in_a_first_run(models: Path) -> None:
    """The past of a step is onnxruntime's alone: llama.cpp computes its own."""
    past = InputValue(name="past_key_values.0.key", dtype="float32", shape=(1, 4, 50, 32), fill="normal")
    ids = InputValue(name="input_ids", dtype="int64", shape=(1, 1), fill="token_ids", high=9)
    positions = InputValue(name="position_ids", dtype="int64", shape=(1, 1), fill="positions", start=50)
    mask = InputValue(name="attention_mask", dtype="int64", shape=(1, 51), fill="ones")
    compared = LlamaCpp.compared((past, ids, positions, mask))
    assert [value.shape for value in compared] == [(1, 4, 0, 32), (1, 8), (1, 8), (1, 8)]
    assert compared[2].start == 0


def test_openvino_reads_the_file_itself(openvino: Path, models: Path, tmp_path: Path) -> None:
    """In fp32 and in int8: PyTorch is not in this environment."""
    words = "profile gpt2-small --seq 6 --phase decode --threads 1 --baseline openvino --json "
    words += "--rounds 1 --max-time 0 --runs 1 --min-time 0"
    done = subprocess.run(
        [openvino, "-m", "edgeprof", *words.split(), "--models", models],
        cwd=tmp_path,
        env={**os.environ, "EDGEPROF_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    points = [flat(point) for point in json.loads(done.stdout)["points"]]
    mine = [point for point in points if point["provider"] == "openvino-runtime"]
    assert sorted((point["precision"], point["phase"], point["status"]) for point in mine) == [
        ("fp32", "decode", "ok"),
        ("int8", "decode", "ok"),
    ]
    for point in mine:
        assert point["agreement"]["max_rel_error"] <= point["agreement"]["tolerance"]
