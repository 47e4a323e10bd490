"""The worker that times single operators, one after the other (`python -m edgeprof.measure.probe_worker`).

Each has a session of its own, which is closed before the next one: the threads of a second one would spoil its time.
"""

from edgeprof.errors import EdgeprofError
from edgeprof.measure import canary, sampling
from edgeprof.measure.io_binding import Binding
from edgeprof.measure.worker import running, undisturbed
from edgeprof.process import Progress, serve
from edgeprof.providers.session import open_request
from edgeprof.schema import Request, StoppingRule, TaskReading, WorkReading, WorkRequest, WorkTask

WARM_UP = StoppingRule(min_runs=3, min_time_s=0.01, max_time_s=1.0)


def measure(request: WorkRequest, _progress: Progress) -> WorkReading:
    """Time every task, between two readings of the canaries. A task that does not run is told with its reason."""
    canaries = [canary.read(request.threads)]
    readings = [_time(task, request) for task in request.tasks]
    canaries.append(canary.read(request.threads))
    return WorkReading(tasks=tuple(readings), canaries=tuple(canaries))


def _time(task: WorkTask, request: WorkRequest) -> TaskReading:
    one = Request(model=task.model, threads=request.threads, inputs=task.inputs, stopping=request.stopping)
    try:
        with undisturbed(one):
            session = open_request(one)
            with running(one):
                binding = Binding(session, one.target, one.inputs, shared_tokens=task.shared_tokens)
                binding.first_run()
                run, _ = binding.warm_up(lambda run: len(sampling.time_runs(run, WARM_UP)))
                return TaskReading(latencies_s=sampling.time_runs(run, one.stopping))
    except EdgeprofError as problem:
        return TaskReading(error=" ".join(problem.what.split()))


if __name__ == "__main__":
    serve(measure, WorkRequest)
