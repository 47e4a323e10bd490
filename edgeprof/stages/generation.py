"""Greedy generation: the same tokens from PyTorch's `generate` and from ONNX graphs, with either kind of cache.

It shows what single runs cannot: that the cache of one run is what the next one takes, and that what one graph computes
of a source, a prompt or an image is what another reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof import kv_cache
from edgeprof.errors import VerificationError
from edgeprof.families.base import Arrays
from edgeprof.providers.ort_errors import ort_errors
from edgeprof.providers.session import converted

if TYPE_CHECKING:
    import onnxruntime
    from numpy.typing import NDArray

TIE = 1e-3
"""Logits that differ by less than this share of the largest count as equal: either token may be the next."""


def generates(inputs: Sequence[str], outputs: Sequence[str]) -> bool:
    """Whether a graph predicts the next token from new ones and the cache of earlier ones."""
    new = {"input_ids", "inputs_embeds"} & set(inputs)
    return bool(new) and "logits" in outputs and any(map(kv_cache.is_past, inputs))


def check(graphs: Mapping[str, onnxruntime.InferenceSession], reference: Arrays, shared: bool, advice: str) -> None:
    """Generate from the prompt with a cache that grows, and where possible with one buffer as past and present.

    Args:
        graphs: of an artifact by role; the last one takes the cache.
        reference: what `stages.export.greedy.expected` gave.
        shared: whether one buffer may be past and present.
        advice: what to do on failure, for messages.

    Raises:
        VerificationError: a token differs, or its logit; names the step.
    """
    with ort_errors(lambda reason: VerificationError(f"The model does not generate: {reason}.", advice)):
        for in_place in (False, True) if shared else (False,):
            _check(graphs, reference, in_place, advice)


def _check(graphs: Mapping[str, onnxruntime.InferenceSession], reference: Arrays, in_place: bool, advice: str) -> None:
    generator = _Generator(graphs, reference["prompt"].shape[1] + len(reference["tokens"]), in_place)
    generator.prepare(reference)
    *first, tokens = generator.parts(reference["prompt"])
    for part in first:
        generator.run(part)
    logits = generator.run(tokens, reference.get("token_type_ids"), reference.get("position_ids"))
    for step, (token, lead) in enumerate(zip(reference["tokens"], reference["lead"], strict=True), 1):
        where = f"of token {step} of greedy generation with a {'shared' if in_place else 'growing'} cache"
        if logits.argmax() != token:
            if lead < TIE:
                return
            raise VerificationError(f"The id {where} is {logits.argmax()}, not {token} as in PyTorch.", advice)
        if "logit" in reference:
            error = abs(float(logits[token]) - float(reference["logit"][step - 1]))
            if error > TIE * max(1.0, float(np.abs(logits).max())):
                raise VerificationError(f"The logit {where} differs from PyTorch's by {error:.3g}.", advice)
        if step < len(reference["tokens"]):
            logits = generator.run(token.reshape(1, 1))


class _Generator:
    """The graphs of an artifact, and all values that pass between them, by the names of the inputs that take them."""

    def __init__(self, graphs: Mapping[str, onnxruntime.InferenceSession], room: int, in_place: bool) -> None:
        self.graphs, self.past, self.next, self.in_place = graphs, 0, 0, in_place
        self.last = list(graphs)[-1]
        self.inputs = {value.name: value.shape for value in graphs[self.last].get_inputs()}
        self.values: dict[str, Any] = {}
        for name, (_, *sizes) in self.inputs.items():
            if kv_cache.is_past(name):
                shape = (1, *(size if isinstance(size, int) else room if in_place else 0 for size in sizes))
                self._put(self.last, {name: np.zeros(shape, np.float32)})

    def prepare(self, reference: Arrays) -> None:
        """Run the graphs that have inputs of their own in the reference: of a source, of an image."""
        for role in self.graphs:
            mine = {
                key.removeprefix(f"{role}/"): array for key, array in reference.items() if key.startswith(f"{role}/")
            }
            if mine:
                self._put(role, mine)
                self._run(role)
                self.values |= {f"encoder_{name}": self.values[name] for name in mine}

    def parts(self, tokens: NDArray[Any]) -> list[NDArray[Any]]:
        """Tokens as the graph takes them: all at once, or one after the other."""
        one_by_one = "prefill" not in self.graphs and self.inputs.get("input_ids", [1, ""])[1] == 1
        return list(np.split(tokens, tokens.shape[1], axis=1)) if one_by_one else [tokens]

    def run(
        self, tokens: NDArray[Any], types: NDArray[Any] | None = None, positions: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """The logits after the last of some new tokens: [vocabulary]. Positions go on from the last ones."""
        role = "prefill" if "prefill" in self.graphs and not self.past else self.last
        total = self.past + tokens.shape[1]
        if positions is None:
            axes = self.inputs.get("position_ids", ())[:-2]
            positions = np.broadcast_to(np.arange(self.next, self.next + tokens.shape[1]), (*axes, *tokens.shape))
        new = {
            "input_ids": tokens.astype(np.int64),
            "attention_mask": np.ones((1, total), np.int64),
            "position_ids": positions,
            "token_type_ids": np.zeros_like(tokens) if types is None else types,
        }
        self._put(role, new)
        if "embedding" in self.graphs:
            self._run("embedding")
        self._run(role)
        self.past, self.next = total, int(positions.max()) + 1
        logits: NDArray[Any] = self.values["logits"].numpy()[0, -1]
        return logits

    def _put(self, role: str, feeds: Arrays) -> None:
        import onnxruntime as ort

        for name, array in converted(self.graphs[role], feeds).items():
            self.values[name] = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))

    def _run(self, role: str) -> None:
        """Bind what a graph takes, and keep what it gives for the graph and the step that take it."""
        session = self.graphs[role]
        binding = session.io_binding()
        for value in session.get_inputs():
            binding.bind_ortvalue_input(value.name, self.values[value.name])
        taken_as = {output.name: self._taken_as(output.name) for output in session.get_outputs()}
        for output, name in taken_as.items():
            if self._shares(name):
                binding.bind_ortvalue_output(output, self.values[name])
            else:
                binding.bind_output(output)
        session.run_with_iobinding(binding)
        results = zip(taken_as.values(), binding.get_outputs(), strict=True)
        self.values |= {name: value for name, value in results if not self._shares(name)}

    def _taken_as(self, output: str) -> str:
        """The input that an output continues; its own name where it continues none."""
        return next((past for past in kv_cache.past_of(output) if past in self.inputs), output)

    def _shares(self, name: str) -> bool:
        """Whether a cache is written in place: states of convolutions and recurrences never are."""
        return self.in_place and kv_cache.is_past(name) and name.endswith(("key", "value"))
