"""The architectures that differ most, exported and compared with PyTorch. `make conformance` has all of them."""

from pathlib import Path

import onnx
import onnxruntime
import pytest
from conformance.architectures import TinyModel, find, here

from edgeprof import export, process
from edgeprof.errors import EdgeprofError, ExportError, UsageError, VerificationError
from edgeprof.kv_cache import is_present
from edgeprof.providers.session import open_session
from edgeprof.schema import Artifact, Graph
from edgeprof.stages import generation, reference
from edgeprof.store import reference_file

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
    "qwen2_5_vl": ["vision", "embedding", "model"],  # patches with a grid, and positions along three axes
}
"""And the roles of the graphs of each."""

GENERATE = {"gemma3", "gpt_oss", "lfm2", "mamba", "t5", "whisper", "gemma3 vision", "qwen2_5_vl"}
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
    if name in GENERATE:
        _assert_generates(artifact)


@pytest.mark.filterwarnings("ignore")
def test_static_graphs_of_images_need_no_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.LOCAL, "run", here.run)
    checkpoint = find("convnext").checkpoint(tmp_path / "checkpoint")
    (one,) = export([str(checkpoint)], static=True, out=tmp_path / "models", name="tiny")
    assert one.artifact is not None
    (static,) = one.artifact.static
    assert static.file == "prefill-1.onnx"
    model = onnx.load(one.artifact.folder / static.file, load_external_data=False)
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 32, 32]
    with pytest.raises(UsageError, match=r"images, which --seq does not size\. Leave --seq out"):
        export([str(checkpoint)], static=True, seq=[16], out=tmp_path / "models", name="tiny")


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_needs_more_inputs_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process.LOCAL, "run", here.run)
    sizes = {"image_size": 16, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    videos = TinyModel("videomae", "VideoMAEForVideoClassification", "image", {**sizes, "intermediate_size": 16})
    checkpoint = videos.checkpoint(tmp_path / "checkpoint")
    with pytest.raises(ExportError, match=r"tiny does not run .*\(\w+ in \w+\.py, line \d+\)\."):
        export([str(checkpoint)], out=tmp_path / "models", name="tiny")


@pytest.mark.filterwarnings("ignore")
def test_images_inside_the_decoder_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.LOCAL, "run", here.run)
    checkpoint = find("qwen3_vl").checkpoint(tmp_path / "checkpoint")
    with pytest.raises(EdgeprofError, match=r"Qwen3VLFor\w+ adds features .*\(deepstack_visual_indexes"):
        export([str(checkpoint)], out=tmp_path / "models", name="tiny")


def _assert_agrees(graph: Graph) -> None:
    """Several shapes, of which the batches are 1 and more."""
    assert {check.against for check in graph.checks} == {"PyTorch"}
    assert max(check.max_abs_error for check in graph.checks) < 1e-3
    if any(isinstance(dim, str) for spec in graph.inputs for dim in spec.dims):
        assert len({check.case for check in graph.checks}) >= 2
    if any("batch_size" in spec.dims for spec in graph.inputs):
        assert {1, 3} <= {check.case.batch for check in graph.checks}


def _assert_no_weights_twice(artifact: Artifact) -> None:
    """All graphs share one file of weights: those that PyTorch counts, and tables of positions."""
    assert artifact.data_bytes < 4 * artifact.params + 100_000


def _assert_generates(artifact: Artifact) -> None:
    """16 tokens as in PyTorch; not if a graph gives the cache of one layer as that of another."""
    tokens = reference.greedy(reference_file(artifact.graphs[-1]))
    assert tokens["tokens"].shape == (16,)
    graphs = {graph.role: open_session(graph.path) for graph in artifact.graphs}
    generation.check(graphs, tokens, shared=artifact.graphs[-1].shared_cache, advice="")
    caching = [graph for graph in artifact.graphs if any(is_present(spec.name) for spec in graph.outputs)]
    assert caching
    for graph in caching:
        with pytest.raises(VerificationError, match="of greedy generation with a growing cache"):
            generation.check(graphs | {graph.role: _of_wrong_caches(Path(graph.path))}, tokens, shared=False, advice="")


def _of_wrong_caches(file: Path) -> onnxruntime.InferenceSession:
    """A graph with the caches of two layers exchanged."""
    model = onnx.load(file, load_external_data=False)
    names = [output.name for output in model.graph.output if is_present(output.name)]
    one = names[0]
    other = next(name for name in names[1:] if name.split(".")[2:] == one.split(".")[2:])
    renamed = {one: other, other: one}
    for output in model.graph.output:
        output.name = renamed.get(output.name, output.name)
    for node in model.graph.node:
        node.output[:] = [renamed.get(name, name) for name in node.output]
        node.input[:] = [renamed.get(name, name) for name in node.input]
    onnx.save(model, file.with_name("wrong.onnx"))
    return open_session(str(file.with_name("wrong.onnx")))
