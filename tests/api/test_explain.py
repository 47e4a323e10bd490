"""`explain`: closed forms of variants and checkpoints, counts of files, and that the two say the same."""

import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from edgeprof import EdgeprofError, draw_explanation, explain
from edgeprof.analysis.ledger import ledger
from edgeprof.api.static_export import fix
from edgeprof.errors import ModelFileError, UnknownName, UsageError
from edgeprof.process import silent
from edgeprof.schema import Case
from edgeprof.store import load_artifact


def save(path: Path, nodes: list[Any], inputs: dict[str, list[int | str] | None], output: str) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs.items()],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 24), helper.make_opsetid("com.acme", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), path)
    return path


# --- variants ------------------------------------------------------------------------------------------------


def test_a_variant_at_512_tokens_and_at_twice_as_many() -> None:
    result = explain("bert-base")
    assert (result.ledger.load.tokens, result.ledger.total("params"), result.ledger.source) == (
        512,
        109_482_240,
        "formulas",
    )
    assert result.doubled
    assert result.doubled.of("attention scores").macs == 4 * result.ledger.of("attention scores").macs
    assert [(one.larger, one.tokens) for one in result.crossovers] == [("attention", 3073)]
    assert (result.lengths, result.notes) == ((), ())


def test_a_giant_takes_no_longer_than_a_dwarf() -> None:
    """96 layers of 12 d^2 + 13 d, 50,257 and 2,048 embeddings and a last norm, d = 12,288."""
    result = explain("gpt3", seq=[2048], precision="fp16")
    d = 12_288
    params = 96 * (12 * d * d + 13 * d) + (50_257 + 2_048) * d + 2 * d
    assert result.ledger.total("params") == params == 174_604_259_328
    assert result.ledger.total("weights_bytes") == 2 * params
    assert result.ledger.total("cache_bytes") == 2 * 96 * 2048 * d * 2


def test_several_lengths_come_with_captions_and_the_longest_that_fits_is_explained() -> None:
    result = explain("gpt2", seq=[16, 256, 1024, 131072])
    assert [one.load.tokens for one in result.lengths] == [16, 256, 1024, 131072]
    assert result.ledger.load.tokens == 1024
    assert set(result.captions) == {"explain-macs", "explain-memory"}
    assert "3,073" in result.captions["explain-macs"]
    assert "gpt2 takes at most 1,024 tokens: beyond that the formulas still hold, and export and profile refuse." in (
        result.notes
    )
    assert any("LM head shares the matrix of the token embedding" in note for note in result.notes)


def test_decode_has_one_new_token_and_a_cache() -> None:
    result = explain("gpt2", seq=[1000], phase="decode")
    assert (result.ledger.load.tokens, result.ledger.load.past_tokens, result.ledger.load.length) == (1, 1000, 1000)
    assert result.ledger.total("cache_bytes") == 1001 * 73_728
    assert result.doubled and result.doubled.load.past_tokens == 2000
    (_, beyond) = explain("gpt2", seq=[1024], phase="decode").notes  # 1,025 tokens in all
    assert beyond.startswith("gpt2 takes at most 1,024 tokens")


def test_an_image_has_the_tokens_of_its_patches() -> None:
    result = explain("vit-base", seq=[200])
    assert result.ledger.load.tokens == 197
    assert result.notes == ("200 tokens are requested; the largest input with at most that many has 197.",)


@pytest.mark.parametrize(
    ("name", "options", "params", "tokens"),
    [
        ("mixer-dense", {}, (512 * 768) ** 2, 512),
        ("mixer-dense", {"width": 16, "tokens": 8}, (8 * 16) ** 2, 8),
        ("mixer-pointwise", {"width": 64}, 64 * 64, 512),
        ("mixer-attention", {"cross": 100}, 3 * 768 * 768, 512),
        ("mixer-block", {}, 7_087_872, 512),
        ("embedding-word2vec", {}, 900_000_000, 512),
    ],
)
def test_ways_to_mix_tokens(name: str, options: dict[str, int], params: int, tokens: int) -> None:
    result = explain(name, **options)  # type: ignore[arg-type]
    assert (result.ledger.total("params"), result.ledger.load.tokens) == (params, tokens)


def test_a_dense_layer_is_another_one_at_another_length() -> None:
    result = explain("mixer-dense", seq=[1024])
    assert result.ledger.total("params") == (1024 * 768) ** 2
    assert "has 512 tokens: at another length it is another model" in result.notes[0]


def test_a_checkpoint_is_explained_by_its_config(gpt2_checkpoint: Path) -> None:
    """2 layers of width 128, 4,000 tokens in the vocabulary, 64 positions."""
    result = explain(str(gpt2_checkpoint), seq=[64])
    assert result.ledger.total("params") == 2 * (12 * 128**2 + 13 * 128) + (4000 + 64) * 128 + 2 * 128
    assert result.ledger.layers == 2


# --- files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(("family", "tokens"), [("gpt2", 60), ("bert", 60), ("vit", 65)])
def test_a_file_and_the_formulas_say_the_same(
    family: str, tokens: int, precision: str, artifacts: dict[tuple[str, str], Any]
) -> None:
    artifact = artifacts[family, precision]
    counted = explain(artifact.location, seq=[tokens]).ledger
    formulas = ledger(artifact.variant, Case(batch=1, tokens=tokens), precision)
    assert (counted.source, counted.name, str(counted.precision)) == ("graph", artifact.name, precision)
    for quantity in ("params", "macs", "cache_bytes"):
        assert counted.total(quantity) == formulas.total(quantity), quantity
    indices = counted.total("weights_bytes") - formulas.total("weights_bytes")
    assert 0 <= indices < 5000  # shapes, axes, and 512 position ids of 8 bytes
    assert counted.working_bytes and counted.working_bytes >= counted.live_bytes
    assert counted.uncounted == ()


def test_decoding_from_a_file(artifacts: dict[tuple[str, str], Any]) -> None:
    artifact = artifacts["gpt2", "fp32"]
    counted = explain(artifact.location, seq=[40], phase="decode", batch=3).ledger
    formulas = ledger(artifact.variant, Case(batch=3, tokens=1, past_tokens=40), phase="decode")
    assert counted.total("macs") == formulas.total("macs")
    assert counted.total("cache_bytes") == formulas.total("cache_bytes") == 3 * 41 * 2 * 2 * 128 * 4


def test_a_step_with_a_cache_of_fixed_size(artifacts: dict[tuple[str, str], Any], tmp_path: Path) -> None:
    """It takes no length but its own, and costs what the model costs there; its cache is as large as it will be."""
    artifact = artifacts["gpt2-portable", "fp32"]
    folder = Path(shutil.copytree(artifact.folder, tmp_path / "fp32"))
    fix(load_artifact(folder), [Case(batch=1, tokens=1, past_tokens=40)], False, silent)
    result = explain(str(folder / "decode-1x40.onnx"))
    formulas = ledger(artifact.variant, Case(batch=1, tokens=1, past_tokens=40), phase="decode")
    assert (result.ledger.load.phase, result.ledger.load.past_tokens, result.doubled) == ("decode", 40, None)
    for quantity in ("params", "macs", "cache_bytes"):
        assert result.ledger.total(quantity) == formulas.total(quantity), quantity
    for requested in ([41], [40, 41]):
        with pytest.raises(UsageError, match="size: 40 tokens and the new one"):
            explain(str(folder / "decode-1x40.onnx"), seq=requested)


def test_names_and_folders_of_exports_mean_their_graph(models: Path, artifacts: dict[tuple[str, str], Any]) -> None:
    artifact = artifacts["gpt2", "fp32"]
    for target in (artifact.name, str(models / artifact.name)):
        assert explain(target, seq=[60], models=models).ledger.source == "graph"
    assert explain("bert-tiny", models=models).ledger.source == "formulas"  # also the name of a variant


def test_a_graph_is_counted_without_its_weights(artifacts: dict[tuple[str, str], Any], tmp_path: Path) -> None:
    """The bare file, from elsewhere: nothing but its own symbols to go by, and no data file beside it."""
    artifact = artifacts["bert", "fp32"]
    alone = shutil.copy(artifact.location, tmp_path / "alone.onnx")
    result = explain(str(alone), seq=[60])
    assert (result.ledger.name, str(result.ledger.precision)) == ("alone", "fp32")
    assert result.ledger.total("params") == artifact.params
    assert result.ledger.total("macs") == ledger(artifact.variant, Case(batch=1, tokens=60)).total("macs")


def test_a_file_of_one_size_is_explained_at_that_size(tmp_path: Path) -> None:
    """x of 4 x 8 times itself transposed: 4 x 4 x 8 MACs, no weights."""
    nodes = [helper.make_node("Gemm", ["x", "x"], ["y"], transB=1)]
    result = explain(str(save(tmp_path / "fixed.onnx", nodes, {"x": [4, 8]}, "y")))
    assert (result.ledger.total("macs"), result.ledger.total("params"), result.doubled) == (4 * 4 * 8, 0, None)


def test_what_cannot_be_counted_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Frobnicate", ["x"], ["h"], domain="com.acme"),
        helper.make_node("MatMul", ["h", "h"], ["y"]),
    ]
    result = explain(str(save(tmp_path / "odd.onnx", nodes, {"x": [4, 4]}, "y")))
    assert {(one.operator, one.count) for one in result.ledger.uncounted} == {
        ("com.acme::Frobnicate", 1),
        ("MatMul", 1),  # its shape depends on the other
    }
    assert result.ledger.working_bytes is None


def test_a_length_that_a_table_is_too_short_for_is_left_out(artifacts: dict[tuple[str, str], Any]) -> None:
    """bert-tiny has 512 positions, as a tensor of that many: at 1,024 tokens nothing fits."""
    path = artifacts["bert", "fp32"].location
    result = explain(path, seq=[64, 512, 1024])
    assert [one.load.tokens for one in result.lengths] == [64, 512]
    assert (result.ledger.load.tokens, result.doubled) == (512, None)
    assert any("does not run at 1,024 tokens" in note and "[1, 512, 128]" in note for note in result.notes)
    assert explain(path, seq=[256]).doubled


def test_a_folder_of_several_models_is_refused(models: Path) -> None:
    with pytest.raises(UsageError, match=r"contains several models. Name one of them: bert-tiny, gpt2-small, vit-tiny"):
        explain(str(models))


def test_dimensions_of_foreign_files_are_given(tmp_path: Path) -> None:
    path = save(tmp_path / "named.onnx", [helper.make_node("Relu", ["x"], ["y"])], {"x": ["batch", "channels"]}, "y")
    with pytest.raises(UsageError, match="--dim channels=16"):
        explain(str(path))
    assert explain(str(path), dim={"channels": 7}).ledger.live_bytes == 2 * 7 * 4


# --- refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "options", "kind", "message"),
    [
        ("gpt-2", {}, UnknownName, r"no variant, checkpoint folder or \.onnx file called 'gpt-2'.*Did you mean gpt2"),
        ("./nowhere", {}, UsageError, r"no folder or file \./nowhere"),
        ("nowhere.onnx", {}, ModelFileError, r"no file nowhere\.onnx"),
        ("gpt2", {"precision": "fp8"}, UnknownName, r"no precision called 'fp8'"),
        ("bert-base", {"phase": "decode"}, UsageError, r"has no KV cache"),
        ("vit-base", {"seq": [1]}, UsageError, r"No input of vit-base is as short as --seq 1"),
        ("gpt2", {"width": 64}, UsageError, r"has no option --width"),
    ],
)
def test_wrong_requests_say_what_is_wrong(
    target: str, options: dict[str, Any], kind: type[EdgeprofError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=message):
        explain(target, models=tmp_path, **options)


def test_options_of_variants_are_not_for_files(artifacts: dict[tuple[str, str], Any]) -> None:
    path = artifacts["bert", "fp32"].location
    with pytest.raises(UsageError, match=r"--precision is for variants"):
        explain(path, precision="int8")
    with pytest.raises(UsageError, match="takes no KV cache"):
        explain(path, phase="decode")


def test_an_input_without_a_shape_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "shapeless.onnx", [helper.make_node("Relu", ["x"], ["y"])], {"x": None}, "y")
    with pytest.raises(ModelFileError, match="how many dimensions input 'x' has"):
        explain(str(path))


# --- drawn ---------------------------------------------------------------------------------------------------


def test_an_explanation_over_lengths_is_drawn(tmp_path: Path) -> None:
    files = draw_explanation(explain("gpt2", seq=[16, 1024, 16384]), out=tmp_path)
    names = {file.relative_to(tmp_path).as_posix() for file in files}
    assert {
        f"explain-gpt2/figures/explain-{what}.{kind}" for what in ("macs", "memory") for kind in ("png", "svg")
    } <= names
    assert all(file.stat().st_size > 1000 for file in files)
    page = (tmp_path / "explain-gpt2" / "explanation.md").read_text()
    assert "124M parameters" in page
