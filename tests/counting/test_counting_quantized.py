"""Quantized graphs: what onnxruntime's own quantizers write of one small model, and QDQ graphs by hand."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from nodes import Arrays, count, f32, graph, i8, i64, node, one, require_real_shapes, shapes, u8
from onnx import TensorProto, helper

from edgeprof import counting
from edgeprof.counting.flatten import everything
from edgeprof.counting.qdq_fusion import absorbed, unpacked
from edgeprof.counting.shapes import infer

VOCABULARY, WIDTH, INNER = 96, 64, 160
IDS = {"ids": i64(*range(5)).reshape(1, 5)}
PARAMS = 2 * VOCABULARY * WIDTH + 2 * WIDTH + 2 * WIDTH * INNER + INNER  # table, head, norm, an MLP with one bias
MACS = 5 * (2 * WIDTH * INNER + WIDTH * VOCABULARY)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    """Table, norm, MLP and a head. Random: calibration asks for a range."""
    rng = np.random.default_rng(0)
    weights = {
        "table": (VOCABULARY, WIDTH),
        "scale": (WIDTH,),
        "shift": (WIDTH,),
        "up": (WIDTH, INNER),
        "bias": (INNER,),
        "down": (INNER, WIDTH),
        "head": (WIDTH, VOCABULARY),
    }
    nodes = [
        node("Gather", "table ids", "x"),
        node("LayerNormalization", "x scale shift", "n"),
        node("MatMul", "n up", "u"),
        node("Add", "u bias", "b"),
        node("Gelu", "b", "g"),
        node("MatMul", "g down", "d"),
        node("MatMul", "d head", "y"),
    ]
    for created in nodes:
        created.name = created.output[0]
    arrays = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in weights.items()}
    built = graph(nodes, IDS, arrays, outputs=["y"], opset=21)
    built.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5, VOCABULARY]))
    return built


class Reader:
    """Calibration data as onnxruntime reads it."""

    def __init__(self) -> None:
        self.left: Iterator[Any] = iter([dict(IDS)])

    def get_next(self) -> Any:
        return next(self.left, None)


def in_blocks(model: onnx.ModelProto, bits: int, *, symmetric: bool) -> onnx.ModelProto:
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    config = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=symmetric, accuracy_level=4, bits=bits)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    quantizer = MatMulNBitsQuantizer(copy, algo_config=config)
    quantizer.process()
    built: onnx.ModelProto = quantizer.model.model
    return built


def static(model: onnx.ModelProto, folder: Path, activations: str, operators: list[str] | None) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    logging.disable(logging.WARNING)
    source, target = folder / "source.onnx", folder / "target.onnx"
    onnx.save(model, source)
    quantize_static(
        source,
        target,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        op_types_to_quantize=operators,
        activation_type=QuantType[activations],
        weight_type=QuantType.QInt8,
    )
    logging.disable(logging.NOTSET)
    return counting.read(target)


def require_same(quantized: onnx.ModelProto) -> counting.GraphCosts:
    """Shapes are real ones; parameters and MACs are those of the plain model."""
    require_real_shapes(with_all_outputs(quantized), IDS)
    counted = count(quantized, IDS)
    assert counted.uncounted == ()
    assert (counted.params, counted.macs) == (PARAMS, MACS)
    return counted


def with_all_outputs(quantized: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(quantized)
    there = {output.name for output in copy.graph.output}
    built = [name for each in copy.graph.node for name in each.output if name and name not in there]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in built)
    return copy


# --- as onnxruntime's quantizers write them -------------------------------------------------------------------


LEFT = 4 * (VOCABULARY * WIDTH + 2 * WIDTH + INNER)  # bytes of table, norm and bias, which stay fp32
MULTIPLIED = 2 * WIDTH * INNER + WIDTH * VOCABULARY
BLOCKS = MULTIPLIED // 32


@pytest.mark.parametrize(
    ("bits", "symmetric", "expected"),
    [
        (4, True, MULTIPLIED // 2 + 4 * BLOCKS),
        (4, False, MULTIPLIED // 2 + 4 * BLOCKS + BLOCKS // 2),
        (8, True, MULTIPLIED + 4 * BLOCKS),
        (8, False, MULTIPLIED + 4 * BLOCKS + BLOCKS),
    ],
)
def test_weights_in_blocks(model: onnx.ModelProto, bits: int, symmetric: bool, expected: int) -> None:
    """A scale in fp32 for 32 weights, and a zero point of as many bits as a weight where zero is not in the middle."""
    counted = require_same(in_blocks(model, bits, symmetric=symmetric))
    rounding = 4 if (bits, symmetric) == (4, False) else 0  # two zero points in a byte, row by row
    assert counted.weights_bytes == pytest.approx(LEFT + expected, abs=VOCABULARY * rounding)
    assert sum(cost.params for cost in counted.nodes if cost.role == "weight matmuls") == MULTIPLIED


def test_dynamic_int8(model: onnx.ModelProto, tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logging.disable(logging.WARNING)
    onnx.save(model, tmp_path / "source.onnx")
    quantize_dynamic(
        tmp_path / "source.onnx",
        tmp_path / "target.onnx",
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
    )
    logging.disable(logging.NOTSET)
    require_same(counting.read(tmp_path / "target.onnx"))


@pytest.mark.parametrize("activations", ["QUInt8", "QInt8", "QUInt16"])
@pytest.mark.parametrize("operators", [["MatMul"], None])
def test_static_qdq(model: onnx.ModelProto, tmp_path: Path, activations: str, operators: list[str] | None) -> None:
    """Biases and shifts are integers of 32 bits where everything is quantized: parameters all the same."""
    require_same(static(model, tmp_path, activations, operators))


def test_integers_that_are_no_weights_stay_none() -> None:
    feeds = {"x": f32(2, 3)}
    table = np.arange(6, dtype=np.int32)
    nodes = [node("Gather", "table at", "g"), node("Cast", "g", "c", to=TensorProto.FLOAT), node("Add", "x c")]
    assert count(graph(nodes, feeds, {"table": table, "at": np.asarray(1)}), feeds).params == 0


def test_weights_stored_in_bf16_are_cast_when_loaded() -> None:
    """[4, 5] in two bytes each; the cast makes nothing in a run."""
    feeds = {"x": f32(3, 4)}
    held = helper.make_tensor("w", TensorProto.BFLOAT16, [4, 5], np.ones(20, np.float32))
    nodes = [node("Cast", "w", "v", to=TensorProto.FLOAT), node("MatMul", "x v")]
    counted = count(graph(nodes, feeds, {"w": held}, outputs=["y"]), feeds)
    assert (counted.params, counted.weights_bytes, counted.macs) == (20, 40, 60)
    assert [cost.activation_bytes for cost in counted.nodes] == [0, 60]
    assert counted.live_bytes == 4 * (12 + 15)


def test_fp16_is_computed_in_fp32() -> None:
    """x and y, of the graph, in two bytes a number; what lies between in four: 3 x 5 twice."""
    feeds = {"x": np.ones((3, 4), np.float16)}
    weights = {"w": np.ones((4, 5), np.float16), "v": np.ones((5, 5), np.float16)}
    nodes = [node("MatMul", "x w", "a"), node("Add", "a a", "b"), node("MatMul", "b v", "y")]
    counted = count(graph(nodes, feeds, weights, outputs=["y"]), feeds)
    assert counted.live_bytes == 2 * 12 + 2 * (4 * 15)
    assert [cost.activation_bytes for cost in counted.nodes] == [30, 30, 30]  # as the file has them


# --- QDQ by hand ----------------------------------------------------------------------------------------------


def qdq(name: str, *, wide: bool = False) -> list[onnx.NodeProto]:
    """A tensor through integers and back, as "<name>d"; "s" is the scale."""
    zero, integers = "z16" if wide else "z8", f"{name}q"
    return [
        node("QuantizeLinear", f"{name} s {zero}", integers),
        node("DequantizeLinear", f"{integers} s {zero}", f"{name}d"),
    ]


WEIGHTS = {
    "w": i8(8, 6),
    "ws": f32(6),
    "s": one(),
    "z8": one(np.uint8),
    "z16": one(np.uint16),
    "bias": f32(6),
    "scale": f32(6),
    "t": u8(10, 8),
}
WEIGHT = node("DequantizeLinear", "w ws", "v", axis=1)
CUBE: Arrays = {"x": f32(2, 3, 8)}
MATRIX: Arrays = {"x": f32(3, 8)}


def absorbed_and_unpacked(nodes: list[onnx.NodeProto], feeds: Arrays) -> tuple[dict[str, int], set[str]]:
    """What is never made, with its last reader; and which weights are unpacked in every run."""
    built = graph(nodes, feeds, WEIGHTS, outputs=["y"])
    constants = {*WEIGHTS, "v"}
    flat = everything(built.graph)
    never = absorbed(flat, infer(built, shapes(feeds)), constants)
    return never, unpacked(flat, constants, never)


def test_a_product_works_on_integers() -> None:
    assert absorbed_and_unpacked([*qdq("x"), WEIGHT, node("MatMul", "xd v")], CUBE) == ({"xd": 3, "v": 3}, set())


def test_a_product_that_is_quantized_again_is_never_real() -> None:
    nodes = [*qdq("x"), WEIGHT, node("MatMul", "xd v", "m"), *qdq("m"), node("LayerNormalization", "md scale")]
    assert absorbed_and_unpacked(nodes, CUBE) == ({"xd": 3, "v": 3, "m": 4}, set())  # the norm reads real numbers: md


def test_of_16_bits_a_product_unpacks_its_weight_itself() -> None:
    assert absorbed_and_unpacked([*qdq("x", wide=True), WEIGHT, node("MatMul", "xd v")], CUBE) == ({"v": 3}, set())


def test_a_product_of_matrices_and_a_bias_are_real() -> None:
    """They become a Gemm, for which the weight is unpacked in every run; of more dimensions they do not."""
    nodes = [*qdq("x"), WEIGHT, node("MatMul", "xd v", "m"), node("Add", "m bias")]
    assert absorbed_and_unpacked(nodes, MATRIX) == ({}, {"v"})
    assert absorbed_and_unpacked(nodes, CUBE) == ({"xd": 3, "v": 3}, set())


def test_all_readers_have_to_take_integers() -> None:
    """The norm needs real numbers, which are then made, for it alone."""
    nodes = [*qdq("x"), WEIGHT, node("MatMul", "xd v"), node("Softmax", "xd", "p")]
    assert absorbed_and_unpacked(nodes, CUBE) == ({"v": 3}, set())


def test_sums_are_integers_if_they_are_quantized_again() -> None:
    nodes = [*qdq("x"), node("Add", "xd xd", "a"), *qdq("a"), node("Softmax", "ad")]
    assert absorbed_and_unpacked(nodes, CUBE) == ({"xd": 2, "a": 3}, set())
    assert absorbed_and_unpacked([*qdq("x"), node("Add", "xd xd")], CUBE) == ({}, set())


@pytest.mark.parametrize("wide", [False, True])
def test_what_is_moved_is_moved_as_integers(wide: bool) -> None:
    nodes = [*qdq("x", wide=wide), node("Transpose", "xd", "a"), *qdq("a", wide=wide), node("Softmax", "ad")]
    assert absorbed_and_unpacked(nodes, CUBE) == ({"xd": 2, "a": 3}, set())


def test_a_table_is_looked_up_in_integers_or_unpacked_as_a_whole() -> None:
    """onnxruntime folds no DequantizeLinear: 10 x 8 numbers in fp32, to look up three of its rows."""
    feeds = {"ids": i64(1, 2, 3)}
    look = [node("DequantizeLinear", "t s z8", "v"), node("Gather", "v ids", "g")]
    assert absorbed_and_unpacked([*look, *qdq("g"), node("Softmax", "gd")], feeds) == ({"v": 1, "g": 2}, set())
    nodes = [*look, node("Softmax", "g")]
    assert absorbed_and_unpacked(nodes, feeds) == ({}, {"v"})
    weights = {name: WEIGHTS[name] for name in ("t", "s", "z8")}
    counted = count(graph(nodes, feeds, weights, outputs=["y"]), feeds)
    assert counted.live_bytes == 3 * 8 + 4 * 80 + 4 * 24  # ids, the table, and the rows
    assert counted.weights_bytes == 80 + 4 + 1


def test_the_runtime_does_so(tmp_path: Path) -> None:
    """The cases above, loaded by onnxruntime: which operators are left."""
    plain = [*qdq("x"), WEIGHT, node("MatMul", "xd v")]
    biased = [*qdq("x"), WEIGHT, node("MatMul", "xd v", "m"), node("Add", "m bias")]
    assert loaded(plain, CUBE, tmp_path) == ["QuantizeLinear", "MatMulIntegerToFloat"]
    assert set(loaded(biased, MATRIX, tmp_path)) == {"QuantizeLinear", "DequantizeLinear", "Gemm"}
    wide = [*qdq("x", wide=True), WEIGHT, node("MatMul", "xd v")]
    assert loaded(wide, CUBE, tmp_path) == ["QuantizeLinear", "DequantizeLinear", "MatMulNBits"]


def loaded(nodes: list[onnx.NodeProto], feeds: Arrays, folder: Path) -> list[str]:
    used = {name: WEIGHTS[name] for each in nodes for name in each.input if name in WEIGHTS}
    built = graph(nodes, feeds, used, outputs=["y"])
    rank = len(feeds["x"].shape)
    built.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, [*["n"] * (rank - 1), 8]))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "loaded.onnx")
    onnxruntime.InferenceSession(built.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [each.op_type for each in counting.read(folder / "loaded.onnx").graph.node]
