"""Which random inputs give a result: a run with each, in one process (`python -m edgeprof.measure.trial_worker`)."""

from typing import TYPE_CHECKING, Any

from edgeprof.errors import EdgeprofError
from edgeprof.measure.io_binding import Binding
from edgeprof.process import Progress, serve
from edgeprof.providers.ort_errors import ort_errors
from edgeprof.providers.session import open_session
from edgeprof.schema import CPU, InputValue, Record

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class TrialRequest(Record, frozen=True, kw_only=True):
    model: str
    candidates: tuple[tuple[InputValue, ...], ...]  # of all inputs; the first that gives a result is chosen


class TrialResult(Record, frozen=True, kw_only=True):
    chosen: int  # index of a candidate; 0 if none gives a result
    problem: str = ""  # with the result of the first candidate, if none gives one


def run(request: TrialRequest, _progress: Progress) -> TrialResult:
    session = open_session(request.model)
    problems = []
    for index, values in enumerate(request.candidates):
        problem = _problem(session, values)
        if not problem:
            return TrialResult(chosen=index)
        problems.append(problem)
    return TrialResult(chosen=0, problem=problems[0])


def _problem(session: "InferenceSession", values: tuple[InputValue, ...]) -> str:
    """Why these values give no meaningful result; "" where they do."""
    try:
        with ort_errors(EdgeprofError):
            binding = Binding(session, CPU, values)
            binding.run()
            outputs = list(binding.outputs().values())
    except EdgeprofError as problem:
        return problem.what.rstrip(".")
    return problem_of(outputs)


def problem_of(outputs: list[Any]) -> str:
    """What is wrong with outputs; "" where all numbers are finite and some differ from each other.

    >>> import numpy as np
    >>> problem_of([np.array([1.0, 2.0])]), problem_of([np.array([1.0, np.nan])]), problem_of([np.zeros(3)])
    ('', 'outputs are not finite', 'outputs are all the same number')
    """
    import numpy as np

    arrays = [array for array in outputs if isinstance(array, np.ndarray) and array.dtype.kind in "fc"]
    if not all(np.isfinite(array).all() for array in arrays):
        return "outputs are not finite"
    several = [array for array in arrays if array.size > 1]
    if several and all((array == array.flat[0]).all() for array in several):
        return "outputs are all the same number"
    return ""


if __name__ == "__main__":
    serve(run, TrialRequest)
