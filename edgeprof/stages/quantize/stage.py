"""Quantize an fp32 artifact, in a child process."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from msgspec.structs import replace

from edgeprof import process
from edgeprof.errors import QuantizationError
from edgeprof.process import Progress
from edgeprof.recipe_table import recipe
from edgeprof.schema import (
    Artifact,
    Calibration,
    Graph,
    GraphCount,
    Precision,
    QuantReceipt,
    Record,
    Role,
    StageReceipt,
    TensorSpec,
)
from edgeprof.stages import graph
from edgeprof.stages.quantize import receipt
from edgeprof.stages.quantize.algorithms import ALGORITHMS
from edgeprof.stages.quantize.conv_kernels import quantize_kernels
from edgeprof.stages.quantize.job import QuantizationJob
from edgeprof.stages.quantize.opsets import raise_opset
from edgeprof.stages.quantize.prepare import prepare, require_fp32, require_plain
from edgeprof.stages.quantize.scales import store_in_16_bits
from edgeprof.stages.quantize.sharing import Shared, SharingRequest
from edgeprof.stages.quantize.tables import quantize_tables
from edgeprof.stages.quantize.tied import share_tied_embedding
from edgeprof.store import MODEL_FILE, graph_file, writing


class QuantizeRequest(Record, frozen=True, kw_only=True):
    model: str
    precision: Precision
    folder: str  # that receives the model
    samples: str = ""  # a file of calibration data
    calibration: Calibration | None = None  # its description


class Calibrated(NamedTuple):
    """Data for the ranges of a graph's activations: a file that `edgeprof.stages.samples` wrote, and what it holds."""

    samples: Path
    calibration: Calibration


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
    calibrated: Mapping[Role, Calibrated] = MappingProxyType({}),
) -> Artifact:
    """Write a quantized copy of an fp32 artifact into `folder`, without verifying it.

    Of several graphs, one that a recipe does not apply to stays fp32, and weights that are equal are stored once.

    Args:
        precision: a recipe with settings.
        calibrated: data for each graph, for recipes that need some.

    Raises:
        QuantizationError: no weight was quantized, the model is quantized already, or the recipe does not apply to it.
    """
    if len(artifact.graphs) == 1:
        (source,) = artifact.graphs
        only = _quantized(source, precision, folder, calibrated.get(source.role), progress)
        return replace(artifact, precision=precision, graphs=(only,))
    graphs, problems = [], []
    with writing(folder), tempfile.TemporaryDirectory(dir=folder, prefix=".graphs-") as scratch:
        for index, source in enumerate(artifact.graphs):
            place, step = Path(scratch) / source.role, process.part(progress, source.role, index, len(artifact.graphs))
            place.mkdir()
            try:
                graphs.append(_quantized(source, precision, place, calibrated.get(source.role), step))
            except QuantizationError as problem:
                problems.append(problem)
                graphs.append(source)
        if len(problems) == len(graphs):
            raise problems[0]
        targets = {graph.path: str(graph_file(folder, graph.role)) for graph in graphs}
        process.call("edgeprof.stages.quantize.sharing", SharingRequest(targets=targets), Shared, progress=progress)
    return replace(
        artifact, precision=precision, graphs=tuple(replace(graph, path=targets[graph.path]) for graph in graphs)
    )


def _quantized(
    source: Graph, precision: Precision, folder: Path, calibrated: Calibrated | None, progress: Progress
) -> Graph:
    started = time.monotonic()
    request = QuantizeRequest(
        model=source.path,
        precision=precision,
        folder=str(folder),
        samples=str(calibrated.samples) if calibrated else "",
        calibration=calibrated.calibration if calibrated else None,
    )
    result = process.call("edgeprof.stages.quantize", request, Quantized, progress=progress)
    stage = StageReceipt(
        stage=f"quantize {precision}",
        kept=True,
        before=source.count,
        after=result.count,
        seconds=time.monotonic() - started,
    )
    return replace(
        source,
        path=str(folder / MODEL_FILE),
        inputs=result.inputs,
        outputs=result.outputs,
        count=result.count,
        quantization=result.receipt,
        checks=(),
        stages=(*source.stages, stage),
    )


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
