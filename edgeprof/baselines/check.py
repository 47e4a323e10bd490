"""The worker that checks a baseline: does it compute what onnxruntime computes (`python -m edgeprof.baselines.check`)?

It runs apart from all timed visits, with the inputs of the point: first the baseline, then onnxruntime.
"""

from msgspec.structs import replace

from edgeprof import kv_cache
from edgeprof.baselines.engine import engine_of
from edgeprof.measure.io_binding import Binding
from edgeprof.measure.output_tolerance import agreement
from edgeprof.measure.worker import running
from edgeprof.process import Progress, serve
from edgeprof.providers.session import open_request
from edgeprof.recipe_table import recipe_of
from edgeprof.schema import CPU, Agreement, InputValue, Precision, Record, Request

LOSSY = 0.5
"""How far outputs may be where a baseline has quantized weights of its own: what they lose is part of the difference.

Seen with random weights: 0.02 in q8_0 and 0.25 in q4_0; another model's outputs differ by 1 and more.
"""


HALF_CACHE = 1e-2
"""How far outputs may be where a baseline keeps its cache in fp16, as llama.cpp does: 0.0006 was seen."""


class CheckRequest(Record, frozen=True, kw_only=True):
    request: Request  # of the baseline
    original: Request  # of the artifact's graph, on the CPU provider
    precision: Precision  # it decides how far outputs may differ


def check(task: CheckRequest, _progress: Progress) -> Agreement:
    """How far the outputs of a baseline are from onnxruntime's.

    Raises:
        EdgeprofError: one of them does not run the model.
    """
    engine = engine_of(task.request.target)
    inputs = engine.compared(task.request.inputs)
    room = _tokens(inputs) if task.original.shared_tokens else 0
    original = replace(task.original, inputs=inputs, shared_tokens=room)
    model = engine(replace(task.request, inputs=inputs))
    with model.running():
        model.feed()
        outputs = model.outputs()
    del model
    with running(original):
        binding = Binding(open_request(original), CPU, inputs, shared_tokens=room)
        binding.run()
        expected = binding.outputs()
    compared = {name: array for name, array in expected.items() if name in outputs}
    agreed = agreement(outputs, compared, task.request.target, task.precision)
    if not task.request.target.library:
        return agreed
    least = LOSSY if recipe_of(task.precision) is None else HALF_CACHE
    return replace(agreed, tolerance=max(agreed.tolerance, least))


def _tokens(inputs: tuple[InputValue, ...]) -> int:
    """Past and new tokens together: what a cache holds after a run."""
    past = next((value.shape[kv_cache.TOKENS] for value in inputs if kv_cache.is_past(value.name)), 0)
    return past + next(value.shape[1] for value in inputs if value.name == "input_ids")


if __name__ == "__main__":
    serve(check, CheckRequest)
