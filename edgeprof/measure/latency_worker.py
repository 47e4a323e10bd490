"""The worker that measures latency: one model, one load, one process (`python -m edgeprof.measure.latency_worker`).

Everything a run needs is created before it: inputs are bound as OrtValues, and the runs after the first write into the
outputs that it allocated, so that the timed loop only runs the model.
"""

from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

from edgeprof.errors import EdgeprofError
from edgeprof.measure import canary, device_memory, memory, sampling
from edgeprof.measure.io_binding import Binding
from edgeprof.measure.timed_visit import CANARIES_FROM_S, visit
from edgeprof.measure.worker import running, undisturbed
from edgeprof.process import Progress, serve
from edgeprof.providers import placement
from edgeprof.providers.session import open_request
from edgeprof.schema import Canaries, Reading, Request

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def measure(request: Request, _progress: Progress) -> Reading:
    """Load, warm up, time. Progress is not sent: it would wake the parent, on the cores that are being measured.

    Raises:
        ModelFileError: onnxruntime refuses the model.
        UsageError: an input file does not fit.
        EdgeprofError: the model does not run, or a library that would disturb the measurement is loaded.
    """
    with undisturbed(request):
        return visit(request, partial(OnnxModel, request), _canaries)


class OnnxModel:
    """A session, and from `feed` on what it reads and writes."""

    def __init__(self, request: Request, *, alone: bool = True) -> None:
        self.request = request
        self.session = open_request(request, record_assignment=not request.target.is_cpu, alone=alone)

    def active(self) -> tuple[str, ...]:
        return tuple(self.session.get_providers())

    def device_bytes(self) -> int | None:
        return device_memory.used(self.request.target)

    def running(self) -> AbstractContextManager[None]:
        return running(self.request)

    def feed(self) -> None:
        request = self.request
        require_share(self.session, request)
        self.binding = Binding(self.session, request.target, request.inputs, shared_tokens=request.shared_tokens)

    def first_run(self) -> float:
        return self.binding.first_run(self.request.in_place)

    def warm_up(self) -> tuple[sampling.Run, int]:
        return self.binding.warm_up()


def _canaries(request: Request) -> tuple[Canaries, ...]:
    """A reading of the canaries; none in a visit so short that they would be most of it, or where the memory that they
    take would count as the model's."""
    if request.memory_limited or request.stopping.min_time_s < CANARIES_FROM_S or not memory.reset_peak():
        return ()
    reading = canary.read(request.threads)
    memory.reset_peak()
    return (reading,)


def require_share(session: "InferenceSession", request: Request) -> None:
    """Check that the provider has as many nodes as in the placement, which was read in another process.

    Raises:
        EdgeprofError: it has none, or more or fewer.
    """
    target = request.target
    if target.is_cpu:
        return
    nodes = sum(node.provider == target.runtime_name for node in placement.assigned(session))
    if not nodes or (request.nodes and nodes != request.nodes):
        expected = str(request.nodes) if request.nodes else "any"
        raise EdgeprofError(f"{target.provider} was assigned {nodes} nodes of {request.model}, not {expected}.")


if __name__ == "__main__":
    serve(measure, Request)
