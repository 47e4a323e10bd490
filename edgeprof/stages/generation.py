"""Greedy generation: the same tokens from PyTorch's `generate` and from an ONNX decoder, with either kind of cache.

It shows what single runs cannot: that the cache of one run is what the next one takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof import kv_cache
from edgeprof.errors import VerificationError
from edgeprof.families.base import Arrays

if TYPE_CHECKING:
    import onnxruntime
    import torch
    from numpy.typing import NDArray

PROMPT, TOKENS = 4, 16
"""Lengths of the prompt and of what follows it."""

TIE = 1e-3
"""Logits that differ by less than this share of the largest may swap places; the tokens after that are not compared."""


def generates(inputs: list[str], outputs: list[str]) -> bool:
    """Whether a graph predicts the next token from ids and the cache of earlier ones."""
    return "input_ids" in inputs and "logits" in outputs and any(map(kv_cache.is_past, inputs))


def expected(model: torch.nn.Module) -> Arrays:
    """What `generate` of a model gives: the prompt, the tokens, and by how much each leads the next best."""
    import torch
    from transformers import GenerationConfig

    decoder: Any = model
    vocabulary = decoder.config.get_text_config().vocab_size
    prompt = torch.from_numpy(np.random.default_rng(0).integers(0, vocabulary, (1, PROMPT)))
    own = decoder.generation_config
    decoder.generation_config = GenerationConfig(do_sample=False, max_new_tokens=TOKENS, pad_token_id=0)
    try:
        result = decoder.generate(
            prompt, attention_mask=torch.ones_like(prompt), return_dict_in_generate=True, output_logits=True
        )
    finally:
        decoder.generation_config = own
    logits = torch.stack(result.logits)[:, 0]
    best = logits.topk(2).values
    lead = (best[:, 0] - best[:, 1]) / logits.abs().amax(1).clamp(min=1)
    return {"prompt": prompt.numpy(), "tokens": result.sequences[0, PROMPT:].numpy(), "lead": lead.numpy()}


def check(session: onnxruntime.InferenceSession, reference: Arrays, shared: bool, advice: str) -> None:
    """Generate from the prompt with a cache that grows, and where possible with one buffer as past and present.

    Raises:
        VerificationError: a token differs; names the step.
    """
    for in_place in (False, True) if shared else (False,):
        decoder = _Decoder(session, reference["prompt"].shape[1] + len(reference["tokens"]), in_place)
        *first, tokens = decoder.parts(reference["prompt"])
        for part in first:
            decoder.run(part)
        for step, (token, lead) in enumerate(zip(reference["tokens"], reference["lead"], strict=True), 1):
            logits = decoder.run(tokens)
            if logits.argmax() != token:
                if lead < TIE:
                    return
                raise VerificationError(
                    f"Token {step} of greedy generation with a {'shared' if in_place else 'growing'} cache is "
                    f"{logits.argmax()}, not {token} as in PyTorch.",
                    advice,
                )
            tokens = token.reshape(1, 1)


class _Decoder:
    """A session and the cache of the tokens so far."""

    def __init__(self, session: onnxruntime.InferenceSession, room: int, in_place: bool) -> None:
        import onnxruntime as ort

        self.session, self.past = session, 0
        self.inputs = [value.name for value in session.get_inputs()]
        self.caches: dict[str, Any] = {}
        for value in session.get_inputs():
            if kv_cache.is_past(value.name):
                _, *sizes = value.shape
                shape = (1, *(size if isinstance(size, int) else room if in_place else 0 for size in sizes))
                self.caches[value.name] = ort.OrtValue.ortvalue_from_numpy(np.zeros(shape, np.float32))
            elif value.name == "input_ids":
                self.tokens = value.shape[1]  # at once, if it is a number
        self.in_place = in_place

    def parts(self, tokens: NDArray[Any]) -> list[NDArray[Any]]:
        """Tokens as the graph takes them: all at once, or one after the other."""
        return list(np.split(tokens, tokens.shape[1], axis=1)) if isinstance(self.tokens, int) else [tokens]

    def run(self, tokens: NDArray[Any]) -> NDArray[Any]:
        """The logits after the last of some new tokens: [vocabulary]."""
        total = self.past + tokens.shape[1]
        feeds = {
            "input_ids": tokens.astype(np.int64),
            "attention_mask": np.ones((1, total), np.int64),
            "position_ids": np.arange(self.past, total)[None],
        }
        binding = self.session.io_binding()
        for name in self.inputs:
            if name in self.caches:
                binding.bind_ortvalue_input(name, self.caches[name])
            else:
                binding.bind_cpu_input(name, feeds[name])
        names = [output.name for output in self.session.get_outputs()]
        past_of = {name: next((past for past in kv_cache.past_of(name) if past in self.caches), "") for name in names}
        for name in names:
            if self._shares(past_of[name]):
                binding.bind_ortvalue_output(name, self.caches[past_of[name]])
            else:
                binding.bind_output(name)
        self.session.run_with_iobinding(binding)
        results = dict(zip(names, binding.get_outputs(), strict=True))
        self.caches |= {past: results[name] for name, past in past_of.items() if past and not self._shares(past)}
        self.past = total
        logits: NDArray[Any] = results["logits"].numpy()[0, -1]
        return logits

    def _shares(self, past: str) -> bool:
        """Whether a cache is written in place: states of convolutions and recurrences never are."""
        return self.in_place and past.endswith(("key", "value"))
