"""Integer products with weights scaled per output channel and activations scaled in every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprof.process import Progress
from edgeprof.stages.quantize.job import QuantizationJob
from edgeprof.stages.quantize.per_matmul import quantize_each, without_zero_points

if TYPE_CHECKING:
    import onnx


def int8(job: QuantizationJob, progress: Progress) -> None:
    quantize_each(job.model, lambda _node: _quantize, progress, inner=True)


def _quantize(matmul: onnx.ModelProto) -> onnx.ModelProto:
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode

    quantizer = ONNXQuantizer(
        matmul,
        per_channel=True,
        reduce_range=False,
        mode=QuantizationMode.IntegerOps,
        static=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=None,
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=["MatMul"],
        extra_options={"MatMulConstBOnly": True, "WeightSymmetric": True},
    )
    quantizer.quantize_model()
    return without_zero_points(quantizer.model.model, lambda node: node.op_type == "MatMulInteger")
