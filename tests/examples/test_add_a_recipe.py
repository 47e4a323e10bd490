"""Add a quantization recipe: one row, where the algorithm is there. Here weights of 2 bits."""

from edgeprof.recipe_table import BLOCK_OF_8, BLOCKS, FOUR_BITS, Recipe, StoredBytes

# --- added: a row of RECIPES in edgeprof/recipe_table.py -------------------------------------------------------------

Recipe(
    name="int2",
    title="weight-only 2 bits in blocks",
    algorithm="nearest",
    weight_bits=2,
    settings=BLOCKS,
    limits=FOUR_BITS,
    stored=StoredBytes(matrices=0.25 + 4 / 32, looked_up=BLOCK_OF_8),  # and a scale in fp32 per 32 weights
    provider_tolerance=5e-2,
)

# --- the test -------------------------------------------------------------------------------------------------------

from checkouts import Checkout

MATRICES = 12 * 64 * 64  # weights of the six matrices of a block of width 64
OTHERS = 13 * 64  # its biases and norms
SHAPES = 3 * 8  # bytes of the constants that the graph reshapes by


def test_add_a_recipe(checkout: Checkout, added: str) -> None:
    checkout.add_row("edgeprof/recipe_table.py", "\nRECIPES: ", added)

    assert "int2" in [recipe["name"] for recipe in checkout.edgeprof("recipes")]
    explained = checkout.edgeprof("explain", "mixer-block", "--width", 64, "--precision", "int2")["ledger"]["totals"]
    assert explained["weights_bytes"] == MATRICES * 3 / 8 + OTHERS * 4  # 3/8: 2 bits, and 4 bytes for 32 weights

    checkout.edgeprof("export", "mixer-block", "--width", 64)
    (quantized,) = checkout.edgeprof("quantize", "mixer-block-w64", "--recipe", "int2", "--block-size", 64)
    (graph,) = quantized["artifact"]["graphs"]
    assert graph["quantization"]["matmuls_quantized"] == 6
    assert graph["count"]["nodes"]["MatMulNBits"] == 6
    assert graph["count"]["weights_bytes"] == MATRICES * (1 / 4 + 4 / 64) + OTHERS * 4 + SHAPES

    points = checkout.profile("--seq", 16)
    assert {key: point["status"] for key, point in points.items()} == {
        ("cpu", "fp32"): "ok",
        ("cpu", "int2-block64"): "ok",
    }
