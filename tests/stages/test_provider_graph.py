"""Graphs for one provider and one shape: what they compute, what is in them, and what is not copied."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx_files import Arrays, cache_of, decoder_feeds, empty_cache, run

from edgeprof import counting
from edgeprof.api.targets import foreign
from edgeprof.errors import UsageError
from edgeprof.families import family_of
from edgeprof.schema import CPU, Artifact, Case, Target
from edgeprof.stages.provider_graph import ProviderGraph, prepare_for_provider

NPU = Target(provider="qnn", kind="NPU", static=True, lacks=("Attention",))
GPU = Target(provider="webgpu", kind="GPU", lacks=("Attention",))
SHAPE_ARITHMETIC = {"Shape", "Range", "Size", "ConstantOfShape", "LessOrEqual", "GreaterOrEqual"}


def feeds_of(artifact: Artifact, case: Case) -> Arrays:
    assert artifact.variant is not None
    return family_of(artifact.variant).feeds(artifact.variant, case, np.random.default_rng(7))


def shapes_of(feeds: Arrays) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in feeds.items()}


def run_adapted(built: ProviderGraph, feeds: Arrays) -> Arrays:
    """The graph, with its weights where they are; only inputs that it has."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", built.weights_folder)
    session = ort.InferenceSession(Path(built.path).read_bytes(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {spec.name: feeds[spec.name] for spec in built.inputs}), strict=True))


CASES = [
    ("bert", Case(batch=1, tokens=16)),
    ("bert", Case(batch=3, tokens=7)),
    ("vit", Case(batch=2, tokens=17)),
    ("gpt2-portable", Case(batch=1, tokens=16)),
    ("gpt2-portable", Case(batch=2, tokens=5)),
]


@pytest.mark.parametrize(
    ("family", "case"), CASES, ids=[f"{family} {case.batch}x{case.tokens}" for family, case in CASES]
)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_prefill_is_static_and_computes_the_same(
    artifacts: dict[tuple[str, str], Artifact], family: str, case: Case, precision: str, tmp_path: Path
) -> None:
    artifact = artifacts[family, precision]
    feeds = feeds_of(artifact, case)
    built = prepare_for_provider(artifact.graph(), NPU, shapes_of(feeds), tmp_path)
    model = onnx.load(built.path, load_external_data=False)
    operators = {node.op_type for node in model.graph.node}
    assert built.static and built.written_out == {"Attention": 2 if family != "vit" else 12}
    assert not operators & (SHAPE_ARITHMETIC | {"Attention"})
    assert all(isinstance(dim, int) for spec in (*built.inputs, *built.outputs) for dim in spec.dims)
    assert not [spec.name for spec in built.inputs if spec.name.startswith("past")]  # a past of no tokens is no input
    assert Path(built.path).stat().st_size < 500_000  # the graph alone
    result, expected = run_adapted(built, feeds), run(artifact.location, feeds)
    assert list(result) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(result[name], values, atol=2e-5 if precision == "fp32" else 2e-2, err_msg=name)


# --- decode ------------------------------------------------------------------------------------------------


def static_feeds(built: ProviderGraph, token: Any, position: int, cache: Arrays) -> Arrays:
    """One new token; slots up to and with its own hold something."""
    (mask,) = (spec.dims for spec in built.inputs if spec.name == "attention_mask")
    filled = np.zeros(mask, np.int64)
    filled[:, : position + 1] = 1
    return {"input_ids": token, "attention_mask": filled, "position_ids": np.full_like(token, position), **cache}


def decode_graph(artifact: Artifact, past: int, folder: Path, batch: int = 1) -> ProviderGraph:
    return prepare_for_provider(
        artifact.graph(),
        NPU,
        shapes_of(feeds_of(artifact, Case(batch=batch, tokens=1, past_tokens=past))),
        folder,
    )


def test_a_cache_has_a_slot_for_the_new_token(artifacts: dict[tuple[str, str], Artifact], tmp_path: Path) -> None:
    """2 sequences of 9 cached tokens; 4 heads of 32."""
    built = decode_graph(artifacts["gpt2-portable", "fp32"], 9, tmp_path, batch=2)
    sizes = {spec.name: spec.dims for spec in built.inputs}
    assert sizes["input_ids"] == sizes["position_ids"] == (2, 1) and sizes["attention_mask"] == (2, 10)
    results = {spec.name: spec.dims for spec in built.outputs}
    assert sizes["past_key_values.0.key"] == results["present.0.key"] == (2, 4, 10, 32)
    assert results["logits"] == (2, 1, 4000)


def test_steps_from_an_empty_cache_equal_those_of_a_growing_one(
    artifacts: dict[tuple[str, str], Artifact], tmp_path: Path
) -> None:
    """8 steps of 2 sequences; what lies in slots that hold nothing yet does not matter."""
    artifact = artifacts["gpt2-portable", "fp32"]
    built = decode_graph(artifact, 7, tmp_path, batch=2)
    tokens = np.random.default_rng(0).integers(0, 4000, (8, 2, 1))
    growing = empty_cache(artifact, batch=2)
    held = {name: np.full((2, 4, 8, 32), 50, np.float32) for name in growing}
    for step, token in enumerate(tokens):
        expected = run(artifact.location, decoder_feeds(token, growing, step))
        result = run_adapted(built, static_feeds(built, token, step, held))
        np.testing.assert_allclose(result["logits"], expected["logits"], atol=2e-5)
        growing, held = cache_of(expected), cache_of(result)
    for name, values in growing.items():
        np.testing.assert_allclose(held[name], values, atol=2e-5)


def test_the_cache_of_a_prefill_is_copied_into_slots(
    artifacts: dict[tuple[str, str], Artifact], tmp_path: Path
) -> None:
    """5 tokens at once, then 3 steps in a cache of 12 slots, bound to past and present alike."""
    artifact = artifacts["gpt2-portable", "fp32"]
    built = decode_graph(artifact, 11, tmp_path)
    tokens = np.random.default_rng(1).integers(0, 4000, (1, 8))
    prefill = run(artifact.location, decoder_feeds(tokens[:, :5], empty_cache(artifact), 0))
    held = {name: np.zeros((1, 4, 12, 32), np.float32) for name in cache_of(prefill)}
    for name, values in cache_of(prefill).items():
        held[name][:, :, :5] = values
    options = ort.SessionOptions()
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", built.weights_folder)
    session = ort.InferenceSession(Path(built.path).read_bytes(), options, providers=["CPUExecutionProvider"])
    buffers = {name: ort.OrtValue.ortvalue_from_numpy(values) for name, values in held.items()}
    for step in (5, 6, 7):
        binding = session.io_binding()
        for name, values in static_feeds(built, tokens[:, step : step + 1], step, {}).items():
            binding.bind_cpu_input(name, values)
        for name, buffer in buffers.items():
            binding.bind_ortvalue_input(name, buffer)
            binding.bind_ortvalue_output(name.replace("past_key_values", "present"), buffer)
        binding.bind_output("logits")
        session.run_with_iobinding(binding)
        (logits,) = (value.numpy() for value in binding.get_outputs() if value.shape()[-1] == 4000)
        upto = run(artifact.location, decoder_feeds(tokens[:, : step + 1], empty_cache(artifact), 0))
        np.testing.assert_allclose(logits[:, 0], upto["logits"][:, -1], atol=2e-5)


def test_a_position_beyond_the_cache_is_written_nowhere(
    artifacts: dict[tuple[str, str], Artifact], tmp_path: Path
) -> None:
    artifact = artifacts["gpt2-portable", "fp32"]
    built = decode_graph(artifact, 3, tmp_path)
    held = {name: np.ones((1, 4, 4, 32), np.float32) for name in empty_cache(artifact)}
    feeds = static_feeds(built, np.array([[7]]), 4, held)
    result = cache_of(run_adapted(built, feeds))
    assert all((values == 1).all() for values in result.values())


def test_several_new_tokens_after_a_past_are_refused(
    artifacts: dict[tuple[str, str], Artifact], tmp_path: Path
) -> None:
    artifact = artifacts["gpt2-portable", "fp32"]
    shapes = shapes_of(feeds_of(artifact, Case(batch=1, tokens=3, past_tokens=4)))
    with pytest.raises(UsageError, match="takes one new token a step"):
        prepare_for_provider(artifact.graph(), NPU, shapes, tmp_path)


# --- counted, chosen, kept -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "case"),
    [
        ("bert", Case(batch=2, tokens=9)),
        ("vit", Case(batch=1, tokens=17)),
        ("gpt2-portable", Case(batch=2, tokens=9)),
        ("gpt2-portable", Case(batch=2, tokens=1, past_tokens=9)),
    ],
)
def test_multiplications_stay_the_same(
    artifacts: dict[tuple[str, str], Artifact], family: str, case: Case, tmp_path: Path
) -> None:
    """Counted on the graph of one shape, on the dynamic one, and by the family's formulas."""
    artifact = artifacts[family, "fp32"]
    assert artifact.variant is not None
    shapes = shapes_of(feeds_of(artifact, case))
    built = prepare_for_provider(artifact.graph(), NPU, shapes, tmp_path)
    fixed = {spec.name: tuple(int(dim) for dim in spec.dims) for spec in built.inputs}
    static, dynamic = counting.read(Path(built.path)), counting.read(Path(artifact.location))
    macs = counting.count(static, fixed).macs
    assert macs == counting.count(dynamic, shapes).macs == family_of(artifact.variant).macs(artifact.variant, case)


def test_only_what_has_to_change_is_changed(artifacts: dict[tuple[str, str], Artifact], tmp_path: Path) -> None:
    artifact = artifacts["bert", "fp32"]
    shapes = shapes_of(feeds_of(artifact, Case(batch=1, tokens=8)))
    same = prepare_for_provider(artifact.graph(), CPU, shapes, tmp_path)
    assert (same.path, same.inputs, same.static) == (artifact.location, artifact.graph().inputs, False)
    assert not list(tmp_path.iterdir())
    built = prepare_for_provider(artifact.graph(), GPU, shapes, tmp_path)
    assert built.written_out == {"Attention": 2} and not built.static
    assert built.inputs == artifact.graph().inputs  # its dimensions stay dynamic
    for case in (Case(batch=1, tokens=8), Case(batch=2, tokens=5)):
        feeds = feeds_of(artifact, case)
        result, expected = run_adapted(built, feeds), run(artifact.location, feeds)
        for name, values in expected.items():
            np.testing.assert_allclose(result[name], values, atol=2e-5)


def test_it_is_built_once(artifacts: dict[tuple[str, str], Artifact], tmp_path: Path) -> None:
    artifact = artifacts["bert", "fp32"]
    shapes = [shapes_of(feeds_of(artifact, Case(batch=1, tokens=tokens))) for tokens in (8, 9)]
    first = prepare_for_provider(artifact.graph(), NPU, shapes[0], tmp_path)
    written = Path(first.path).stat().st_mtime_ns
    assert prepare_for_provider(artifact.graph(), NPU, shapes[0], tmp_path) == first
    assert Path(first.path).stat().st_mtime_ns == written
    assert prepare_for_provider(artifact.graph(), NPU, shapes[1], tmp_path).path != first.path
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_from_elsewhere(tmp_path: Path) -> None:
    """Its attention stands in a function, its weights in the file itself, its sizes have names of their own."""
    text = """<ir_version: 10, opset_import: ["": 24, "own": 1]> g (float[n, t, 8] x) => (float[n, t, 8] y) <
        float[8, 8] w > { k = MatMul(x, w)  y = own.look(x, k) }
        <domain: "own", opset_import: ["": 24]> look (q, k) => (y) {
            y = Attention<q_num_heads = 2, kv_num_heads = 2, is_causal = 1>(q, k, k)
        }"""
    model, weight = onnx.parser.parse_model(text), np.eye(8, k=1, dtype=np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "theirs.onnx")
    x = np.random.default_rng(0).standard_normal((2, 5, 8), np.float32)
    built = prepare_for_provider(foreign(tmp_path / "theirs.onnx").graph(), NPU, {"x": x.shape}, tmp_path)
    assert built.written_out == {"Attention": 1}
    assert [(spec.name, spec.dims) for spec in (*built.inputs, *built.outputs)] == [("x", (2, 5, 8)), ("y", (2, 5, 8))]
    np.testing.assert_allclose(
        run_adapted(built, {"x": x})["y"], run(tmp_path / "theirs.onnx", {"x": x})["y"], atol=1e-6
    )


def test_what_joins_inputs_is_no_cache(tmp_path: Path) -> None:
    text = """<ir_version: 10, opset_import: ["": 21]> g (float[n, 4] a, float[m, 4] b) => (float[k, 4] y) {
        joined = Concat<axis = 0>(a, b)  y = Neg(joined)
    }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "theirs.onnx")
    built = prepare_for_provider(foreign(tmp_path / "theirs.onnx").graph(), NPU, {"a": (3, 4), "b": (1, 4)}, tmp_path)
    assert [spec.dims for spec in (*built.inputs, *built.outputs)] == [(3, 4), (1, 4), (4, 4)]


def test_weights_behind_the_links_of_a_hub_cache(tmp_path: Path) -> None:
    """onnxruntime follows no link out of the folder of a graph that it gets as bytes: the real folder is named."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "c0ffee"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    graph = onnx.parser.parse_graph("g (float[n,64] x) => (float[n,64] y) { y = MatMul(x, w) }")
    graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, blobs / "aa", save_as_external_data=True, location="bb", size_threshold=0)
    for node in (opened := onnx.load(blobs / "aa", load_external_data=False)).graph.initializer:
        next(entry for entry in node.external_data if entry.key == "location").value = "model.onnx_data"
    onnx.save(opened, blobs / "aa")
    (snapshot / "model.onnx").symlink_to("../../blobs/aa")
    (snapshot / "model.onnx_data").symlink_to("../../blobs/bb")
    built = prepare_for_provider(foreign(snapshot / "model.onnx").graph(), NPU, {"x": (3, 64)}, tmp_path / "graphs")
    options = ort.SessionOptions()
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", built.weights_folder)
    session = ort.InferenceSession(Path(built.path).read_bytes(), options, providers=["CPUExecutionProvider"])
    x = np.ones((3, 64), np.float32)
    assert np.allclose(session.run(None, {"x": x})[0], x @ weights, atol=1e-4)
    (blobs / "bb").rename(blobs / "cc")  # the same graph of another repository, whose weights have another name
    (snapshot / "model.onnx_data").unlink()
    (snapshot / "model.onnx_data").symlink_to("../../blobs/cc")
    again = prepare_for_provider(foreign(snapshot / "model.onnx").graph(), NPU, {"x": (3, 64)}, tmp_path / "graphs")
    session = ort.InferenceSession(Path(again.path).read_bytes(), options, providers=["CPUExecutionProvider"])
    assert np.allclose(session.run(None, {"x": x})[0], x @ weights, atol=1e-4)
