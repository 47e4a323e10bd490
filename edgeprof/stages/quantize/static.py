"""Static quantization: activation scales are fixed from calibration data (QDQ: QuantizeLinear, DequantizeLinear)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof.errors import QuantizationError
from edgeprof.kv_cache import is_past, present_of
from edgeprof.process import Progress
from edgeprof.providers.ort_errors import ort_errors
from edgeprof.providers.session import open_session
from edgeprof.stages import attention, graph, samples
from edgeprof.stages.quantize import activations
from edgeprof.stages.quantize.job import QuantizationJob
from edgeprof.stages.quantize.per_matmul import Quantizer, quantize_each, without_zero_points
from edgeprof.stages.quantize.tied import tied_embeddings

if TYPE_CHECKING:
    import onnx

MULTIPLYING = ["MatMul", "Gemm"]
BINS = {"num_bins": 1024, "num_quantized_bins": 128}
"""For entropy calibration: by default the two are equal, which leaves nothing to choose from."""

ONLY_INPUTS = {"OpTypesToExcludeOutputQuantization": MULTIPLYING}
"""Products stay fp32: the operators that follow them here (a bias, attention) compute in fp32 anyway."""


# --- matmuls, one by one -----------------------------------------------------------------------------------


def matmuls(job: QuantizationJob, progress: Progress) -> None:
    """Quantize the inputs and weights of matmuls to 8 bits; all else stays fp32. For CPUs."""
    with activations.recorded(job, progress) as inputs_of:
        ranges: dict[str, Any] = {}

        def quantizer(node: Any) -> Quantizer:
            name = node.inputs[0].name
            if name not in ranges:
                ranges[name] = _range(inputs_of.reader(node.inputs[0]), job)
            return partial(_quantize, ranges=ranges[name])

        quantize_each(job.model, quantizer, progress)


def _range(reader: activations.Reader, job: QuantizationJob) -> Any:
    """Calibrated range of one tensor (onnxruntime's TensorsData), from a model that only passes it through."""
    import onnx
    from onnx import TensorProto, helper
    from onnxruntime.quantization.calibrate import create_calibrator

    file = job.scratch / "identity.onnx"
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (reader.name, "passed on"))
    same = helper.make_node("Identity", [x.name], [y.name], name="identity")
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(helper.make_graph([same], "g", [x], [y]), opset_imports=opsets, ir_version=9), file)
    observed, options = str(job.scratch / "observed.onnx"), BINS if job.settings.method == "entropy" else {}
    calibrator = create_calibrator(file, ["Identity"], observed, _method(job), extra_options=options)
    calibrator.collect_data(reader)
    return calibrator.compute_data()


def _quantize(matmul: onnx.ModelProto, ranges: Any) -> onnx.ModelProto:
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    quantizer = QDQQuantizer(
        matmul,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=MULTIPLYING,
        extra_options={**ONLY_INPUTS, **_qdq_domain(matmul.opset_import[0].version, bits=8)},
    )
    quantizer.quantize_model()
    quantized = quantizer.model.model
    gemm = any(node.op_type == "Gemm" for node in quantized.graph.node)
    constants = {tensor.name: tensor.data_type for tensor in quantized.graph.initializer}

    def optional(node: onnx.NodeProto) -> bool:
        """QGemm requires zero points of its weights, and accepts none for its bias."""
        kind = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        return kind is not None and (not gemm or kind == TensorProto.INT32)

    return without_zero_points(quantized, optional)


# --- everything --------------------------------------------------------------------------------------------


def everything(job: QuantizationJob, progress: Progress) -> None:
    """Quantize activations to 8 or 16 bits in every operator that onnxruntime supports; for NPUs, which run no other.

    Attention is decomposed first, so that its products and its softmax are quantized too. A tied embedding is left
    out: it reads the integers of its LM head.
    """
    assert job.samples is not None
    source, target = job.scratch / "prepared.onnx", job.scratch / "quantized.onnx"
    attention.decompose(job.model, attention.MASKED_IN_RANGE)
    graph.save(job.model, source)
    progress("calibrating and quantizing the whole graph", None)
    with ort_errors(_not_quantized):
        _quantize_graph(job, source, target)
    quantized = graph.load(target)
    job.model.graph = quantized.graph
    job.model.opset_imports.update(quantized.opset_imports)
    job.model.ir_version = quantized.ir_version


def _not_quantized(reason: str) -> QuantizationError:
    advice = "Try a different recipe or other calibration data."
    return QuantizationError(f"onnxruntime cannot quantize this model: {reason}.", advice)


def _quantize_graph(job: QuantizationJob, source: Path, target: Path) -> None:
    """As onnxruntime's `quantize_static`, but without changing the operator set: onnx cannot convert every operator."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import create_calibrator
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    assert job.samples is not None
    operators = sorted({*QDQRegistry, *QLinearOpsRegistry} - {attention.ATTENTION})
    observed = str(job.scratch / "observed.onnx")
    calibrator = create_calibrator(
        source, operators, observed, _method(job), use_external_data_format=True, extra_options={}
    )
    calibrator.collect_data(_FeedReader(job.samples))
    quantizer = QDQQuantizer(
        load_model_with_shape_infer(source),
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8 if job.recipe.activation_bits == 8 else QuantType.QUInt16,
        tensors_range=calibrator.compute_data(),
        nodes_to_quantize=[],
        nodes_to_exclude=tied_embeddings(job.model),
        op_types_to_quantize=operators,
        extra_options={
            "TensorQuantOverrides": {**_cache_ranges(job, source), **_norm_weights(job)},
            **_qdq_domain(graph.opset(job.model), job.recipe.activation_bits),
        },
    )
    quantizer.quantize_model()
    quantizer.model.save_model_to_file(target, use_external_data_format=True)


def _cache_ranges(job: QuantizationJob, source: Path) -> dict[str, Any]:
    """Ranges of KV caches, taken from the keys and values that the model adds: calibration data have empty caches."""
    outputs = {value.name or "" for value in job.model.graph.outputs}
    caches = {name: present_of(name) for value in job.model.graph.inputs if is_past(name := value.name or "")}
    caches = {past: present for past, present in caches.items() if present in outputs}
    if not caches or job.samples is None:
        return {}
    session, extremes = open_session(str(source)), [np.zeros((2, len(caches)), np.float32)]
    for feeds in samples.read(job.samples):
        added = session.run(list(caches.values()), feeds)
        extremes.append(np.array([[values.min() for values in added], [values.max() for values in added]]))
    low, high = np.min(extremes, axis=0)[0], np.max(extremes, axis=0)[1]
    return {past: [{"rmin": low[index], "rmax": high[index]}] for index, past in enumerate(caches)}


def _norm_weights(job: QuantizationJob) -> dict[str, Any]:
    """LayerNormalization weights in unsigned 8 bits with one scale, the only form that QNN accepts."""
    from onnxruntime.quantization import QuantType

    norms = [node.inputs[1] for node in job.model.graph if node.op_type == "LayerNormalization"]
    names = [weight.name or "" for weight in norms if weight is not None and weight.is_initializer()]
    return {name: [{"quant_type": QuantType.QUInt8, "symmetric": False}] for name in names}


def _qdq_domain(opset: int, bits: int) -> dict[str, bool]:
    """Use onnxruntime's QuantizeLinear where the standard's has no scales per channel or no 16 bits yet."""
    return {"UseQDQContribOps": opset < (13 if bits == 8 else 21)}


class _FeedReader:
    """Whole samples, as onnxruntime's calibration reads them."""

    def __init__(self, file: Path) -> None:
        self.feeds = samples.read(file)

    def get_next(self) -> dict[str, Any] | None:
        return next(self.feeds, None)


def _method(job: QuantizationJob) -> Any:
    from onnxruntime.quantization import CalibrationMethod

    methods = {
        "min-max": CalibrationMethod.MinMax,
        "entropy": CalibrationMethod.Entropy,
        "percentile": CalibrationMethod.Percentile,
    }
    return methods[job.settings.method or "min-max"]
