"""Weights of few bits in blocks with a scale each; they are unpacked while they are multiplied (MatMulNBits)."""

from __future__ import annotations

import importlib.util
import math
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from edgeprof.errors import MissingExtra
from edgeprof.process import Progress
from edgeprof.stages.quantize import activations
from edgeprof.stages.quantize.job import Job, Settings
from edgeprof.stages.quantize.onebyone import Quantizer, quantize_each
from edgeprof.stages.quantize.tied import is_tied

if TYPE_CHECKING:
    import onnx

GPTQ_BLOCK = 128
"""Rows that GPTQ corrects together; the paper's value."""


def nearest(job: Job, progress: Progress, *, bits: int) -> None:
    """Rounded, by onnxruntime's own kernels."""
    quantizer = _nearest(job.settings, bits)
    quantize_each(job.model, lambda _node: quantizer, progress)


def hqq(job: Job, progress: Progress, *, bits: int) -> None:
    """HQQ (Badri and Shaji 2023): zero points that are no integers, found by optimization; needs torch.

    A tied LM head is rounded: an embedding cannot be read back from such zero points.

    Raises:
        MissingExtra: torch is not installed.
    """
    from onnxruntime.quantization.matmul_nbits_quantizer import HQQWeightOnlyQuantConfig

    if importlib.util.find_spec("torch") is None:
        raise MissingExtra("HQQ", "torch", "export")
    size = job.settings.block_size
    chosen = partial(_quantize, config=HQQWeightOnlyQuantConfig(block_size=size, bits=bits), settings=job.settings)
    rounded = _nearest(Settings(block_size=size, symmetric=False, accuracy_level=4), bits)
    quantize_each(job.model, lambda node: rounded if is_tied(node) else chosen, progress)


def gptq(job: Job, progress: Progress) -> None:
    """GPTQ (Frantar et al. 2023): rounding errors are made good by the weights still to be rounded, 4 bits.

    A tied LM head is rounded: a vocabulary of columns takes hours, and the embedding reads the same integers.
    Zero points of an odd number of blocks onnxruntime cannot store: such a matrix gets none.
    """
    from onnxruntime.quantization.matmul_nbits_quantizer import GPTQWeightOnlyQuantConfig

    rounded = _nearest(job.settings, 4)
    with activations.collected(job, progress) as seen:

        def chosen(node: Any) -> Quantizer:
            if is_tied(node):
                return rounded
            reader = seen.reader(node.inputs[0])
            config = GPTQWeightOnlyQuantConfig(calibration_data_reader=reader, block_size=GPTQ_BLOCK)
            blocks = math.ceil(node.inputs[1].const_value.shape[0] / (job.settings.block_size or 1))
            symmetric = job.settings.symmetric or blocks % 2 == 1
            return partial(_quantize, config=config, settings=replace(job.settings, symmetric=symmetric))

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
