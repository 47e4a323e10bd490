"""Graphs of one shape beside an artifact: written, verified, kept up to date, refused."""

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from edgeprof import export
from edgeprof.api.static_export import Shapes, fix, shapes_of
from edgeprof.errors import UsageError, VerificationError
from edgeprof.families import family_of, find_variant
from edgeprof.process import silent
from edgeprof.schema import Artifact, Case
from edgeprof.stages import static_graphs
from edgeprof.store import load_artifact

Artifacts = dict[tuple[str, str], Artifact]
PREFILL, DECODE = Case(batch=1, tokens=12), Case(batch=2, tokens=1, past_tokens=6)


def copy_of(artifact: Artifact, folder: Path) -> Artifact:
    shutil.copytree(artifact.folder, folder / "artifact")
    return load_artifact(folder / "artifact")


def logits(file: str | Path, feeds: dict[str, Any]) -> Any:
    return ort.InferenceSession(str(file), providers=["CPUExecutionProvider"]).run(["logits"], feeds)[0]


def test_graphs_lie_beside_the_model_and_read_its_weights(artifacts: Artifacts, tmp_path: Path) -> None:
    artifact = copy_of(artifacts["gpt2-portable", "fp32"], tmp_path)
    before = {file.name for file in artifact.folder.iterdir()}
    built = fix(artifact, [PREFILL, DECODE], False, silent)
    folder = artifact.folder
    assert {file.name for file in folder.iterdir()} - before == {"prefill-1x12.onnx", "decode-2x6.onnx"}
    assert load_artifact(folder) == built
    assert [(one.file, one.case) for one in built.static] == [
        ("prefill-1x12.onnx", PREFILL),
        ("decode-2x6.onnx", DECODE),
    ]
    assert all(one.max_abs_error < 1e-4 for one in built.static)
    assert all((folder / one.file).stat().st_size < 300_000 for one in built.static)  # the model has 3.8 MB
    assert artifact.variant is not None
    feeds = family_of(artifact.variant).feeds(artifact.variant, PREFILL, np.random.default_rng(3))
    result = logits(folder / "prefill-1x12.onnx", {name: feeds[name] for name in list(feeds)[:3]})
    np.testing.assert_allclose(result, logits(artifact.location, feeds), atol=2e-5)


def test_what_is_up_to_date_is_kept(artifacts: Artifacts, tmp_path: Path) -> None:
    artifact = fix(copy_of(artifacts["bert", "int8"], tmp_path), [PREFILL], False, silent)
    file = Path(artifact.location).with_name("prefill-1x12.onnx")
    written = file.stat().st_mtime_ns
    assert fix(artifact, [PREFILL], False, silent) == artifact
    assert file.stat().st_mtime_ns == written
    more = fix(artifact, [Case(batch=1, tokens=5)], False, silent)
    assert [one.file for one in more.static] == ["prefill-1x5.onnx", "prefill-1x12.onnx"]
    file.write_bytes(b"something else")
    assert fix(more, [PREFILL], False, silent).static == more.static
    assert file.stat().st_mtime_ns != written
    other = more.with_graphs([msgspec.structs.replace(more.graph(), sha256="of another export")])
    assert static_graphs.standing(more, PREFILL) and not static_graphs.standing(other, PREFILL)


def test_a_graph_that_computes_something_else_is_not_left(
    artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph of other numbers, as a wrong rewriting would leave it."""
    artifact, wrong = (copy_of(artifacts["bert", "fp32"], tmp_path / name) for name in ("right", "wrong"))

    model = onnx.load(wrong.location, load_external_data=False)
    norm = next(node for node in model.graph.node if node.op_type == "LayerNormalization")
    norm.input[1], norm.input[2] = norm.input[2], norm.input[1]
    onnx.save(model, wrong.location)
    real = static_graphs.provider_graph.load_for_provider
    monkeypatch.setattr(
        static_graphs.provider_graph, "load_for_provider", lambda _, *others: real(wrong.graph(), *others)
    )
    with pytest.raises(VerificationError, match=r"differs from that of model\.onnx by .* at batch 1, tokens 12"):
        fix(artifact, [PREFILL], False, silent)
    assert not list(artifact.folder.glob("*prefill*"))
    assert load_artifact(artifact.folder).static == ()


def test_lengths_mean_cases() -> None:
    gpt2, bert, vit = (find_variant(name) for name in ("gpt2", "bert-tiny", "vit-tiny"))
    both = Shapes(seq=(8, 16), batch=(1, 2))
    assert len(both.of_variant("gpt2", gpt2)) == 8
    assert both.of_variant("gpt2", gpt2)[-1] == Case(batch=2, tokens=1, past_tokens=16)
    assert Shapes(seq=(8,)).of_variant("bert-tiny", bert) == (Case(batch=1, tokens=8),)
    assert Shapes(seq=(200, 205)).of_variant("vit-tiny", vit) == (
        Case(batch=1, tokens=197),
    )  # 14 x 14 patches and one token
    with pytest.raises(UsageError, match="bert-tiny has no KV cache, so it cannot decode"):
        Shapes(seq=(8,), phase="decode").of_variant("bert-tiny", bert)
    with pytest.raises(UsageError, match="takes at most 1,024 tokens, but 1024 cached and 1 new token are requested"):
        Shapes(seq=(1024,)).of_variant("gpt2", gpt2)


def test_lengths_are_those_of_the_decoder_where_the_encoder_takes_one_size() -> None:
    """Whisper's encoder gives 1,500 positions, for 30 seconds."""
    assert Shapes(seq=(128, 447)).of_variant("whisper-tiny", find_variant("whisper-tiny")) == (
        Case(batch=1, tokens=1500),
        Case(batch=1, tokens=1, past_tokens=128, source_tokens=1500),
        Case(batch=1, tokens=1, past_tokens=447, source_tokens=1500),
    )


def test_static_goes_with_lengths(tmp_path: Path) -> None:
    assert shapes_of(static=False, seq=(), batch=(1,), phase="both") is None
    with pytest.raises(UsageError, match=r"need token lengths\. Add --seq"):
        export(["bert-tiny"], static=True, out=tmp_path)
    with pytest.raises(UsageError, match="add --static"):
        export(["bert-tiny"], seq=[128], out=tmp_path)
    with pytest.raises(UsageError, match="bert-tiny takes at most 512 tokens"):
        export(["bert-tiny"], static=True, seq=[600], out=tmp_path)
    assert not list(tmp_path.iterdir())
