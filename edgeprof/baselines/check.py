"""The worker that checks a baseline: does it compute what onnxruntime computes (`python -m edgeprof.baselines.check`)?

It runs apart from all timed visits, with the inputs of the point: first the baseline, then onnxruntime.
"""

from edgeprof.baselines.engine import engine_of
from edgeprof.measure.io_binding import Binding
from edgeprof.measure.output_tolerance import agreement
from edgeprof.measure.worker import running
from edgeprof.process import Progress, serve
from edgeprof.providers.session import open_request
from edgeprof.schema import CPU, Agreement, Precision, Record, Request


class CheckRequest(Record, frozen=True, kw_only=True):
    request: Request  # of the baseline
    original: Request  # of the artifact's graph, on the CPU provider
    precision: Precision  # it decides how far outputs may differ


def check(task: CheckRequest, _progress: Progress) -> Agreement:
    """How far the outputs of a baseline are from onnxruntime's.

    Raises:
        EdgeprofError: one of them does not run the model.
    """
    model = engine_of(task.request.target)(task.request)
    with model.running():
        model.feed()
        outputs = model.outputs()
    del model
    with running(task.original):
        binding = Binding(
            open_request(task.original), CPU, task.original.inputs, shared_tokens=task.original.shared_tokens
        )
        binding.run()
        expected = binding.outputs()
    compared = {name: array for name, array in expected.items() if name in outputs}
    return agreement(outputs, compared, task.request.target, task.precision)


if __name__ == "__main__":
    serve(check, CheckRequest)
