"""Reference values of a file that nobody here exported: what it computes itself, before anything is done to it.

No file tells at which shapes it runs, whatever it declares: a batch may be baked in, a position table may end, padding
may need a length, and made-up values may give no number. So candidates are tried; those that give a result are the
reference.

Run as a module, this file is the process that does it.
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
from edgeprof.schema import Artifact, Case, Record, TensorSpec
from edgeprof.stages import reference, samples
from edgeprof.stages.samples.feeds import expected_size, sizes
from edgeprof.store import writing

if TYPE_CHECKING:
    import onnxruntime


class Candidate(NamedTuple):
    case: Case
    feeds: Arrays
    fills: Mapping[str, str] = MappingProxyType({})  # what each input was filled with, in words


class BaselineRequest(Record, frozen=True, kw_only=True):
    model: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    cases: tuple[Case, ...]
    feeds: str  # a file of samples: the feeds of every case
    enough: int  # of the first candidates; the others are for where none of these gives a result
    optimized: bool = True  # False: without onnxruntime's optimizations
    reference: str  # to be written


class Recorded(Record, frozen=True, kw_only=True):
    candidates: tuple[int, ...]  # that are in the reference, by their index


def record(
    artifact: Artifact,
    candidates: Sequence[Candidate],
    target: Path,
    progress: Progress,
    *,
    enough: int | None = None,
    optimized: bool = True,
) -> list[Candidate]:
    """Write a reference file of what a model computes; the candidates that are in it.

    Args:
        candidates: several of one shape are tried until one gives numbers that differ.
        enough: so many of the first are tried in any case, the others one by one until there is a result. None: all.
        optimized: False runs the graph as it stands in the file, without onnxruntime's optimizations.

    Raises:
        ModelFileError: onnxruntime cannot load the model, or run it on any of them.
        StorageError: the disk refused.
    """
    if not artifact.inputs:
        raise ModelFileError(
            f"{artifact.path} has no inputs: its outputs can be held against nothing.", "Explain or profile it."
        )
    with tempfile.TemporaryDirectory(prefix="edgeprof-") as scratch:
        feeds = Path(scratch) / "feeds.npz"
        samples.write(feeds, (candidate.feeds for candidate in candidates))
        request = BaselineRequest(
            model=artifact.path,
            inputs=artifact.inputs,
            outputs=artifact.outputs,
            cases=tuple(candidate.case for candidate in candidates),
            feeds=str(feeds),
            enough=len(candidates) if enough is None else enough,
            optimized=optimized,
            reference=str(target),
        )
        recorded = process.call("edgeprof.stages.onnx_reference", request, Recorded, progress=progress)
    return [candidates[index] for index in recorded.candidates]


# --- in the child ------------------------------------------------------------------------------------------


class Worth(IntEnum):
    """What a run says of a model."""

    CONTRADICTS = 0  # shapes are not those that the file declares: a batch that is baked in
    NOTHING = 1  # an output has no finite number
    LITTLE = 2  # every output is the same number over and over
    ENOUGH = 3


class Result(NamedTuple):
    candidate: int
    worth: Worth
    feeds: Arrays
    outputs: Arrays


def run(request: BaselineRequest, progress: Progress) -> Recorded:
    progress("running the source", None)
    session = open_session(request.model, optimized=request.optimized)
    found: dict[Case, Result] = {}
    problems: list[str] = []
    for index, (case, feeds) in enumerate(zip(request.cases, samples.read(request.feeds), strict=True)):
        best = max((result.worth for result in found.values()), default=Worth.CONTRADICTS)
        settled = case in found and found[case].worth == Worth.ENOUGH
        if settled or (index >= request.enough and best > Worth.NOTHING):
            continue
        try:
            with ort_errors(EdgeprofError):
                result = _result(session, request, index, feeds)
        except EdgeprofError as problem:
            tokens = f", tokens {case.tokens}" if case.tokens else ""
            problems.append(f"at batch {case.batch}{tokens}: {problem.what}")
            continue
        if case not in found or result.worth > found[case].worth:
            found[case] = result
    if not found:
        raise ModelFileError(
            f"{request.model} runs on none of {len(request.cases)} made-up inputs; {problems[0]}.",
            "Give sizes or inputs that it takes, with --seq, --dim or --input.",
        )
    least = min(max(result.worth for result in found.values()), Worth.LITTLE)
    kept = {case: result for case, result in found.items() if result.worth >= least}
    with writing(Path(request.reference)):
        reference.save(Path(request.reference), [(case, one.feeds, one.outputs) for case, one in kept.items()])
    return Recorded(candidates=tuple(result.candidate for result in kept.values()))


def _result(session: onnxruntime.InferenceSession, request: BaselineRequest, index: int, feeds: Arrays) -> Result:
    names = [output.name for output in session.get_outputs()]
    outputs = session.run(names, converted(session, feeds))
    arrays = reference.named(names, outputs)
    fits = _fits(request, feeds, dict(zip(names, outputs, strict=True)))
    return Result(index, _worth(arrays) if fits else Worth.CONTRADICTS, feeds, arrays)


def _fits(request: BaselineRequest, feeds: Arrays, outputs: dict[str, Any]) -> bool:
    """Whether outputs have the shapes that the file declares for these inputs."""
    known = sizes(request.inputs, feeds)
    for spec in request.outputs:
        array = outputs.get(spec.name)
        if spec.kind != "tensor" or not isinstance(array, np.ndarray) or array.ndim != len(spec.dims):
            continue
        wanted = [expected_size(dim, known) for dim in spec.dims]
        if any(size not in (None, there) for size, there in zip(wanted, array.shape, strict=True)):
            return False
    return True


def _worth(outputs: Arrays) -> Worth:
    numbers = [array for array in outputs.values() if array.dtype.kind in "fc" and array.size]
    if any(not np.isfinite(array).any() for array in numbers):
        return Worth.NOTHING
    several = [array for array in numbers if array.size > 1]
    if several and all(np.nanmin(array) == np.nanmax(array) for array in several):
        return Worth.LITTLE
    return Worth.ENOUGH


if __name__ == "__main__":
    process.serve(run, BaselineRequest)
