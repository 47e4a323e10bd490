"""The worker that reports placement: where a model's nodes run, and whether the result agrees with the CPU's
(`python -m edgeprof.measure.placement_worker`).

It runs apart from all timed visits: it logs and profiles, and then runs the original file on the CPU provider, with the
same inputs. A provider that crashes ends it.
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from edgeprof import counting
from edgeprof.errors import EdgeprofError
from edgeprof.inputs import tensors
from edgeprof.measure.io_binding import Binding
from edgeprof.measure.operator_worker import NODE_END, last_runs
from edgeprof.measure.output_tolerance import agreement
from edgeprof.measure.worker import running
from edgeprof.process import Progress, serve
from edgeprof.providers import ort_messages, placement
from edgeprof.providers.placement import PlacedNode
from edgeprof.providers.session import open_request
from edgeprof.schema import CPU, Agreement, InputValue, Placement, Precision, Record, Request

if TYPE_CHECKING:
    import onnx
    from onnxruntime import InferenceSession


class PlacementRequest(Record, frozen=True, kw_only=True):
    request: Request
    original: Request  # of the file that the graph for the provider was made from, on the CPU provider
    precision: Precision  # of the artifact: it decides how far outputs may differ
    written_out: dict[str, int] = {}  # noqa: RUF012  (msgspec copies defaults)


class PlacementReading(Record, frozen=True, kw_only=True):
    placement: Placement
    agreement: Agreement | None = None  # None: the provider has no node, or the CPU provider cannot run the file
    load_s: float  # including what the provider compiles at load
    problem: str = ""  # the first error in the log, where the provider has no node


def place(task: PlacementRequest, _progress: Progress) -> PlacementReading:
    """Load, read the placement, run, and compare with the CPU provider.

    Raises:
        ModelFileError, UsageError, EdgeprofError: as the latency worker.
    """
    with tempfile.TemporaryDirectory(prefix="edgeprof-") as folder:
        model = counting.read(Path(task.request.model))
        request = with_node_names(task.request, model, Path(folder) / "named.onnx")
        moment = ort_messages.mark()
        start = time.perf_counter()
        session = open_request(request, profile=str(Path(folder) / "run"), record_assignment=True, verbose=True)
        load_s = time.perf_counter() - start
        nodes, log = placement.assigned(session), ort_messages.since(moment)
        outputs: dict[str, Any] = {}
        ran: list[PlacedNode] = []
        if any(node.provider == request.target.runtime_name for node in nodes):
            outputs = run(session, request, padded(request.inputs, task.original.inputs))
            ran = nodes_run(Path(session.end_profiling()).read_bytes())
        del session
        agreed = compare(outputs, task) if outputs else None
    placed = placement.placement(request.target, nodes, ran, macs(model, request), log, task.written_out)
    problem = next(iter(ort_messages.errors(log)), "") if not placed.placed[0].nodes else ""
    return PlacementReading(placement=placed, agreement=agreed, load_s=load_s, problem=problem)


def padded(inputs: Sequence[InputValue], originals: Sequence[InputValue]) -> dict[str, Any]:
    """The original's values in the shapes of a static graph: what is cached comes first, then zeros."""
    import numpy as np

    original_of = {value.name: value for value in originals}
    arrays: dict[str, Any] = {}
    for value in inputs:
        original = original_of[value.name]
        if value.shape != original.shape:
            smaller = tensors.make(original)
            arrays[value.name] = np.zeros(value.shape, smaller.dtype)
            arrays[value.name][tuple(map(slice, original.shape))] = smaller
    return arrays


def run(session: "InferenceSession", request: Request, given: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of a second run, into memory that the first one allocated, as in timed runs."""
    with running(request):
        binding = Binding(session, request.target, request.inputs, given, request.shared_tokens)
        binding.first_run(request.in_place)
        binding.run()
        return binding.outputs()


def nodes_run(profile: bytes) -> list[PlacedNode]:
    """The nodes of the last run in a profile, in the order in which they ran."""
    events = last_runs(profile, 1)[0]
    return [PlacedNode(event.args.provider, event.args.op_name, event.name.removesuffix(NODE_END)) for event in events]


def with_node_names(request: Request, model: "onnx.ModelProto", file: Path) -> Request:
    """The request, for a copy of the model in which nodes have unique names if some have none; all else is equal."""
    names = [node.name for node in model.graph.node]
    if all(names) and len(set(names)) == len(names):
        return request
    for index, node in enumerate(model.graph.node):
        node.name = f"node_{index}"
    file.write_bytes(model.SerializeToString())
    folder = request.weights_folder or str(Path(request.model).parent)
    return replace(request, model=str(file), weights_folder=folder)


def macs(model: "onnx.ModelProto", request: Request) -> dict[str, int] | None:
    """MACs of every node by name; None where some cannot be counted."""
    costs = counting.count(model, {value.name: value.shape for value in request.inputs})
    return None if costs.uncounted else {node.name: node.macs for node in costs.nodes}


def compare(outputs: Mapping[str, Any], task: PlacementRequest) -> Agreement | None:
    """How far outputs are from the CPU provider's, of the original file."""
    try:
        with running(task.original):
            binding = Binding(open_request(task.original), CPU, task.original.inputs)
            binding.run()
            expected = binding.outputs()
    except EdgeprofError:  # the CPU provider lacks an operator or a type: nothing to compare with
        return None
    return agreement(outputs, expected, task.request.target, task.precision)


if __name__ == "__main__":
    serve(place, PlacementRequest)
