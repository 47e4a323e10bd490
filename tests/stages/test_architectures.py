"""The architectures that differ most, exported and compared with PyTorch. `make conformance` has all of them."""

from pathlib import Path

import pytest
from conformance.architectures import find, here

from edgeprof import export, process
from edgeprof.errors import ExportError
from edgeprof.schema import Artifact, Graph

MODELS = {
    "modernbert": ["model"],  # windows and rotary positions
    "deberta-v2": ["model"],  # positions relative to each other
    "embeddinggemma": ["model"],  # a decoder that reads ahead
    "gemma3": ["model"],  # windows beside full attention
    "gpt_oss": ["model"],  # experts, and attention that may rest
    "lfm2": ["model"],  # states of convolutions beside a KV cache
    "mamba": ["prefill", "decode"],  # a recurrence
    "t5": ["encoder", "decoder"],
    "whisper": ["encoder", "decoder"],
    "segformer": ["model"],  # images of any size
    "wav2vec2 CTC": ["model"],  # waves of any length, with a mask
    "clip": ["model", "vision", "text"],
    "gemma3 vision": ["vision", "embedding", "model"],
}
"""And the roles of the graphs of each."""

TAKE_A_MASK = set(MODELS) - {"whisper", "segformer"}


@pytest.mark.filterwarnings("ignore")  # of torch, in this process
@pytest.mark.parametrize("name", MODELS)
def test_exported_as_in_torch(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.LOCAL, "run", here.run)
    checkpoint = find(name).checkpoint(tmp_path / "checkpoint")
    (one,) = export([str(checkpoint)], out=tmp_path / "models", name="tiny")
    artifact = one.artifact
    assert artifact is not None
    assert [graph.role for graph in artifact.graphs] == MODELS[name]
    for graph in artifact.graphs:
        _assert_agrees(graph)
    if name in TAKE_A_MASK:
        assert "attention_mask" in {spec.name for graph in artifact.graphs for spec in graph.inputs}
    _assert_no_weights_twice(artifact)


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_needs_more_inputs_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process.LOCAL, "run", here.run)
    checkpoint = find("qwen2_5_vl").checkpoint(tmp_path / "checkpoint")
    with pytest.raises(ExportError, match=r"tiny does not run .*: 'NoneType' .*\(\w+ in \w+\.py, line \d+\)\."):
        export([str(checkpoint)], out=tmp_path / "models", name="tiny")


def _assert_agrees(graph: Graph) -> None:
    """Several shapes, of which the batches are 1 and more."""
    assert {check.against for check in graph.checks} == {"PyTorch"}
    assert len({check.case for check in graph.checks}) >= 2
    assert max(check.max_abs_error for check in graph.checks) < 1e-3
    if any("batch_size" in spec.dims for spec in graph.inputs):
        assert {1, 3} <= {check.case.batch for check in graph.checks}


def _assert_no_weights_twice(artifact: Artifact) -> None:
    """All graphs share one file of weights: those that PyTorch counts, and tables of positions."""
    assert artifact.data_bytes < 4 * artifact.params + 100_000
