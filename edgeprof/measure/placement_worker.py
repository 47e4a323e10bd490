"""The worker that reports placement: where a model's nodes run, and whether the result agrees with the CPU's
(`python -m edgeprof.measure.placement_worker`).

Apart from all timed visits: it logs and profiles, and afterwards runs the original file on the CPU provider, at the
same inputs. Its exit, not its time, tells of a provider that crashes.
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
from edgeprof.providers.placement import Node
from edgeprof.providers.session import open_request
from edgeprof.schema import CPU, Agreement, InputValue, Placement, Precision, Record, Request

if TYPE_CHECKING:
    import onnx
    from onnxruntime import InferenceSession


class PlacingRequest(Record, frozen=True, kw_only=True):
    request: Request
    original: Request  # of the file that the graph for the provider was made from, on the CPU provider
    precision: Precision  # of the artifact: what the outputs may differ by
    written_out: dict[str, int] = {}  # noqa: RUF012  (msgspec copies defaults)


class PlacingReading(Record, frozen=True, kw_only=True):
    placement: Placement
    agreement: Agreement | None = None  # none where the provider has no node, or the CPU provider cannot run the file
    load_s: float  # with what a provider compiles at load
    problem: str = ""  # the first error that was logged, where the provider has no node


def place(asked: PlacingRequest, _progress: Progress) -> PlacingReading:
    """Load, see who has what, run, and compare with the CPU provider.

    Raises:
        ModelFileError, UsageError, EdgeprofError: as the measuring child.
    """
    with tempfile.TemporaryDirectory(prefix="edgeprof-") as folder:
        model = counting.read(Path(asked.request.model))
        request, moment = named(asked.request, model, Path(folder) / "named.onnx"), ort_messages.mark()
        start = time.perf_counter()
        session = open_request(request, profile=str(Path(folder) / "run"), record_assignment=True, verbose=True)
        load_s = time.perf_counter() - start
        nodes, said = placement.assigned(session), ort_messages.since(moment)
        outputs: dict[str, Any] = {}
        ran: list[Node] = []
        if any(node.provider == request.target.runtime_name for node in nodes):
            outputs = run(session, request, held(request.inputs, asked.original.inputs))
            ran = ran_in(Path(session.end_profiling()).read_bytes())
        del session
        agreed = compare(outputs, asked) if outputs else None
    found = placement.placement(request.target, nodes, ran, macs(model, request), said, asked.written_out)
    problem = next(iter(ort_messages.errors(said)), "") if not found.placed[0].nodes else ""
    return PlacingReading(placement=found, agreement=agreed, load_s=load_s, problem=problem)


def held(inputs: Sequence[InputValue], growing: Sequence[InputValue]) -> dict[str, Any]:
    """The original's values in the shapes that a graph of one shape takes: what is cached comes first, then zeros."""
    import numpy as np

    originals, made = {value.name: value for value in growing}, {}
    for value in inputs:
        original = originals[value.name]
        if value.shape != original.shape:
            smaller = tensors.make(original)
            made[value.name] = np.zeros(value.shape, smaller.dtype)
            made[value.name][tuple(map(slice, original.shape))] = smaller
    return made


def run(session: "InferenceSession", request: Request, given: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of a run as it is timed: the second, into memory that the first one left."""
    with running(request):
        binding = Binding(session, request.target, request.inputs, given)
        binding.first_run(request.in_place)
        binding.run()
        return binding.outputs()


def ran_in(profile: bytes) -> list[Node]:
    """The nodes of the last run in a profile, as they ran."""
    events = last_runs(profile, 1)[0]
    return [Node(event.args.provider, event.args.op_name, event.name.removesuffix(NODE_END)) for event in events]


def named(request: Request, model: "onnx.ModelProto", file: Path) -> Request:
    """The request for a copy in which every node has a name of its own, where some have none; nothing else differs."""
    names = [node.name for node in model.graph.node]
    if all(names) and len(set(names)) == len(names):
        return request
    for index, node in enumerate(model.graph.node):
        node.name = f"node_{index}"
    file.write_bytes(model.SerializeToString())
    folder = request.weights_folder or str(Path(request.model).parent)
    return replace(request, model=str(file), weights_folder=folder)


def macs(model: "onnx.ModelProto", request: Request) -> dict[str, int] | None:
    """Of every node, by name; None where some cannot be counted."""
    costs = counting.count(model, {value.name: value.shape for value in request.inputs})
    return None if costs.uncounted else {node.name: node.macs for node in costs.nodes}


def compare(outputs: Mapping[str, Any], asked: PlacingRequest) -> Agreement | None:
    """With what the CPU provider makes of the original file."""
    try:
        with running(asked.original):
            binding = Binding(open_request(asked.original), CPU, asked.original.inputs)
            binding.run()
            expected = binding.outputs()
    except (EdgeprofError, MemoryError):  # the CPU provider lacks an operator or a type: nothing to compare with
        return None
    return agreement(outputs, expected, asked.request.target, asked.precision)


if __name__ == "__main__":
    serve(place, PlacingRequest)
