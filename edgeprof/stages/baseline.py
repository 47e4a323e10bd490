"""Reference values of a file that nobody here exported: what it computes itself, before anything is done to it.

Run as a module, this file is the process that does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgeprof import process
from edgeprof.errors import ModelFileError
from edgeprof.families.base import Arrays
from edgeprof.process import Progress
from edgeprof.providers import heard
from edgeprof.providers.session import open_session
from edgeprof.schema import Case, Record
from edgeprof.stages import reference


class BaselineRequest(Record, frozen=True, kw_only=True):
    model: str
    reference: str  # holds the inputs; outputs are added to it


class Recorded(Record, frozen=True, kw_only=True):
    cases: int


def record(model: Path, feeds: Mapping[Case, Arrays], target: Path, progress: Progress) -> None:
    """Write a reference file of what a model computes from `feeds`.

    Raises:
        ModelFileError: onnxruntime cannot load the model, or run it on one of them.
        StorageError: the disk refused.
    """
    reference.save(target, [(case, arrays, {}) for case, arrays in feeds.items()])
    request = BaselineRequest(model=str(model), reference=str(target))
    process.call("edgeprof.stages.baseline", request, Recorded, progress=progress)


# --- in the child ------------------------------------------------------------------------------------------


def run(request: BaselineRequest, progress: Progress) -> Recorded:
    progress("running the fp32 model", None)
    session = open_session(request.model)
    names = [output.name for output in session.get_outputs()]
    cases = []
    for case, feeds, _ in reference.read(Path(request.reference)):
        try:
            outputs = session.run(names, feeds)
        except Exception as problem:  # onnxruntime's errors share no base class
            raise ModelFileError(
                f"{request.model} does not run at batch {case.batch}, tokens {case.tokens}: {heard.reason(problem)}.",
                "Check where it came from.",
            ) from problem
        cases.append((case, feeds, dict(zip(names, outputs, strict=True))))
    reference.save(Path(request.reference), cases)
    return Recorded(cases=len(cases))


if __name__ == "__main__":
    process.serve(run, BaselineRequest)
