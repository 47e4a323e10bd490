"""A matrix that is both embedding and LM head is stored once, and what is looked up is what is multiplied by."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign import agreement, normal, quantized, samples, write
from onnx_files import run

from edgeprof.stages.quantize.gptq import packed

ROWS = 100
TIED = """(int64[b,s] ids, float[n,WIDTH] x) => (float[b,s,w] e, float[n,v] y) {
    e = Gather(t, ids)
    r = Transpose<perm=[1,0]>(t)
    y = MatMul(x, r)
}"""
IDS = np.array([[0, 99, 3], [17, 17, 64]])


def tied(folder: Path, width: int, opset: int = 21) -> tuple[Path, Path]:
    ir_version = 10 if opset > 20 else 6
    text = TIED.replace("WIDTH", str(width))
    source = write(folder, text, {"t": normal(ROWS, width)}, opset=opset, ir_version=ir_version)
    identity = np.eye(width, dtype=np.float32)
    return source, samples(folder, {"ids": np.arange(ROWS)[np.newaxis], "x": identity})


def blocks(width: int, size: int = 32) -> int:
    return ROWS * math.ceil(width / size)


def int8_bytes(width: int, column: int = 2) -> int:
    return ROWS * width + column * ROWS


@pytest.mark.parametrize("width", [64, 48, 96])  # whole blocks, half a block too much, an odd number of blocks
@pytest.mark.parametrize(
    ("name", "settings", "expected", "tolerance"),
    [
        ("int8", {}, int8_bytes, 1e-5),
        ("int8-static", {}, lambda width: int8_bytes(width) + 5, 1e-5),
        ("a8w8", {}, lambda width: int8_bytes(width, 5) + 2 * 5, 0.06),  # steps of activations that reach from -4 to 4
        ("a16w8", {}, lambda width: int8_bytes(width, 5) + 2 * 6, 3e-4),
        ("int8-weights", {}, lambda width: blocks(width) * (32 + 4), 1e-5),
        ("int8-weights", {"symmetric": False}, lambda width: blocks(width) * (32 + 4 + 1), 1e-5),
        ("int4", {}, lambda width: blocks(width) * (16 + 4), 1e-5),
        ("int4", {"symmetric": False}, lambda width: blocks(width) * (16 + 4) + half(width), 1e-5),
        ("int4", {"block_size": 16}, lambda width: blocks(width, 16) * (8 + 4), 1e-5),
        ("int4-hqq", {}, lambda width: blocks(width) * (16 + 4) + half(width), 1e-5),
        ("int4-gptq", {}, lambda width: blocks(width) * (16 + 4) + half(width), 1e-5),
    ],
)
def test_it_is_stored_once(
    name: str, settings: dict[str, Any], expected: Any, tolerance: float, width: int, tmp_path: Path
) -> None:
    source, data = tied(tmp_path, width)
    built = quantized(source, name, tmp_path / "output", data, **settings)
    assert built.receipt.shared == 1
    of_shapes = 16 + 24 if "int4" in name or name == "int8-weights" else 0  # bounds of a cut, where one is needed
    assert 0 <= built.count.weights_bytes - expected(width) <= of_shapes
    outputs = run(tmp_path / "output" / "model.onnx", {"ids": IDS, "x": np.eye(width, dtype=np.float32)})
    columns = outputs["y"].T  # the matrix as it is multiplied by
    np.testing.assert_allclose(outputs["e"], columns[IDS], atol=tolerance)
    assert np.abs(columns - normal(ROWS, width)).max() < (0.5 if "int4" in name else 0.06)


def half(width: int) -> int:
    """Bytes of zero points: two of one column in a byte."""
    return ROWS * math.ceil(math.ceil(width / 32) / 2)


HEAD = "{EMBED  h = Relu(e)  r = Transpose<perm=[1,0]>(t)  y = MatMul(h, r) }"


@pytest.mark.parametrize("name", ["int8", "int8-static", "a8w8", "int4"])
@pytest.mark.parametrize(
    ("inputs", "embed", "ids", "opset"),
    [
        ("int64 ids", "e = Gather(t, ids)", np.array(3), 18),  # a scalar
        ("int64[b] ids", "i = Abs(ids)  e = Gather(t, i)", np.arange(7), 18),  # a rank that is not declared
        ("int64[b,s] ids", "f = Gather(t, ids)  g = Gather(t, ids)  e = Add(f, g)", IDS, 18),  # read twice
        ("int64[b,s] ids", "e = Gather(t, ids)", IDS, 13),
    ],
)
def test_however_it_is_read(name: str, inputs: str, embed: str, ids: Any, opset: int, tmp_path: Path) -> None:
    text = f"({inputs}) => (float[b,s,v] y) {HEAD.replace('EMBED', embed)}"
    text = text.replace("b,s,v", ",".join("abcd"[: ids.ndim + 1]))
    source = write(tmp_path, text, {"t": normal(ROWS, 64)}, opset=opset, ir_version=7)
    built = quantized(source, name, tmp_path / "output", samples(tmp_path, {"ids": ids}))
    assert built.receipt.shared >= 1
    assert built.count.weights_bytes < ROWS * 64 * 1.2
    assert agreement(source, tmp_path / "output" / "model.onnx", {"ids": ids}) > 0.98


@pytest.mark.parametrize("name", ["int8", "int4"])
def test_an_older_operator_set(name: str, tmp_path: Path) -> None:
    source, _ = tied(tmp_path, 48, opset=11)
    built = quantized(source, name, tmp_path / "output")
    assert built.receipt.shared == 1
    feeds = {"ids": IDS, "x": normal(5, 48)}
    assert agreement(source, tmp_path / "output" / "model.onnx", feeds) > 0.98


@pytest.mark.parametrize("name", ["int8", "int8-static", "int4-gptq"])
def test_two_tables_each_with_its_head(name: str, tmp_path: Path) -> None:
    text = """(int64[b,s] ids) => (float[b,s,v] y, float[b,s,v] z) {
        e = Gather(t, ids)  f = Gather(p, ids)  h = Add(e, f)
        r = Transpose<perm=[1,0]>(t)  y = MatMul(h, r)
        q = Transpose<perm=[1,0]>(p)  z = MatMul(h, q)
    }"""
    source = write(tmp_path, text, {"t": normal(ROWS, 64), "p": normal(ROWS, 64, seed=1)})
    built = quantized(source, name, tmp_path / "output", samples(tmp_path, {"ids": IDS}))
    assert (built.receipt.matmuls_quantized, built.receipt.shared) == (2, 2)
    assert agreement(source, tmp_path / "output" / "model.onnx", {"ids": IDS}) > 0.98


def test_a_head_that_is_a_gemm_is_shared_too(tmp_path: Path) -> None:
    text = "(int64[b] ids) => (float[b,v] y) { e = Gather(t, ids)  h = Relu(e)  y = Gemm<transB=1>(h, t, b) }"
    source = write(tmp_path, text, {"t": normal(ROWS, 64), "b": normal(ROWS)})
    built = quantized(source, "int8-static", tmp_path / "output", samples(tmp_path, {"ids": IDS[0]}))
    assert built.receipt.shared == 1
    assert agreement(source, tmp_path / "output" / "model.onnx", {"ids": IDS[0]}) > 0.99


def test_a_table_that_something_else_reads_stays(tmp_path: Path) -> None:
    text = """(int64[b] ids) => (float[b,v] y, float s) {
        e = Gather(t, ids)  r = Transpose<perm=[1,0]>(t)  y = MatMul(e, r)  s = ReduceSum<keepdims=0>(t)
    }"""
    source = write(tmp_path, text, {"t": normal(ROWS, 64)})
    built = quantized(source, "int8", tmp_path / "output")
    assert built.receipt.shared == 0
    assert built.count.weights_bytes == 4 * ROWS * 64 + int8_bytes(64)
    assert agreement(source, tmp_path / "output" / "model.onnx", {"ids": IDS[0]}) > 0.999


def test_four_bit_numbers_share_a_byte_the_first_in_its_lower_half() -> None:
    result = packed(np.array([[1, 2, 3], [15, 0, 8]], np.uint8))
    assert result.tolist() == [[0x21, 0x03], [0x0F, 0x08]]
