"""Kernels of convolutions: stored in bytes with a scale per filter, and computed with in fp32."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from foreign import agreement, normal, quantized, samples, write
from onnx import numpy_helper

CONVOLUTION = """(float[n,3,h,w] x, float[m,64] v) => (float[n,8,a,b] y, float[m,4] z) {
    y = Conv<strides=[4,4]>(x, k, b)
    z = MatMul(v, u)
}"""
KERNEL = normal(8, 3, 4, 4)
WEIGHTS = {"k": KERNEL, "b": normal(8), "u": normal(64, 4)}
FEEDS = {"x": normal(2, 3, 16, 20, seed=1), "v": normal(5, 64)}


@pytest.mark.parametrize("recipe", ["int8", "int8-static", "int4"])
def test_a_kernel_takes_a_byte_and_a_filter_a_scale(recipe: str, tmp_path: Path) -> None:
    source = write(tmp_path, CONVOLUTION, WEIGHTS)
    built = quantized(source, recipe, tmp_path / "output", samples(tmp_path, FEEDS))
    model = onnx.load(tmp_path / "output" / "model.onnx")
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert built.receipt.kernels == 1
    assert (held["k_quantized"].dtype, held["k_quantized"].shape) == (np.int8, KERNEL.shape)
    largest = np.abs(KERNEL).max((1, 2, 3), keepdims=True)
    np.testing.assert_array_equal(held["k_scale_16"], (largest / 127).astype(np.float16))
    assert np.abs(held["k_quantized"] * held["k_scale_16"].astype(np.float32) - KERNEL).max() < largest.max() / 127
    assert agreement(source, tmp_path / "output" / "model.onnx", FEEDS) > 0.98


def test_a_run_costs_what_it_did(tmp_path: Path) -> None:
    """onnxruntime makes the kernel real when it loads the graph: what runs is the convolution alone."""
    text = "(float[n,3,h,w] x) => (float[n,8,a,b] y) { y = Conv(x, k, b) }"
    quantized(write(tmp_path, text, {"k": KERNEL, "b": WEIGHTS["b"]}), "int8", tmp_path / "output")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    onnxruntime.InferenceSession(str(tmp_path / "output" / "model.onnx"), options, providers=["CPUExecutionProvider"])
    assert [node.op_type for node in onnx.load(tmp_path / "loaded.onnx").graph.node] == ["Conv"]


def test_what_is_more_than_a_kernel_or_less_stays(tmp_path: Path) -> None:
    """One that is added too, and one of 9 numbers a filter."""
    text = """(float[n,8,h,w] x, float[m,64] v) => (float y, float s, float z) {
        c = Conv<group=8>(x, d)  y = Conv(c, k)  s = ReduceSum<keepdims=0>(k)  z = MatMul(v, u)
    }"""
    source = write(tmp_path, text, {"d": normal(8, 1, 3, 3), "k": normal(4, 8, 3, 3), "u": normal(64, 4)})
    assert quantized(source, "int8", tmp_path / "output").receipt.kernels == 0
