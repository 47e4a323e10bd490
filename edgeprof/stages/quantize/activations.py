"""What flows into the matmuls of a model, seen on calibration data and kept on disk: all that calibration needs.

The model runs once per sample; quantizers then work on one matmul at a time.
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
from edgeprof.stages.quantize.job import Job
from edgeprof.stages.quantize.matmuls import reachable

if TYPE_CHECKING:
    import onnx_ir as ir
    import onnxruntime


class Activations:
    """The values that each tensor took, sample by sample."""

    def __init__(self, folder: Path, names: list[str], count: int) -> None:
        self.folder = folder
        self.indices = {name: index for index, name in enumerate(names)}
        self.count = count

    def reader(self, value: ir.Value | None) -> Reader:
        """Feeds for the model of one matmul that takes this tensor."""
        assert value is not None
        assert value.name is not None
        index = self.indices[value.name]
        return Reader(value.name, [self.folder / f"{index}.{sample}.npy" for sample in range(self.count)])


class Reader:
    """What onnxruntime's quantizers read calibration data from: an iterator, and a `get_next` that ends with None."""

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
def collected(job: Job, progress: Progress) -> Iterator[Activations]:
    """Run the model on every calibration sample; the files are gone when the block ends.

    Raises:
        QuantizationError: the model does not run on them.
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
        seen = dict(feeds)
        with ort_errors(partial(_not_run, count)):
            seen |= dict(zip(outputs, observing.run(outputs or None, feeds), strict=False))  # of none, it gives all
        for index, name in enumerate(values):
            np.save(folder / f"{index}.{count - 1}.npy", seen[name].reshape(-1, seen[name].shape[-1]))
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
    """The model, with the observed values among its outputs for as long as the file is written."""
    outputs = list(model.graph.outputs)
    extra = [value for value in observed if not value.is_graph_input() and value not in outputs]
    model.graph.outputs.extend(extra)
    try:
        graph.save(model, file)
    finally:
        for _ in extra:
            model.graph.outputs.pop()
    return open_session(str(file))
