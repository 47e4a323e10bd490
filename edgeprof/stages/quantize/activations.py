"""Inputs of a model's matmuls on calibration data, recorded on disk.

The model runs once per sample; quantizers then calibrate one matmul at a time.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof.errors import QuantizationError
from edgeprof.process import Progress, part
from edgeprof.providers.ort_errors import ort_errors
from edgeprof.providers.session import open_session
from edgeprof.stages import graph, samples
from edgeprof.stages.quantize.job import QuantizationJob
from edgeprof.stages.quantize.matmuls import reachable

if TYPE_CHECKING:
    import onnx_ir as ir
    import onnxruntime


class Activations:
    """The recorded values of each tensor, sample by sample."""

    def __init__(self, folder: Path, names: list[str], count: int) -> None:
        self.folder = folder
        self.indices = {name: index for index, name in enumerate(names)}
        self.count = count

    def reader(self, value: ir.Value | None) -> Reader:
        """Feeds for the model of one matmul that reads this tensor."""
        assert value is not None
        assert value.name is not None
        index = self.indices[value.name]
        return Reader(value.name, [self.folder / f"{index}.{sample}.npy" for sample in range(self.count)])


class Reader:
    """Calibration data as onnxruntime's quantizers read it: an iterator, and a `get_next` that ends with None."""

    def __init__(self, name: str, files: list[Path]) -> None:
        self.name = name
        self.files = files
        self.position = 0

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.get_next, None)

    def get_next(self) -> dict[str, Any] | None:
        if self.position == len(self.files):
            return None
        rows = np.load(self.files[self.position])
        self.position += 1
        return {self.name: rows}


@contextlib.contextmanager
def recorded(job: QuantizationJob, progress: Progress) -> Iterator[Activations]:
    """Run the model on every calibration sample; the files are removed when the block ends.

    Raises:
        QuantizationError: the model does not run on a sample.
    """
    assert job.samples is not None
    folder = job.scratch / "activations"
    folder.mkdir()
    values = {node.inputs[0].name or "": node.inputs[0] for node in reachable(job.model) if node.inputs[0] is not None}
    observing = _observing(job.model, list(values.values()), job.scratch / "observed.onnx")
    outputs = sorted(values.keys() - {value.name for value in observing.get_inputs()})
    count = 0
    step = part(progress, "calibrating", 0, 2)
    for count, feeds in enumerate(samples.read(job.samples), 1):
        step(f"sample {count}", None)
        arrays = dict(feeds)
        with ort_errors(partial(_not_run, count)):
            results = observing.run(outputs or None, feeds)  # without names, all outputs
        arrays |= dict(zip(outputs, results, strict=False))
        for index, name in enumerate(values):
            np.save(folder / f"{index}.{count - 1}.npy", arrays[name].reshape(-1, arrays[name].shape[-1]))
    del observing
    try:
        yield Activations(folder, list(values), count)
    finally:
        shutil.rmtree(folder)


def _not_run(sample: int, reason: str) -> QuantizationError:
    return QuantizationError(
        f"The model does not run on calibration sample {sample}: {reason}.", "Provide data in the shapes of its inputs."
    )


def _observing(model: ir.Model, observed: list[ir.Value], file: Path) -> onnxruntime.InferenceSession:
    """A session of the model whose outputs include the observed values; the graph itself is unchanged afterwards."""
    outputs = list(model.graph.outputs)
    extra = [value for value in observed if not value.is_graph_input() and value not in outputs]
    model.graph.outputs.extend(extra)
    try:
        graph.save(model, file)
    finally:
        for _ in extra:
            model.graph.outputs.pop()
    return open_session(str(file))
