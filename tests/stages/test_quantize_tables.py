"""Tables that are only looked up: weight-only recipes store them in bytes, with a scale for every block of a row."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from foreign import normal, quantized, write
from onnx import numpy_helper
from onnx_files import run

LOOKED_UP = "(int64[n] ids) => (float[n, d] y) { y = Gather(table, ids) }"
EVERY_ROW = {"ids": np.arange(10)}


@pytest.mark.parametrize("recipe", ["int8-weights", "int4", "int4-hqq"])
def test_rows_come_back_within_half_a_step_of_their_block(recipe: str, tmp_path: Path) -> None:
    """Blocks of 32 symmetric numbers in 8 bits: a step is the largest of them over 127."""
    table = normal(10, 64)
    made = quantized(write(tmp_path, LOOKED_UP, {"table": table}), recipe, tmp_path / "made")
    found = run(tmp_path / "made" / "model.onnx", EVERY_ROW)["y"]
    steps = np.abs(table.reshape(10, 2, 32)).max(2, keepdims=True) / 127
    assert (np.abs(found - table).reshape(10, 2, 32) <= 0.51 * steps).all()
    assert np.abs(found - table).max() > 0
    assert (made.receipt.tables, made.receipt.matmuls) == (1, 0)


def test_a_number_takes_a_byte_and_a_block_a_scale(tmp_path: Path) -> None:
    quantized(write(tmp_path, LOOKED_UP, {"table": normal(1000, 96)}), "int4", tmp_path / "made")
    assert (tmp_path / "made" / "model.onnx.data").stat().st_size == 1000 * (96 + 3 * 4)


def test_rows_that_end_within_a_block_are_filled_up(tmp_path: Path) -> None:
    table = normal(10, 40)
    quantized(write(tmp_path, LOOKED_UP, {"table": table}), "int8-weights", tmp_path / "made")
    found = run(tmp_path / "made" / "model.onnx", EVERY_ROW)["y"]
    assert found.shape == (10, 40)
    np.testing.assert_allclose(found, table, atol=0.02)
    held = weights(tmp_path / "made" / "model.onnx")
    assert held["table_Q8"].shape == (10, 64)


def weights(path: Path) -> dict[str, np.ndarray]:
    return {
        tensor.name: numpy_helper.to_array(tensor, str(path.parent)) for tensor in onnx.load(path).graph.initializer
    }


BESIDE = "z = MatMul(w, v)"
TAKES, GIVES = "(int64[n] ids, float[4, 64] w)", "(float[a, b] y, float[4, 4] z)"


@pytest.mark.parametrize(
    "reads",
    ["gathered = Gather(table, ids) y = Add(gathered, table)", "y = Gather<axis = 1>(table, ids)"],
    ids=["added as well", "gathered by columns"],
)
def test_what_is_read_otherwise_stays(reads: str, tmp_path: Path) -> None:
    source = write(
        tmp_path, f"{TAKES} => {GIVES} {{ {reads} {BESIDE} }}", {"table": normal(10, 64), "v": normal(64, 4)}
    )
    made = quantized(source, "int4", tmp_path / "made")
    assert (made.receipt.tables, made.receipt.matmuls_quantized) == (0, 1)
    assert weights(tmp_path / "made" / "model.onnx")["table"].dtype == np.float32


@pytest.mark.parametrize(("recipe", "width"), [("int4", 16), ("int8", 64)], ids=["shorter than a block", "int8"])
def test_what_a_recipe_does_not_reach_stays(recipe: str, width: int, tmp_path: Path) -> None:
    text = f"{TAKES} => {GIVES} {{ y = Gather(table, ids) {BESIDE} }}"
    made = quantized(write(tmp_path, text, {"table": normal(10, width), "v": normal(64, 4)}), recipe, tmp_path / "made")
    assert made.receipt.tables == 0
    assert weights(tmp_path / "made" / "model.onnx")["table"].dtype == np.float32
