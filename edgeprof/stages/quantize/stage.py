"""Quantize an fp32 artifact, in a child process."""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path

from msgspec.structs import replace

from edgeprof import process
from edgeprof.process import Progress
from edgeprof.recipe_table import recipe
from edgeprof.schema import Artifact, Calibration, GraphCount, Precision, QuantReceipt, Record, StageReceipt, TensorSpec
from edgeprof.stages import graph
from edgeprof.stages.quantize import receipt
from edgeprof.stages.quantize.algorithms import ALGORITHMS
from edgeprof.stages.quantize.conv_kernels import quantize_kernels
from edgeprof.stages.quantize.job import QuantizationJob
from edgeprof.stages.quantize.opsets import raise_opset
from edgeprof.stages.quantize.prepare import prepare, require_fp32, require_plain
from edgeprof.stages.quantize.scales import store_in_16_bits
from edgeprof.stages.quantize.tables import quantize_tables
from edgeprof.stages.quantize.tied import share_tied_embedding
from edgeprof.store import MODEL_FILE, writing


class QuantizeRequest(Record, frozen=True, kw_only=True):
    model: str
    precision: Precision
    folder: str  # that receives the model
    samples: str = ""  # a file of calibration data
    calibration: Calibration | None = None  # its description


class Quantized(Record, frozen=True, kw_only=True):
    count: GraphCount
    receipt: QuantReceipt
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def quantize(
    artifact: Artifact,
    precision: Precision,
    folder: Path,
    progress: Progress,
    *,
    samples: Path | None = None,
    calibration: Calibration | None = None,
) -> Artifact:
    """Write a quantized copy of an fp32 artifact into `folder`, without verifying it.

    Args:
        precision: a recipe with settings.
        samples: a file that `edgeprof.stages.samples` wrote, for recipes that calibrate; `calibration` describes it.

    Raises:
        QuantizationError: no weight was quantized, the model is quantized already, or the recipe does not apply to it.
    """
    started, source = time.monotonic(), artifact.graph()
    request = QuantizeRequest(
        model=source.path,
        precision=precision,
        folder=str(folder),
        samples=str(samples or ""),
        calibration=calibration,
    )
    result = process.call("edgeprof.stages.quantize", request, Quantized, progress=progress)
    stage = StageReceipt(
        stage=f"quantize {precision}",
        kept=True,
        before=source.count,
        after=result.count,
        seconds=time.monotonic() - started,
    )
    quantized = replace(
        source,
        path=str(folder / MODEL_FILE),
        inputs=result.inputs,
        outputs=result.outputs,
        count=result.count,
        quantization=result.receipt,
        checks=(),
        stages=(*source.stages, stage),
    )
    return replace(artifact, precision=precision, graphs=(quantized,))


# --- in the child ------------------------------------------------------------------------------------------


def run(request: QuantizeRequest, progress: Progress) -> Quantized:
    logging.disable(logging.WARNING)  # onnxruntime's quantizers log every step
    row, folder = recipe(request.precision.recipe), Path(request.folder)
    settings = row.with_settings(request.precision.settings)
    progress("preparing matmuls", 0.0)
    model = graph.load(Path(request.model))
    require_plain(model)
    prepare(model, materialize_tied=row.quantized, keep_gemm=row.keeps_gemm)
    require_fp32(model)
    raise_opset(model, row, Path(request.model).parent)
    before = receipt.weights(model, row)
    with writing(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".quantize-") as scratch:
        samples = Path(request.samples) if request.samples else None
        job = QuantizationJob(model=model, recipe=row, settings=settings, scratch=Path(scratch), samples=samples)
        if row.algorithm is not None:
            ALGORITHMS[row.algorithm](job, progress)
        model.graph.sort()  # quantizers leave nodes before what they read
        shared = share_tied_embedding(model) if row.quantized else 0
        tables = kernels = 0
        if not row.whole_graph:
            tables, kernels = quantize_tables(model, settings.block_size), quantize_kernels(model)
            store_in_16_bits(model)
        reached = receipt.of(
            before, model, row, shared=shared, tables=tables, kernels=kernels, calibration=request.calibration
        )
        progress("writing", 0.9)
        graph.save(model, folder / MODEL_FILE)
    values = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    return Quantized(
        count=graph.count(model),
        receipt=reached,
        inputs=graph.specs(values),
        outputs=graph.specs(list(model.graph.outputs)),
    )
