"""Simplify a graph with onnxsim, without its weights; the result is kept only if it is correct and no larger.

During simplification weights are inputs: onnxsim then takes a fraction of a second at any size, and can neither copy
nor fold them (folding the transpose of a tied embedding makes GPT-2 154 MB larger).

Run as a module, this file is the child process.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgeprof import process
from edgeprof.errors import EdgeprofError, VerificationError, first_line
from edgeprof.process import LOCAL, Executor, Progress
from edgeprof.schema import Artifact, Graph, GraphCount, Precision, Record, StageReceipt
from edgeprof.stages import graph
from edgeprof.stages.verify import checks_of

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

CANDIDATE_FILE = "simplified.onnx"


class SimplifyRequest(Record, frozen=True, kw_only=True):
    model: str
    candidate: str


class Simplified(Record, frozen=True, kw_only=True):
    count: GraphCount


def simplify(artifact: Artifact, progress: Progress, executor: Executor = LOCAL) -> Artifact:
    """The artifact with graphs simplified where that is an improvement, and verified either way; receipts have reasons.

    Raises:
        VerificationError: a graph was already incorrect before simplification.
    """
    return artifact.with_graphs([_simplified(one, artifact.precision, progress, executor) for one in artifact.graphs])


def _simplified(before: Graph, precision: Precision, progress: Progress, executor: Executor) -> Graph:
    started, path = time.monotonic(), Path(before.path)
    candidate = path.with_name(CANDIDATE_FILE)
    request = SimplifyRequest(model=str(path), candidate=str(candidate))
    count, reason = before.count, ""
    try:
        reply = process.call("edgeprof.stages.simplify", request, Simplified, progress=progress, executor=executor)
        count = reply.count
        if count.weights_bytes > before.count.weights_bytes + graph.INLINE_BYTES:
            grown = (count.weights_bytes - before.count.weights_bytes) / 1e6
            raise VerificationError(f"Simplification made the weights {grown:.1f} MB larger.")
        checks = checks_of(before, precision, progress, model=candidate, executor=executor)
        candidate.replace(path)
    except EdgeprofError as problem:
        candidate.unlink(missing_ok=True)
        reason = str(problem)
        checks = checks_of(before, precision, progress, executor=executor)
    receipt = StageReceipt(
        stage="simplify",
        kept=not reason,
        before=before.count,
        after=count,
        reason=reason,
        seconds=time.monotonic() - started,
    )
    return msgspec.structs.replace(
        before,
        count=before.count if reason else count,
        checks=checks,
        stages=(*before.stages, receipt),
    )


# --- in the child process ------------------------------------------------------------------------------------------


def run(request: SimplifyRequest, progress: Progress) -> Simplified:
    progress("simplifying", None)
    model = graph.load(Path(request.model))
    weights = _take_weights(model)
    simplified = _put_weights(_onnxsim(model), weights)
    graph.write_graph(simplified, Path(request.candidate))
    return Simplified(count=graph.count(simplified))


def _onnxsim(model: ir.Model) -> onnx.ModelProto:
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]  # onnxsim would import it, and does not need it
    import onnx_ir as ir
    import onnxsim

    try:
        simplified, _ = onnxsim.simplify(ir.to_proto(model))
    except (RuntimeError, ValueError, TypeError) as problem:
        raise EdgeprofError(f"onnxsim failed: {first_line(problem)}.", "The graph is kept as it is.") from problem
    return simplified  # type: ignore[no-any-return]


def _take_weights(model: ir.Model) -> dict[str, ir.Value]:
    """Turn weights into inputs of the same name, type and shape, and return them.

    Small ones, too: an untrained bias is all zeros, so its addition would be removed, unlike that of a trained one.
    """
    weights = {
        name: value
        for name, value in model.graph.initializers.items()
        if (tensor := value.const_value) is not None
        and (tensor.nbytes > graph.INLINE_BYTES or (tensor.dtype.is_floating_point() and len(tensor.shape) > 0))
    }
    for name, value in weights.items():
        del model.graph.initializers[name]
        model.graph.inputs.append(value)
    return weights


def _put_weights(proto: onnx.ModelProto, weights: dict[str, ir.Value]) -> ir.Model:
    """Turn those inputs back into initializers, where the graph still reads them."""
    import onnx_ir as ir

    model = ir.from_proto(proto)
    for value in list(model.graph.inputs):
        weight = weights.get(value.name or "")
        if weight is not None:
            model.graph.inputs.remove(value)
            if value.uses():
                value.const_value = weight.const_value
                model.graph.register_initializer(value)
    return model


if __name__ == "__main__":
    process.serve(run, SimplifyRequest)
