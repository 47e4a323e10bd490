"""The worker that times operators: one model at one workload (`python -m edgeprof.measure.operator_worker`).

It runs with onnxruntime's profiler on, which slows every node a little: none of its times is a measurement of the
model. Afterwards the profiler is stopped, and the same session runs on without it, which shows how much of a run the
operators explain.
"""

import re
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgeprof.errors import EdgeprofError
from edgeprof.measure import sampling
from edgeprof.measure.io_binding import Binding
from edgeprof.measure.worker import running, undisturbed
from edgeprof.process import Progress, serve
from edgeprof.providers.session import open_request
from edgeprof.schema import MatrixTime, NodeTime, OperatorReading, OperatorTime, Request, StoppingRule

# The profiler writes about a kilobyte for every node of every run: a fixed number of runs, not a time, limits that.
STOPPING = StoppingRule(min_runs=20, min_time_s=0.0, max_time_s=10.0)
WARM_UP = StoppingRule(min_runs=10, min_time_s=0.0, max_time_s=3.0)

NODE_END = "_kernel_time"
RUN_END = "model_run"
CONTROL_FLOW = ("If", "Loop", "Scan")  # their time is that of the nodes inside, which have events of their own
MATRIX = re.compile("MatMul|Gemm")

Dims = dict[str, Any]
"""One tensor: {"float": [1, 128, 768]}."""


class EventArgs(msgspec.Struct):
    op_name: str = ""
    provider: str = ""
    input_type_shape: list[Dims] = []
    output_type_shape: list[Dims] = []
    parameter_size: int = 0  # bytes of constants among the inputs


class ProfileEvent(msgspec.Struct):
    """One line of onnxruntime's profile; `dur` in microseconds."""

    cat: str
    name: str
    dur: int = 0
    args: EventArgs = msgspec.field(default_factory=EventArgs)


def profile(request: Request, _progress: Progress) -> OperatorReading:
    """Load, warm up, run with the profiler, run without it.

    Raises:
        ModelFileError, UsageError, EdgeprofError: as the latency worker.
    """
    with undisturbed(request), tempfile.TemporaryDirectory(prefix="edgeprof-") as folder:
        session = open_request(request, profile=str(Path(folder) / "run"))
        with running(request):
            binding = Binding(session, request.target, request.inputs, shared_tokens=request.shared_tokens)
            binding.first_run(request.in_place)
            run, _ = binding.warm_up(lambda run: len(sampling.time_runs(run, WARM_UP)))
            profiled_s = sampling.time_runs(run, request.stopping)
            file = Path(session.end_profiling())
            latencies_s = sampling.time_runs(run, request.stopping)
        runs = last_runs(file.read_bytes(), len(profiled_s))
    operators = operator_times(runs)
    return OperatorReading(
        operators=operators,
        matrices=matrix_times(runs),
        profiled_latencies_s=profiled_s,
        latencies_s=latencies_s,
        nodes=node_times(runs, operators),
    )


def last_runs(data: bytes, count: int) -> list[list[ProfileEvent]]:
    """The nodes of each of the last runs in a profile; those before were warm-up.

    Raises:
        EdgeprofError: the profile holds fewer runs: the runtime writes a limited number of events.
    """
    try:
        events = msgspec.json.Decoder(list[ProfileEvent], strict=False).decode(data)
    except msgspec.MsgspecError as problem:
        raise EdgeprofError(f"onnxruntime's profile cannot be read: {problem}.") from problem
    runs = list(_runs(events))
    if len(runs) < count or not all(runs[-count:]):
        raise EdgeprofError("onnxruntime's profile does not hold all runs.", "Profile a smaller model.")
    return runs[-count:]


def _runs(events: Iterable[ProfileEvent]) -> Iterator[list[ProfileEvent]]:
    nodes: list[ProfileEvent] = []
    for event in events:
        if event.cat == "Node" and event.name.endswith(NODE_END) and event.args.op_name not in CONTROL_FLOW:
            nodes.append(event)
        elif event.name == RUN_END:
            yield nodes
            nodes = []


# --- sums ----------------------------------------------------------------------------------------------


def operator_times(runs: Sequence[Sequence[ProfileEvent]]) -> tuple[OperatorTime, ...]:
    """By operator type, the longest time first."""
    kinds: dict[str, list[list[int]]] = {}
    for number, run in enumerate(runs):
        for event in run:
            kinds.setdefault(event.args.op_name, [[] for _ in runs])[number].append(event.dur)
    times = [OperatorTime(operator=name, nodes=_nodes(seen), time_s=_median_s(seen)) for name, seen in kinds.items()]
    return tuple(sorted(times, key=lambda time: -time.time_s))


def node_times(runs: Sequence[Sequence[ProfileEvent]], operators: Sequence[OperatorTime]) -> tuple[NodeTime, ...]:
    """Of every node its share of its operator's time, over all runs: one run counts in microseconds."""
    taken: dict[tuple[str, str], int] = {}
    for event in (event for run in runs for event in run):
        key = event.args.op_name, event.name.removesuffix(NODE_END)
        taken[key] = taken.get(key, 0) + event.dur
    of_operator: dict[str, int] = {}
    for (operator, _), dur in taken.items():
        of_operator[operator] = of_operator.get(operator, 0) + dur
    times = {time.operator: time.time_s for time in operators}
    return tuple(
        NodeTime(name=name, operator=operator, time_s=times[operator] * dur / (of_operator[operator] or 1))
        for (operator, name), dur in taken.items()
    )


def matrix_times(runs: Sequence[Sequence[ProfileEvent]]) -> tuple[MatrixTime, ...]:
    """Matrix products by operator and shape, the longest time first."""
    kinds: dict[tuple[Any, ...], list[list[int]]] = {}
    for number, run in enumerate(runs):
        for event in run:
            shape = _shape(event.args) if MATRIX.search(event.args.op_name) else None
            if shape:
                kinds.setdefault((event.args.op_name, *shape), [[] for _ in runs])[number].append(event.dur)
    fields = ("operator", "dtype", "inner", "columns", "second")
    times = [
        MatrixTime(**dict(zip(fields, kind, strict=True)), nodes=_nodes(seen), time_s=_median_s(seen))
        for kind, seen in kinds.items()
    ]
    return tuple(sorted(times, key=lambda time: -time.time_s))


def _nodes(seen: Sequence[Sequence[int]]) -> int:
    return round(statistics.median(map(len, seen)))


def _median_s(seen: Sequence[Sequence[int]]) -> float:
    return statistics.median(map(sum, seen)) / 1e6


def _shape(args: EventArgs) -> tuple[str, int, int, str] | None:
    """Type and columns of the first factor, columns of the result, and what the second factor is.

    A constant factor that was packed at load is not among the inputs any more.
    """
    first, result = (_tensor(tensors, 0) for tensors in (args.input_type_shape, args.output_type_shape))
    if not first or not result or not first[1] or not result[1]:
        return None
    second = _tensor(args.input_type_shape, 1)
    inner, columns = first[1][-1], result[1][-1]
    elements = inner * columns
    if second is None or len(second[1]) < 2 or args.parameter_size >= elements / 2:
        what = "constant"  # at four bits a parameter takes half a byte
    else:
        what = "computed" if len(second[1]) == 2 else "activation"
    return first[0], inner, columns, what


def _tensor(tensors: Sequence[Dims], at: int) -> tuple[str, list[int]] | None:
    if at >= len(tensors):
        return None
    return next(((kind, dims) for kind, dims in tensors[at].items() if isinstance(dims, list)), None)


if __name__ == "__main__":
    serve(profile, Request)
