"""Reference values of a file that edgeprof did not export: its own outputs, before anything is changed.

A file does not state at which shapes it really runs: a batch size may be baked in, a position table may end, padding
may need a length, and random values may give NaN. So candidates are tried; those that give a result are the reference.

Run as a module, this file is the child process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgeprof import process
from edgeprof.errors import EdgeprofError, ModelFileError
from edgeprof.families.base import Arrays
from edgeprof.process import Progress
from edgeprof.providers.ort_errors import ort_errors
from edgeprof.providers.session import converted, open_session
from edgeprof.schema import Case, Graph, Record, TensorSpec
from edgeprof.stages import reference, samples
from edgeprof.stages.samples.feeds import expected_size, sizes
from edgeprof.store import writing

if TYPE_CHECKING:
    import onnxruntime


class Candidate(NamedTuple):
    case: Case
    feeds: Arrays
    fills: Mapping[str, str] = MappingProxyType({})  # a description of the values of each input


class BaselineRequest(Record, frozen=True, kw_only=True):
    model: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    cases: tuple[Case, ...]
    feeds: str  # a file of samples: the feeds of every case
    enough: int  # how many of the first candidates to run; the others only if none of these gives a result
    optimized: bool = True  # False: without onnxruntime's optimizations
    reference: str  # the file to write


class Recorded(Record, frozen=True, kw_only=True):
    candidates: tuple[int, ...]  # indices of those in the reference


def record(
    graph: Graph,
    candidates: Sequence[Candidate],
    target: Path,
    progress: Progress,
    *,
    enough: int | None = None,
    optimized: bool = True,
) -> list[Candidate]:
    """Write a reference file of a model's outputs; returns the candidates in it.

    Args:
        candidates: those of one shape are tried until one gives numbers that differ from each other.
        enough: how many of the first to try in any case; the others follow one by one until there is a result.
            None: try all.
        optimized: False runs the graph as it stands in the file, without onnxruntime's optimizations.

    Raises:
        ModelFileError: onnxruntime cannot load the model, or run it on any of them.
        StorageError: the disk refused.
    """
    if not graph.inputs:
        raise ModelFileError(
            f"{graph.path} has no inputs, so there is nothing to compare its outputs with.", "Explain or profile it."
        )
    with tempfile.TemporaryDirectory(prefix="edgeprof-") as scratch:
        feeds = Path(scratch) / "feeds.npz"
        samples.write(feeds, (candidate.feeds for candidate in candidates))
        request = BaselineRequest(
            model=graph.path,
            inputs=graph.inputs,
            outputs=graph.outputs,
            cases=tuple(candidate.case for candidate in candidates),
            feeds=str(feeds),
            enough=len(candidates) if enough is None else enough,
            optimized=optimized,
            reference=str(target),
        )
        recorded = process.call("edgeprof.stages.onnx_reference", request, Recorded, progress=progress)
    return [candidates[index] for index in recorded.candidates]


# --- in the child ------------------------------------------------------------------------------------------


class Quality(IntEnum):
    """How much the outputs of a run say about a model."""

    CONTRADICTS = 0  # shapes differ from those that the file declares, as with a baked-in batch size
    NOT_FINITE = 1  # an output has no finite number
    CONSTANT = 2  # every output repeats a single number
    GOOD = 3


class Result(NamedTuple):
    candidate: int
    quality: Quality
    feeds: Arrays
    outputs: Arrays


def run(request: BaselineRequest, progress: Progress) -> Recorded:
    progress("running the source", None)
    session = open_session(request.model, optimized=request.optimized)
    results: dict[Case, Result] = {}
    problems: list[str] = []
    for index, (case, feeds) in enumerate(zip(request.cases, samples.read(request.feeds), strict=True)):
        best = max((result.quality for result in results.values()), default=Quality.CONTRADICTS)
        settled = case in results and results[case].quality == Quality.GOOD
        if settled or (index >= request.enough and best > Quality.NOT_FINITE):
            continue
        try:
            with ort_errors(EdgeprofError):
                result = _result(session, request, index, feeds)
        except EdgeprofError as problem:
            tokens = f", tokens {case.tokens}" if case.tokens else ""
            problems.append(f"at batch {case.batch}{tokens}: {problem.what}")
            continue
        if case not in results or result.quality > results[case].quality:
            results[case] = result
    if not results:
        raise ModelFileError(
            f"{request.model} runs on none of {len(request.cases)} random inputs; {problems[0]}.",
            "Set sizes or inputs that it accepts, with --seq, --dim or --input.",
        )
    least = min(max(result.quality for result in results.values()), Quality.CONSTANT)
    kept = {case: result for case, result in results.items() if result.quality >= least}
    with writing(Path(request.reference)):
        reference.save(Path(request.reference), [(case, one.feeds, one.outputs) for case, one in kept.items()])
    return Recorded(candidates=tuple(result.candidate for result in kept.values()))


def _result(session: onnxruntime.InferenceSession, request: BaselineRequest, index: int, feeds: Arrays) -> Result:
    names = [output.name for output in session.get_outputs()]
    outputs = session.run(names, converted(session, feeds))
    arrays = reference.named(names, outputs)
    fits = _fits(request, feeds, dict(zip(names, outputs, strict=True)))
    return Result(index, _quality(arrays) if fits else Quality.CONTRADICTS, feeds, arrays)


def _fits(request: BaselineRequest, feeds: Arrays, outputs: dict[str, Any]) -> bool:
    """Whether outputs have the shapes that the file declares for these inputs."""
    known = sizes(request.inputs, feeds)
    for spec in request.outputs:
        array = outputs.get(spec.name)
        if spec.kind != "tensor" or not isinstance(array, np.ndarray) or array.ndim != len(spec.dims):
            continue
        expected = [expected_size(dim, known) for dim in spec.dims]
        if any(size not in (None, actual) for size, actual in zip(expected, array.shape, strict=True)):
            return False
    return True


def _quality(outputs: Arrays) -> Quality:
    numbers = [array for array in outputs.values() if array.dtype.kind in "fc" and array.size]
    if any(not np.isfinite(array).any() for array in numbers):
        return Quality.NOT_FINITE
    several = [array for array in numbers if array.size > 1]
    if several and all(np.nanmin(array) == np.nanmax(array) for array in several):
        return Quality.CONSTANT
    return Quality.GOOD


if __name__ == "__main__":
    process.serve(run, BaselineRequest)
