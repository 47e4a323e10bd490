"""The worker that generates: a prompt, then token by token, greedily, with the cache kept bound.

What one run writes of the cache the next one reads, with no copy in between: a buffer of both, or the outputs.
"""

import time
from array import array
from typing import TYPE_CHECKING, Any

from edgeprof import kv_cache
from edgeprof.inputs import tensors
from edgeprof.measure.worker import running, undisturbed
from edgeprof.process import Progress, serve
from edgeprof.providers.session import open_request
from edgeprof.schema import GenerationReading, InputValue, Request

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession, OrtValue

WARM_TOKENS = 4


def generate(request: Request, _progress: Progress) -> GenerationReading:
    """Load, generate a few tokens, then as many as the stopping rule of the request says, timed.

    The prompt is as long as the cache of the request.

    Raises:
        ModelFileError, UsageError, EdgeprofError: as the latency worker.
    """
    tokens = request.stopping.min_runs
    with undisturbed(request):
        session = open_request(request)
        with running(request):
            Loop(session, request).generate(min(tokens, WARM_TOKENS))
            return Loop(session, request).generate(tokens)


class Loop:
    """The state of a generation: the cache, and how many tokens it holds."""

    def __init__(self, session: "InferenceSession", request: Request) -> None:
        import numpy as np

        self.session, self.binding = session, session.io_binding()
        self.inputs = {value.name: value for value in request.inputs}
        caches = [value for value in request.inputs if kv_cache.is_past(value.name)]
        self.batch, self.prompt_tokens = caches[0].shape[0], caches[0].shape[kv_cache.TOKENS]
        self.shared = bool(request.shared_tokens)
        self.past, self.run_ns = 0, 0
        self.chosen: list[NDArray[Any]] = []
        room = self.prompt_tokens + request.stopping.min_runs if self.shared else 0
        self.buffers = {value.name: self._empty(value, room) for value in caches}
        for name, buffer in self.buffers.items():
            self.binding.bind_ortvalue_input(name, buffer)
        self.outputs = [output.name for output in session.get_outputs()]
        high = self.inputs["input_ids"].high
        self.prompt = np.random.default_rng(0).integers(0, high, (self.batch, self.prompt_tokens))

    def generate(self, tokens: int) -> GenerationReading:
        """The times of a prompt, and of each token after the first that it gives."""
        steps_ns, runs_ns = array("q"), array("q")
        ids = self.prompt
        for _ in range(tokens):
            start = time.perf_counter_ns()
            ids = self._next(ids)
            steps_ns.append(time.perf_counter_ns() - start)
            self.chosen.append(ids)
            runs_ns.append(self.run_ns)
        return GenerationReading(
            first_token_s=steps_ns[0] / 1e9,
            tokens_s=tuple(step / 1e9 for step in steps_ns[1:]),
            runs_s=tuple(run / 1e9 for run in runs_ns[1:]),
        )

    def _next(self, ids: "NDArray[Any]") -> "NDArray[Any]":
        """Run the new tokens, and return the most likely one after them: [batch, 1]."""
        self._bind(ids)
        start = time.perf_counter_ns()
        self.session.run_with_iobinding(self.binding)
        self.run_ns = time.perf_counter_ns() - start
        values = dict(zip(self.outputs, self.binding.get_outputs(), strict=True))
        logits = values["logits"].numpy()
        if not self.shared:
            for name, value in values.items():
                if kv_cache.is_present(name):
                    self.binding.bind_ortvalue_input(self._taken_as(name), value)
        self.past += ids.shape[1]
        best: NDArray[Any] = logits.reshape(self.batch, -1, logits.shape[-1])[:, -1].argmax(-1)[:, None]
        return best

    def _bind(self, ids: "NDArray[Any]") -> None:
        import numpy as np
        from onnxruntime import OrtValue

        total = self.past + ids.shape[1]
        feeds = {
            "input_ids": ids,
            "attention_mask": np.ones((self.batch, total)),
            "position_ids": np.broadcast_to(np.arange(self.past, total), ids.shape),
            "token_type_ids": np.zeros(ids.shape),
        }
        for name, feed in feeds.items():
            if name in self.inputs:
                made = np.ascontiguousarray(feed, tensors.dtype_of(self.inputs[name].dtype))
                self.binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(made))
        for name in self.outputs:
            if self.shared and kv_cache.is_present(name):
                self.binding.bind_ortvalue_output(name, self.buffers[self._taken_as(name)])
            else:
                self.binding.bind_output(name)

    def _empty(self, value: InputValue, room: int) -> "OrtValue":
        import numpy as np
        from onnxruntime import OrtValue

        shape = [*value.shape]
        shape[kv_cache.TOKENS] = room
        return OrtValue.ortvalue_from_numpy(np.zeros(shape, tensors.dtype_of(value.dtype)))

    def _taken_as(self, present: str) -> str:
        """The input that continues an output."""
        return next(name for name in kv_cache.past_of(present) if name in self.inputs)


if __name__ == "__main__":
    serve(generate, Request)
