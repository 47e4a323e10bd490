"""Calibration: ranges are those that a person computes, and samples that do not fit are one sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from foreign import agreement, normal, quantized, samples, write
from onnx import numpy_helper
from onnx_files import run

from edgeprof.errors import QuantizationError
from edgeprof.stages.quantize.gptq import rounded

PAST, PRESENT = "past_key_values_0", "present_0"
TWO = "(float[n,4] x) => (float[n,4] y) { a = MatMul(x, w)  h = Relu(a)  y = MatMul(h, w) }"


def constants(folder: Path) -> dict[str, Any]:
    model = onnx.load(folder / "model.onnx")
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_ranges_are_those_of_the_samples(tmp_path: Path) -> None:
    source = write(tmp_path, TWO, {"w": 2 * np.eye(4, dtype=np.float32)})
    first = np.array([[-1.0, 0.0, 0.5, 1.0]], np.float32)
    second = np.array([[3.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]], np.float32)
    quantized(source, "int8-static", tmp_path / "output", samples(tmp_path, {"x": first}, {"x": second}))
    result = constants(tmp_path / "output")
    assert result["x_scale"] == np.float32(4 / 255)  # from -1 to 3
    assert result["x_zero_point"] == 64
    assert result["h_scale"] == np.float32(6 / 255)  # twice that, without what is below zero
    assert result["h_zero_point"] == 0
    np.testing.assert_array_equal(result["w_scale_16"], np.full(4, np.float16(2 / 127)))
    np.testing.assert_array_equal(result["w_quantized"], 127 * np.eye(4, dtype=np.int8))


@pytest.mark.parametrize(
    ("name", "method"), [("int8-static", "entropy"), ("int8-static", "percentile"), ("a8w8", "percentile")]
)
def test_other_methods_leave_a_rare_value_out(name: str, method: str, tmp_path: Path) -> None:
    values = normal(50_000, 4)
    values[0, 0] = 100.0  # one of 200,000: beyond the 99.999th percentile
    source = write(tmp_path, TWO, {"w": np.eye(4, dtype=np.float32)})
    data = samples(tmp_path, {"x": values})
    quantized(source, name, tmp_path / "usual", data)
    quantized(source, name, tmp_path / "output", data, method=method)
    usual, result = (constants(tmp_path / folder)["x_scale"] for folder in ("usual", "output"))
    assert usual == pytest.approx((100 - values.min()) / 255)
    assert result < usual / 2


@pytest.mark.parametrize("name", ["int8-static", "a8w8", "int4-gptq"])
def test_a_sample_that_the_model_cannot_take(name: str, tmp_path: Path) -> None:
    source = write(tmp_path, TWO, {"w": normal(4, 4)})
    data = samples(tmp_path, {"x": normal(5, 4)}, {"x": normal(5, 3)})
    message = "cannot quantize this model: " if name == "a8w8" else "The model does not run on calibration sample 2: "
    with pytest.raises(QuantizationError, match=message) as caught:
        quantized(source, name, tmp_path / "output", data)
    assert "\n" not in str(caught.value)
    assert not any((tmp_path / "output").iterdir())


@pytest.mark.parametrize("name", ["a8w8", "a16w8"])
def test_a_kv_cache_has_the_range_of_what_is_added_to_it(name: str, tmp_path: Path) -> None:
    text = """(float[n,8] x, float[p,8] PAST) => (float[t,8] PRESENT, float[n,t] y) {
        k = MatMul(x, w)
        PRESENT = Concat<axis=0>(PAST, k)
        r = Transpose<perm=[1,0]>(PRESENT)
        y = MatMul(k, r)
    }""".replace("PAST", PAST).replace("PRESENT", PRESENT)
    source = write(tmp_path, text, {"w": normal(8, 8)}, opset=21, ir_version=10)
    empty, x = np.zeros((0, 8), np.float32), normal(50, 8, seed=1)
    quantized(source, name, tmp_path / "output", samples(tmp_path, {"x": x, PAST: empty}))
    past = run(source, {"x": x, PAST: empty})[PRESENT]
    steps = 255 if name == "a8w8" else 65535
    width = constants(tmp_path / "output")[f"{PAST}_scale"] * steps
    assert width == pytest.approx(past.max() - past.min(), rel=1e-4)
    feeds = {"x": x[:1], PAST: past}
    assert agreement(source, tmp_path / "output" / "model.onnx", feeds) > 0.998


# --- GPTQ --------------------------------------------------------------------------------------------------


def correlated(rows: int, width: int) -> Any:
    """Inputs whose columns tell of each other, as activations of real models do."""
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((rows, width)) @ rng.standard_normal((width, width))
    return (mixed * np.exp(rng.standard_normal(width))).astype(np.float32)


@pytest.mark.parametrize("width", [64, 96, 200])  # an odd number of blocks; no whole number of blocks
@pytest.mark.parametrize("symmetric", [False, True])
def test_gptq_is_better_than_rounding_on_what_it_did_not_see(width: int, symmetric: bool, tmp_path: Path) -> None:
    text = f"(float[n,{width}] x) => (float[n,40] y) {{ y = MatMul(x, w) }}"
    source = write(tmp_path, text, {"w": normal(width, 40)})
    rows = correlated(1500, width)
    data = samples(tmp_path, {"x": rows[:500]}, {"x": rows[500:1000]})
    errors = {}
    for name in ("int4", "int4-gptq"):
        quantized(source, name, tmp_path / name, data, symmetric=symmetric)
        errors[name] = 1 - agreement(source, tmp_path / name / "model.onnx", {"x": rows[1000:]})
    assert errors["int4-gptq"] < 0.8 * errors["int4"]


def test_gptq_without_correlations_rounds() -> None:
    weights = np.array([[0.0], [1.0], [7.4], [15.0]])
    integers, scales, zeros = rounded(weights.copy(), np.eye(4), 4, symmetric=False)
    assert (integers.ravel().tolist(), scales.tolist(), zeros.tolist()) == ([0, 1, 7, 15], [[1.0]], [[0]])


def test_gptq_makes_good_by_the_next_row_what_it_rounds() -> None:
    """Two inputs that are always equal: what the first row loses, the second has to give (but for the damping)."""
    weights = np.array([[0.4], [0.4], [15.0]])
    hessian = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    integers, _, _ = rounded(weights, hessian, 4, symmetric=False)
    assert integers.ravel().tolist() == [0, 1, 15]


def test_a_matrix_whose_inputs_are_zero_is_rounded(tmp_path: Path) -> None:
    source = write(tmp_path, TWO, {"w": normal(4, 4)})
    quantized(source, "int4-gptq", tmp_path / "output", samples(tmp_path, {"x": np.zeros((3, 4), np.float32)}))
    assert agreement(source, tmp_path / "output" / "model.onnx", {"x": normal(5, 4)}) > 0.95
