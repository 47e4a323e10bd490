"""Tables that are only looked up are stored in bytes, with a scale for every block of a row or for every row."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from foreign import normal, quantized, samples, write
from onnx import numpy_helper
from onnx_files import run

LOOKED_UP = "(int64[n] ids) => (float[n, d] y) { y = Gather(table, ids) }"
EVERY_ROW = {"ids": np.arange(10)}


@pytest.mark.parametrize("recipe", ["int8-weights", "int4", "int4-hqq"])
def test_rows_come_back_within_half_a_step_of_their_block(recipe: str, tmp_path: Path) -> None:
    """Blocks of 32 symmetric numbers in 8 bits: a step is the largest of them over 127."""
    table = normal(10, 64)
    built = quantized(write(tmp_path, LOOKED_UP, {"table": table}), recipe, tmp_path / "output")
    result = run(tmp_path / "output" / "model.onnx", EVERY_ROW)["y"]
    steps = np.abs(table.reshape(10, 2, 32)).max(2, keepdims=True) / 127
    assert (np.abs(result - table).reshape(10, 2, 32) <= 0.51 * steps).all()
    assert np.abs(result - table).max() > 0
    assert (built.receipt.tables, built.receipt.matmuls) == (1, 0)


def test_a_number_takes_a_byte_and_a_block_a_scale(tmp_path: Path) -> None:
    quantized(write(tmp_path, LOOKED_UP, {"table": normal(1000, 96)}), "int4", tmp_path / "output")
    assert (tmp_path / "output" / "model.onnx.data").stat().st_size == 1000 * (96 + 3 * 4)


def test_rows_that_end_within_a_block_are_filled_up(tmp_path: Path) -> None:
    table = normal(10, 40)
    quantized(write(tmp_path, LOOKED_UP, {"table": table}), "int8-weights", tmp_path / "output")
    result = run(tmp_path / "output" / "model.onnx", EVERY_ROW)["y"]
    assert result.shape == (10, 40)
    np.testing.assert_allclose(result, table, atol=0.02)
    held = weights(tmp_path / "output" / "model.onnx")
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
    built = quantized(source, "int4", tmp_path / "output")
    assert (built.receipt.tables, built.receipt.matmuls_quantized) == (0, 1)
    assert weights(tmp_path / "output" / "model.onnx")["table"].dtype == np.float32


@pytest.mark.parametrize(("recipe", "width"), [("int4", 16), ("int8", 31)])
def test_rows_too_short_for_a_scale_stay(recipe: str, width: int, tmp_path: Path) -> None:
    text = f"{TAKES} => {GIVES} {{ y = Gather(table, ids) {BESIDE} }}"
    built = quantized(
        write(tmp_path, text, {"table": normal(10, width), "v": normal(64, 4)}), recipe, tmp_path / "output"
    )
    assert built.receipt.tables == 0
    assert weights(tmp_path / "output" / "model.onnx")["table"].dtype == np.float32


# --- a scale for every row ---------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["int8", "int8-static"])
@pytest.mark.parametrize("ids", [np.array(7), np.arange(10), np.array([[3, 3, 0], [9, 1, 2]])], ids=lambda a: a.ndim)
def test_rows_come_back_within_half_a_step(recipe: str, ids: np.ndarray, tmp_path: Path) -> None:
    """A step is the largest number of a row over 127; its scale is rounded to 16 bits, by a 2,048th at most."""
    table = normal(10, 40)
    table[3] = 0
    takes = f"(int64{SHAPES[ids.ndim]} ids, float[4, 64] w)"
    text = f"{takes} => (float y, float[4, 4] z) {{ y = Gather(t, ids) {BESIDE} }}"
    source = write(tmp_path, text, {"t": table, "v": normal(64, 4)})
    feeds = {"ids": ids, "w": normal(4, 64)}
    built = quantized(source, recipe, tmp_path / "output", samples(tmp_path, feeds))
    result = run(tmp_path / "output" / "model.onnx", feeds)["y"]
    steps = np.abs(table[ids]).max(-1, keepdims=True) / 127
    assert result.shape == (*ids.shape, 40)
    assert (np.abs(result - table[ids]) <= (0.5 + 127 / 2048) * steps).all()
    assert built.receipt.tables == 1


SHAPES = {0: "", 1: "[n]", 2: "[b, s]"}


def test_by_hand(tmp_path: Path) -> None:
    """127 steps to the largest number of a row: 0.5 and 2."""
    table = np.array([[1.0, -63.5, *[0.0] * 30], [254.0, 3.0, *[0.0] * 30]], np.float32)
    quantized(write(tmp_path, LOOKED_UP, {"table": table}), "int8", tmp_path / "output")
    held = weights(tmp_path / "output" / "model.onnx")
    assert held["table_quantized"][:, :2].tolist() == [[2, -127], [127, 2]]  # 1.5 is rounded to the even 2
    assert held["table_scale_16"].tolist() == [[0.5], [2.0]]
    assert (held["table_quantized"].dtype, held["table_scale_16"].dtype) == (np.int8, np.float16)


@pytest.mark.parametrize("factor", [1e-3, 1e7], ids=["too small", "too large"])
def test_scales_that_16_bits_do_not_hold_stay_in_32(factor: float, tmp_path: Path) -> None:
    table = factor * normal(10, 40)
    quantized(write(tmp_path, LOOKED_UP, {"table": table}), "int8", tmp_path / "output")
    assert weights(tmp_path / "output" / "model.onnx")["table_scale"].dtype == np.float32
    result = run(tmp_path / "output" / "model.onnx", EVERY_ROW)["y"]
    np.testing.assert_allclose(result, table, atol=0.02 * factor)


def test_a_table_that_two_look_up_is_stored_once(tmp_path: Path) -> None:
    text = "(int64[n] ids, int64[m] more) => (float y, float z) { y = Gather(t, ids) z = Gather(t, more) }"
    built = quantized(write(tmp_path, text, {"t": normal(50, 64)}), "int8", tmp_path / "output")
    assert built.count.weights_bytes == 50 * (64 + 2)
    assert built.receipt.tables == 1


def test_an_infinity_has_no_scale(tmp_path: Path) -> None:
    table = normal(10, 64)
    table[4, 4] = -np.inf
    text = f"{TAKES} => {GIVES} {{ y = Gather(table, ids) {BESIDE} }}"
    built = quantized(write(tmp_path, text, {"table": table, "v": normal(64, 4)}), "int8", tmp_path / "output")
    assert built.receipt.tables == 0
