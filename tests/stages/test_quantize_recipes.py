"""Every recipe on every kind of model: it runs, stays near fp32, and takes the bytes that it should."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
import tiny_models
from foreign import agreement, normal, quantized, samples, write

from edgeprof.errors import EdgeprofError, QuantizationError, UsageError
from edgeprof.process import silent
from edgeprof.recipe_table import QUANTIZATION_RECIPES, RECIPES, recipe
from edgeprof.schema import Artifact, Settings
from edgeprof.stages import reference
from edgeprof.stages.export import stage as export
from edgeprof.stages.quantize.algorithms import ALGORITHMS
from edgeprof.stages.samples import gather
from edgeprof.stages.weights import Weights

pytestmark = pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")  # torch, of HQQ's input

Artifacts = dict[tuple[str, str], Artifact]

NEAR = {
    "fp16": 0.99999,
    "bf16": 0.9999,
    "int8": 0.999,
    "int8-static": 0.998,
    "a8w8": 0.98,  # the KV cache of the reference is drawn, and is wider than what the model adds to it
    "a16w8": 0.98,
    "int8-weights": 0.999,
    "int4": 0.95,
    "int4-hqq": 0.95,
    "int4-gptq": 0.95,
}
"""Cosine of every output to that of fp32, at least, with random weights."""

NAMES = [row.name for row in QUANTIZATION_RECIPES]
FAST = ["fp16", "bf16", "int8", "int8-weights", "int4"]
MODELS = [
    *(("gpt2", name) for name in NAMES if name != "int4-hqq"),
    *(("bert", name) for name in NAMES),
    *(("vit", name) for name in FAST),
]

MATRICES = 2 * 12 * 128**2 + 4000 * 128  # of the small gpt2: 12 d^2 a layer, and the head
COLUMNS = 2 * (3 + 1 + 4 + 1) * 128 + 4000  # of all its matrices
POSITIONS = 64 * 128  # a table that is looked up and nothing else
REST = 2 * (4 + 9) * 128 + 2 * 128  # norms and biases of two layers; the last norm
BLOCKS = (MATRICES + POSITIONS) // 32
BYTES = {
    "fp16": 2 * (MATRICES + POSITIONS + REST),
    "int8": MATRICES + POSITIONS + 2 * (COLUMNS + 64) + 4 * REST,  # a scale per column, and per row of the table
    "int8-weights": MATRICES + POSITIONS + 4 * BLOCKS + 4 * REST,  # a scale per 32 weights
    "int4": MATRICES // 2 + POSITIONS + 4 * BLOCKS + 4 * REST,
    "int4-gptq": MATRICES // 2 + POSITIONS + 4 * BLOCKS + MATRICES // 64 + 4 * REST,  # and zero points of half a byte
}
CONSTANTS_BYTES = 256
"""Shapes and numbers of the graph, at most."""


@pytest.fixture(scope="module")
def data(artifacts: Artifacts, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Made-up calibration data of each family."""
    folder = tmp_path_factory.mktemp("samples")
    files = {family: folder / f"{family}.npz" for family in ("gpt2", "bert")}
    for family, file in files.items():
        gather(artifacts[family, "fp32"], "random", file, part="calibration", count=4)
    return files


def cases(folder: Path) -> list[Any]:
    return [feeds for _, feeds, _ in reference.read(folder / "reference.npz")]


@pytest.mark.parametrize(("family", "name"), MODELS)
def test_a_recipe_reaches_all_matrices_and_stays_near_fp32(
    family: str, name: str, artifacts: Artifacts, data: dict[str, Path], tmp_path: Path
) -> None:
    source = artifacts[family, "fp32"]
    built = quantized(source.location, name, tmp_path, data.get(family))
    matmuls = {"gpt2": 2 * 4 + 1, "bert": 2 * 6 + 1, "vit": 12 * 6 + 1}[family]
    assert (built.receipt.matmuls, built.receipt.matmuls_quantized, built.receipt.left) == (matmuls, matmuls, ())
    assert built.receipt.weight_bytes == built.receipt.weight_bytes_quantized
    assert built.receipt.shared == (1 if family == "gpt2" and recipe(name).quantized else 0)
    written_out = name in ("a8w8", "a16w8") and family != "gpt2"  # to be quantized inside
    operator = "GroupQueryAttention" if family == "gpt2" else "Attention"
    assert built.count.nodes.get(operator, 0) == (0 if written_out else source.graph().count.nodes[operator])
    assert "Gemm" not in built.count.nodes or name == "int8-static"
    for feeds in cases(source.folder):
        assert agreement(source.location, tmp_path / "model.onnx", feeds) > NEAR[name]
    if family == "gpt2" and name in BYTES:
        assert 0 <= built.count.weights_bytes - BYTES[name] < CONSTANTS_BYTES
    onnx.checker.check_model(str(tmp_path / "model.onnx"))


@pytest.fixture(scope="module")
def mixer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported("mixer", "block", tmp_path_factory.mktemp("mixer"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported("embedding", "lookup", tmp_path_factory.mktemp("embedding"))


def exported(family: str, task: str, folder: Path) -> Path:
    variant = tiny_models.variant(family, task)
    request = export.ExportRequest(
        variant=variant, weights=Weights(), logits="all", opset=export.OPSET, folder=str(folder)
    )
    export.run(request, silent)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_a_mixer(name: str, mixer: Path, tmp_path: Path) -> None:
    feeds = cases(mixer)
    built = quantized(mixer / "model.onnx", name, tmp_path / "output", samples(tmp_path, *feeds))
    assert built.receipt.matmuls_quantized == built.receipt.matmuls == 6  # q, k, v, projection, up and down
    for one in feeds:
        assert agreement(mixer / "model.onnx", tmp_path / "output" / "model.onnx", one) > NEAR[name]


@pytest.mark.parametrize("name", NAMES)
def test_a_small_table_alone_is_nothing_to_quantize(name: str, table: Path, tmp_path: Path) -> None:
    data = samples(tmp_path, *cases(table))
    if name in ("fp16", "bf16"):
        built = quantized(table / "model.onnx", name, tmp_path / "output", data)
        assert built.receipt.matmuls == 0
        assert built.count.weights_bytes == 2 * 60 * 24
        return
    with pytest.raises(
        QuantizationError, match=f"{name} has nothing to quantize: the model multiplies by no constant matrix"
    ):
        quantized(table / "model.onnx", name, tmp_path / "output", data)
    assert not any((tmp_path / "output").iterdir())


# --- settings ----------------------------------------------------------------------------------------------

PLAIN = "(float[n,64] x) => (float[n,32] y) { y = MatMul(x, w) }"


@pytest.fixture
def plain(tmp_path: Path) -> tuple[Path, Path]:
    """A file of one MatMul, and calibration data for it."""
    return write(tmp_path, PLAIN, {"w": normal(64, 32)}, opset=21, ir_version=10), samples(
        tmp_path, {"x": normal(9, 64, seed=1)}
    )


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("fp16", {}, 2 * 2048),
        ("bf16", {}, 2 * 2048),
        ("int8", {}, 2048 + 32 * 2),
        ("int8-static", {}, 2048 + 32 * 2 + 5),  # scale and zero point of x
        ("a8w8", {}, 2048 + 32 * 5 + 2 * 5),  # and of y
        ("a16w8", {}, 2048 + 32 * 5 + 2 * 6),
        ("int8-weights", {}, 2048 + 64 * 4),  # 64 blocks of 32
        ("int8-weights", {"symmetric": False}, 2048 + 64 * 4 + 64),
        ("int8-weights", {"block_size": 16}, 2048 + 128 * 4),
        ("int4", {}, 1024 + 64 * 4),
        ("int4", {"block_size": 64}, 1024 + 32 * 4),
        ("int4", {"block_size": 128}, 2048 + 32 * 4),  # filled up to a whole block
        ("int4", {"symmetric": False}, 1024 + 64 * 4 + 32),
        ("int4-hqq", {}, 1024 + 64 * 4 + 64 * 4),
        ("int4-hqq", {"block_size": 64}, 1024 + 32 * 4 + 32 * 4),
        ("int4-gptq", {}, 1024 + 64 * 4 + 32),
        ("int4-gptq", {"symmetric": True}, 1024 + 64 * 4),
        ("int4-gptq", {"block_size": 64}, 1024 + 32 * 4 + 32),  # one zero point a column takes a byte
    ],
)
def test_a_matrix_takes_the_bytes_that_its_settings_say(
    name: str, settings: dict[str, Any], expected: int, plain: tuple[Path, Path], tmp_path: Path
) -> None:
    source, data = plain
    built = quantized(source, name, tmp_path / "output", data, **settings)
    assert built.count.weights_bytes == expected
    assert agreement(source, tmp_path / "output" / "model.onnx", {"x": normal(5, 64, seed=2)}) > NEAR[name]


@pytest.mark.parametrize("name", ["int8-weights", "int4", "int4-gptq"])
def test_settings_are_passed_to_the_runtime(name: str, plain: tuple[Path, Path], tmp_path: Path) -> None:
    quantized(plain[0], name, tmp_path / "output", plain[1], block_size=64, accuracy_level=1)
    (node,) = onnx.load(tmp_path / "output" / "model.onnx").graph.node
    result = {attribute.name: attribute.i for attribute in node.attribute}
    assert result == {
        "K": 64,
        "N": 32,
        "bits": 8 if name == "int8-weights" else 4,
        "block_size": 64,
        "accuracy_level": 1,
    } | ({"weight_prepacked": 0} if "weight_prepacked" in result else {})


def test_every_algorithm_is_of_a_recipe_and_every_recipe_has_one() -> None:
    assert {row.algorithm for row in RECIPES} == {None, *ALGORITHMS}
    assert [row.name for row in RECIPES if row.algorithm is None] == ["fp32"]


@pytest.mark.parametrize(
    ("name", "expected", "precision"),
    [
        ("int4", Settings(), "int4"),
        ("int4", Settings(block_size=32, symmetric=True), "int4"),
        ("int4", Settings(block_size=128, symmetric=False), "int4-block128-asymmetric"),
        ("int4", Settings(accuracy_level=0), "int4-level0"),
        ("int4-gptq", Settings(symmetric=True), "int4-gptq-symmetric"),
        ("int4-hqq", Settings(block_size=64), "int4-hqq-block64"),
        ("a16w8", Settings(method="entropy"), "a16w8-entropy"),
    ],
)
def test_a_result_is_called_by_what_was_set_differently(name: str, expected: Settings, precision: str) -> None:
    row = recipe(name)
    assert str(row.precision(expected)) == precision


@pytest.mark.parametrize(
    ("name", "expected", "message"),
    [
        ("int8", Settings(block_size=64), "Recipe int8 has no block size to choose. Leave the option out."),
        ("fp16", Settings(symmetric=True), "Recipe fp16 has no symmetry to choose."),
        ("int4-hqq", Settings(symmetric=True), "Recipe int4-hqq has no symmetry to choose."),
        ("int4-hqq", Settings(accuracy_level=2), "Recipe int4-hqq has no accuracy level to choose."),
        ("int4", Settings(method="entropy"), "Recipe int4 has no calibration method to choose."),
        ("int4", Settings(block_size=48), "Block size 48 is not a power of two, 16 or more. Try 32, 64 or 128."),
        ("int4", Settings(block_size=8), "Block size 8 is not a power of two, 16 or more."),
        ("int4", Settings(accuracy_level=5), "There is no accuracy level 5."),
    ],
)
def test_a_setting_that_a_recipe_does_not_have(name: str, expected: Settings, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe(name).with_settings(expected)
    assert str(caught.value).startswith(message)


# --- the same bytes ----------------------------------------------------------------------------------------

TIED = """(int64[b,s] ids) => (float[b,s,v] y) {
    e = Gather(t, ids)
    a = MatMul(e, u)
    p = Gemm(f, w, b)
    n = LayerNormalization(e, g)
    q = MatMul(n, u)
    h = Add(a, q)
    r = Transpose<perm=[1,0]>(t)
    l = MatMul(h, r)
    y = Add(l, p)
}"""


def digests(folder: Path) -> Iterator[str]:
    """One line per recipe: its name, and the digest of what it writes."""
    weights = {"t": normal(100, 64), "u": normal(64, 64, seed=1), "f": normal(1, 64), "w": normal(64, 100, seed=2)}
    source = write(folder, TIED, {**weights, "b": normal(100), "g": normal(64)}, opset=21, ir_version=10)
    data = samples(folder, *({"ids": normal(2, size, seed=size).astype("int64") % 100} for size in (3, 9)))
    for name in NAMES:
        quantized(source, name, folder / name, data)
        files = sorted(file for file in (folder / name).iterdir() if file.is_file())
        content = b"".join(file.name.encode() + file.read_bytes() for file in files)
        yield f"{name} {hashlib.sha256(content).hexdigest()}"


def test_the_same_input_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("first", "second", "third")]
    for folder in folders:
        folder.mkdir()
    again = subprocess.Popen(
        [sys.executable, __file__, str(folders[2])],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    first, second = list(digests(folders[0])), list(digests(folders[1]))
    summary = again.communicate(timeout=120)[0].splitlines()
    assert [line.split()[0] for line in first] == NAMES
    assert first == second
    assert first == [line for line in summary if line.split()[0] in NAMES]


# --- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "opset", "written"),
    [("int8", 9, 11), ("a8w8", 9, 10), ("int8-static", 8, 10), ("bf16", 12, 13), ("a16w8", 7, 10), ("a16w8", 18, 18)],
)
def test_an_older_operator_set_is_converted(name: str, opset: int, written: int, tmp_path: Path) -> None:
    source = write(tmp_path, PLAIN, {"w": normal(64, 32)}, opset=opset, ir_version=4)
    feeds = {"x": normal(5, 64)}
    quantized(source, name, tmp_path / "output", samples(tmp_path, feeds))
    built = onnx.load(tmp_path / "output" / "model.onnx")
    assert [one.version for one in built.opset_import if one.domain == ""] == [written]
    assert agreement(source, tmp_path / "output" / "model.onnx", feeds) > 0.999


def test_an_operator_set_that_cannot_be_converted(tmp_path: Path) -> None:
    """onnx does not know onnxruntime's operators in the standard's domain."""
    text = "(float[n,64] x) => (float[n,32] y) { h = SimplifiedLayerNormalization<axis=-1>(x, g)  y = MatMul(h, w) }"
    source = write(tmp_path, text, {"w": normal(64, 32), "g": normal(64)}, opset=9, ir_version=4)
    with pytest.raises(QuantizationError, match="Recipe int8 needs operator set 11, the model has 9, and onnx cannot"):
        quantized(source, "int8", tmp_path / "output")
    assert not any((tmp_path / "output").iterdir())


@pytest.mark.parametrize("again", ["int4", "fp16"])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "bf16"])  # which is stored so, and computes in fp32
def test_what_is_quantized_is_not_quantized_again(
    name: str, again: str, plain: tuple[Path, Path], tmp_path: Path
) -> None:
    quantized(plain[0], name, tmp_path / "once", plain[1])
    with pytest.raises(EdgeprofError, match=r"(is quantized already: it has \w+ nodes|has b?float16 weights \(w\))"):
        quantized(tmp_path / "once" / "model.onnx", again, tmp_path / "twice")
    assert not any((tmp_path / "twice").iterdir())


if __name__ == "__main__":
    for line in digests(Path(sys.argv[1])):
        sys.stdout.write(f"{line}\n")
