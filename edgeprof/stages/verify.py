"""Compare an ONNX file with the reference values that PyTorch computed; every artifact is checked. Needs no torch.

Run as a module, this file is the child process, so that a graph that crashes the runtime crashes nothing else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from edgeprof import process
from edgeprof.errors import VerificationError
from edgeprof.families.base import Arrays
from edgeprof.process import LOCAL, Executor, Progress
from edgeprof.providers.ort_errors import ort_errors
from edgeprof.providers.session import converted, open_session
from edgeprof.recipe_table import recipe_of
from edgeprof.schema import Artifact, Case, Check, Graph, Precision, Record, Role, TensorSpec
from edgeprof.similarity import cosine, flat_doubles
from edgeprof.stages import generation, reference
from edgeprof.store import graph_file, reference_file

if TYPE_CHECKING:
    import onnxruntime


class VerifyRequest(Record, frozen=True, kw_only=True):
    model: str
    reference: str
    inputs: tuple[TensorSpec, ...]
    tolerance: float | None  # None: differences are recorded; only wrong shapes and non-finite values fail
    against: str = "PyTorch"  # the source of the reference values
    shared_cache: bool = False  # whether one buffer may be past and present of the graph's KV cache
    holes: bool = False  # whether they may be infinite or NaN in places, which are not compared
    advice: str = "Export it with another --opset."  # what to do on failure


class Verified(Record, frozen=True, kw_only=True):
    checks: tuple[Check, ...]


def tolerance(precision: Precision) -> float | None:
    """The largest difference to PyTorch's outputs, relative to the largest value of an output (or 1, if that is more).

    None: differences are recorded, and only nonsense fails.
    """
    row = recipe_of(precision)
    return row.torch_tolerance if row else None


def verify(artifact: Artifact, progress: Progress, executor: Executor = LOCAL) -> Artifact:
    """Add a check per reference shape to the graphs of an artifact.

    Raises:
        VerificationError, ModelFileError: as `checks_of`.
    """
    return artifact.with_graphs(
        replace(one, checks=checks_of(one, artifact.precision, progress, executor=executor)) for one in artifact.graphs
    )


def checks_of(
    graph: Graph, precision: Precision, progress: Progress, *, model: Path | None = None, executor: Executor = LOCAL
) -> tuple[Check, ...]:
    """Compare the outputs of a graph with its reference values, at each of their shapes.

    fp32 has to agree within its tolerance. Quantized files are compared with the same values and the differences
    recorded; they fail when an output has a different shape, or is not finite where the reference is.

    Args:
        model: a file to compare in place of the graph's own.

    Raises:
        VerificationError: an output differs, naming shape and difference; or a dynamic dimension became fixed.
        ModelFileError: onnxruntime cannot load the file.
    """
    allowed = tolerance(precision)
    request = VerifyRequest(
        model=str(model or graph.path),
        reference=str(reference_file(graph)),
        inputs=graph.inputs,
        tolerance=allowed,
        shared_cache=graph.shared_cache,
        holes=allowed is None,
        advice="Try a different recipe." if allowed is None else "Export it with another --opset.",
    )
    return process.call("edgeprof.stages.verify", request, Verified, progress=progress, executor=executor).checks


def compare_with(
    graph: Graph, precision: Precision, values: Path, against: str, advice: str, progress: Progress
) -> tuple[Check, ...]:
    """Compare the outputs of a graph with any reference values; as `checks_of`.

    Args:
        values: a reference file.
        against: the source of the values, for messages.
        advice: what to do on failure, for messages.
    """
    request = VerifyRequest(
        model=graph.path,
        reference=str(values),
        inputs=graph.inputs,
        tolerance=tolerance(precision),
        against=against,
        holes=True,
        advice=advice,
    )
    return process.call("edgeprof.stages.verify", request, Verified, progress=progress).checks


# --- in the child ------------------------------------------------------------------------------------------


def run(request: VerifyRequest, progress: Progress) -> Verified:
    progress("loading into onnxruntime", 0.0)
    session = open_session(request.model)
    _require_dynamic(session, request)
    checks = []
    for case, feeds, expected in reference.read(Path(request.reference)):
        progress(f"comparing at batch {case.batch}, tokens {case.tokens}, past {case.past_tokens}", None)
        checks.append(_check(session, case, feeds, expected, request))
    if not checks:
        raise VerificationError(f"{request.reference} holds no cases.", "Export the model again with --force.")
    tokens = reference.greedy(Path(request.reference)) if request.tolerance is not None else {}
    if tokens:
        progress("generating", None)
        generation.check(_graphs(session, tokens, request), tokens, request.shared_cache, request.advice)
    return Verified(checks=tuple(checks))


def _graphs(
    session: onnxruntime.InferenceSession, tokens: Arrays, request: VerifyRequest
) -> dict[str, onnxruntime.InferenceSession]:
    """The graphs that generate together, by role: those that lie beside the reference values, and last the session."""
    roles: list[Role] = tokens["graphs"].tolist() if "graphs" in tokens else ["model"]
    *others, own = roles
    folder = Path(request.reference).parent
    return {role: open_session(str(graph_file(folder, role))) for role in others} | {own: session}


def _require_dynamic(session: onnxruntime.InferenceSession, request: VerifyRequest) -> None:
    shapes = {value.name: value.shape for value in session.get_inputs()}
    for spec in request.inputs:
        dims = shapes.get(spec.name)
        if dims is None:
            raise VerificationError(
                f"Input {spec.name} is missing from {request.model}.", "Report this, with the model."
            )
        for symbol, dim in zip(spec.dims, dims, strict=spec.kind == "tensor"):  # it knows no shapes of sequences
            if isinstance(symbol, str) and isinstance(dim, int):
                raise VerificationError(
                    f"Dimension '{symbol}' of {spec.name} became fixed at {dim} in {request.model}.", request.advice
                )


def _check(
    session: onnxruntime.InferenceSession, case: Case, feeds: Arrays, expected: Arrays, request: VerifyRequest
) -> Check:
    shape = f"batch {case.batch}, tokens {case.tokens}, past {case.past_tokens}"
    names = [output.name for output in session.get_outputs()]
    with ort_errors(lambda reason: VerificationError(f"The model does not run at {shape}: {reason}.", request.advice)):
        outputs = reference.named(names, session.run(names, converted(session, feeds)))
    worst, least, notes = 0.0, 1.0, []
    for name, theirs in expected.items():
        ours = outputs.get(name)
        if ours is None or ours.shape != theirs.shape:
            what = "is missing" if ours is None else f"has shape {ours.shape}, not {theirs.shape},"
            raise VerificationError(f"Output {name} {what} at {shape}.", request.advice)
        if theirs.dtype.kind not in "fc":
            notes += _differing(name, theirs, ours, shape, request)
            continue
        finite = np.isfinite(theirs) if request.holes else ~np.isnan(theirs)  # NaN: anything may be there
        if np.isinf(theirs[finite]).any():
            raise VerificationError(f"Output {name} of {request.against} is infinite at {shape}.", request.advice)
        if not np.isfinite(ours[finite]).all():
            raise VerificationError(f"Output {name} is not finite at {shape}.", request.advice)
        if theirs.size and not finite.any():
            notes.append(f"{name} has no finite number in fp32")
            continue
        error, similarity = _distance(name, theirs[finite], ours[finite], shape, request)
        worst, least = max(worst, error), min(least, similarity)
    return Check(case=case, max_abs_error=worst, cosine=least, notes=tuple(notes), against=request.against)


def _differing(
    name: str, theirs: np.ndarray[Any, Any], ours: np.ndarray[Any, Any], shape: str, request: VerifyRequest
) -> list[str]:
    """Compare values that are not floating-point (an index, a label): they are equal or not."""
    count = int((ours != theirs).sum())
    if count and request.tolerance is not None:
        raise VerificationError(
            f"Output {name} differs from {request.against} in {count} of {theirs.size} values at {shape}.",
            request.advice,
        )
    return [f"{name} differs in {count} of {theirs.size} values"] if count else []


def _distance(
    name: str, theirs: np.ndarray[Any, Any], ours: np.ndarray[Any, Any], shape: str, request: VerifyRequest
) -> tuple[float, float]:
    """The largest difference, and the cosine."""
    error = float(np.max(np.abs(ours - theirs), initial=0.0))
    scale = max(1.0, float(np.max(np.abs(theirs), initial=0.0)))
    allowed = None if request.tolerance is None else request.tolerance * scale
    if allowed is not None and error > allowed:
        raise VerificationError(
            f"Output {name} differs from {request.against} by {error:.3g} at {shape} (allowed: {allowed:.3g}).",
            request.advice,
        )
    return error, float(cosine(flat_doubles(ours), flat_doubles(theirs)))


if __name__ == "__main__":
    process.serve(run, VerifyRequest)
