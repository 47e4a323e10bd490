"""Bytes of weights in every precision, by hand: a dense layer of 64 x 96 with a bias, and a table beside it."""

import msgspec
import pytest

from edgeprof.families.block import dense, table
from edgeprof.recipe_table import recipe

LAYER, TABLE = dense("layer", 64, 96, rows=1), table("table", 10, 64, rows=1)
MATRIX, CHANNELS, BLOCKS = 64 * 96, 96, 64 * 96 // 32


@pytest.mark.parametrize(
    ("precision", "layer", "beside"),
    [
        ("fp32", 4 * (MATRIX + 96), 4 * 640),
        ("fp16", 2 * (MATRIX + 96), 2 * 640),
        ("bf16", 2 * (MATRIX + 96), 2 * 640),
        ("int8", MATRIX + 2 * CHANNELS + 4 * 96, 640 + 2 * 10),
        ("int8-static", MATRIX + 2 * CHANNELS + 4 * 96, 640 + 2 * 10),
        ("a8w8", MATRIX + 5 * CHANNELS + 96, 640),
        ("a16w8", MATRIX + 5 * CHANNELS + 2 * 96, 2 * 640),
        ("int8-weights", MATRIX + 4 * BLOCKS + 4 * 96, 640 + 4 * 20),
        ("int4", MATRIX // 2 + 4 * BLOCKS + 4 * 96, 640 + 4 * 20),
        ("int4-hqq", MATRIX // 2 + 8 * BLOCKS + 4 * 96, 640 + 4 * 20),
        ("int4-gptq", MATRIX // 2 + 4 * BLOCKS + BLOCKS // 2 + 4 * 96, 640 + 4 * 20),
    ],
)
def test_by_hand(precision: str, layer: int, beside: int) -> None:
    assert LAYER.weight_bytes(recipe(precision).stored) == layer
    assert TABLE.weight_bytes(recipe(precision).stored) == beside


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("fp32", 4 * (MATRIX + 96)),
        ("fp16", 2 * (MATRIX + 96)),
        ("int8", MATRIX + 2 * 96 + 4 * 96),
        ("a8w8", MATRIX + 5 * 96 + 96),
        ("int4", MATRIX + 2 * 96 + 4 * 96),
    ],
)
def test_kernels_of_convolutions_take_a_byte_and_a_scale_per_filter(precision: str, expected: int) -> None:
    convolution = msgspec.structs.replace(LAYER, matrices=0, channels=0, kernels=MATRIX, filters=96)
    assert convolution.weight_bytes(recipe(precision).stored) == expected
