"""Weight-only quantization: blocks of few bits with a scale each, unpacked while they are multiplied (MatMulNBits)."""

from __future__ import annotations

import importlib.util
from functools import partial
from typing import TYPE_CHECKING, Any

from edgeprof.errors import MissingExtra
from edgeprof.process import Progress
from edgeprof.schema import Settings
from edgeprof.stages.quantize import activations
from edgeprof.stages.quantize.gptq import quantize as correct
from edgeprof.stages.quantize.job import QuantizationJob
from edgeprof.stages.quantize.per_matmul import Quantizer, quantize_each
from edgeprof.stages.quantize.tied import is_tied

if TYPE_CHECKING:
    import onnx


def nearest(job: QuantizationJob, progress: Progress) -> None:
    """Round to nearest, with onnxruntime's kernels."""
    quantizer = _nearest(job.settings, job.recipe.weight_bits)
    quantize_each(job.model, lambda _node: quantizer, progress, inner=True)


def hqq(job: QuantizationJob, progress: Progress) -> None:
    """HQQ (Badri and Shaji 2023): floating-point zero points, found by optimization; needs torch.

    A tied LM head is rounded to nearest: GatherBlockQuantized cannot look up rows with such zero points.

    Raises:
        MissingExtra: torch is not installed.
    """
    from onnxruntime.quantization.matmul_nbits_quantizer import HQQWeightOnlyQuantConfig

    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("HQQ", "torch", "export")
    size, bits = job.settings.block_size, job.recipe.weight_bits
    chosen = partial(_quantize, config=HQQWeightOnlyQuantConfig(block_size=size, bits=bits), settings=job.settings)
    rounded = _nearest(Settings(block_size=size, symmetric=False, accuracy_level=4), bits)
    quantize_each(job.model, lambda node: rounded if is_tied(node) else chosen, progress, inner=True)


def gptq(job: QuantizationJob, progress: Progress) -> None:
    """GPTQ in 4 bits: round so that errors on the calibration data are smallest.

    A tied LM head is rounded to nearest: the embedding reads the same integers, and they have to suit both.
    """
    rounded = _nearest(job.settings, 4)
    with activations.recorded(job, progress) as inputs_of:

        def chosen(node: Any) -> Quantizer:
            if is_tied(node):
                return rounded
            inputs = (rows for feeds in inputs_of.reader(node.inputs[0]) for rows in feeds.values())
            return partial(correct, inputs=inputs, settings=job.settings)

        quantize_each(job.model, chosen, progress)


def _nearest(settings: Settings, bits: int) -> Quantizer:
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig

    config = DefaultWeightOnlyQuantConfig(
        block_size=settings.block_size,
        is_symmetric=settings.symmetric,
        accuracy_level=settings.accuracy_level,
        bits=bits,
    )
    return partial(_quantize, config=config, settings=settings)


def _quantize(matmul: onnx.ModelProto, *, config: Any, settings: Settings) -> onnx.ModelProto:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(
        matmul,
        block_size=settings.block_size,
        is_symmetric=bool(settings.symmetric),
        accuracy_level=settings.accuracy_level,
        algo_config=config,
    )
    quantizer.process()
    return getattr(quantizer.model, "model", quantizer.model)  # type: ignore[no-any-return]
