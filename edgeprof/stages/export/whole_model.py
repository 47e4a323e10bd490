"""One graph of a whole model: an encoder of text, of images or of audio, with its head; a pair of towers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from edgeprof.families.base import Arrays, traceable_module
from edgeprof.schema import Case
from edgeprof.stages.export.blueprint import Blueprint
from edgeprof.stages.export.signature import (
    OPTIONAL,
    ModelInput,
    arrays_of,
    forward_names,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Tensors = dict[str, "torch.Tensor"]

NOT_OUTPUTS = ("loss", "hidden_states", "attentions", "past_key_values", "cache_params", "rope_deltas")
"""Fields of a result that are no outputs: only on request, or a cache, which has outputs of its own."""

TEXT = (
    Case(batch=2, tokens=5),
    Case(batch=1, tokens=1),
    Case(batch=3, tokens=7),
    Case(batch=1, tokens=64),
)
SAMPLES = (Case(batch=2, tokens=2003), Case(batch=1, tokens=1600), Case(batch=3, tokens=4001))
"""Of audio: a convolutional front takes some hundred samples to a frame."""


class GraphOfModel(Blueprint):
    """A graph that runs a function over a model, which is also its reference."""

    def __init__(self, model: PreTrainedModel, inputs: Sequence[ModelInput], cases: Sequence[Case]) -> None:
        self.model = model
        self.model_inputs = tuple(inputs)
        self.inputs = tuple(one.spec for one in inputs)
        self.optional = tuple(name for name in OPTIONAL if name in [one.spec.name for one in inputs])
        self.cases = tuple(cases)
        self.outputs = tuple(self.results(self.example()))

    def without(self, names: Sequence[str]) -> Self:
        self.model_inputs = tuple(one for one in self.model_inputs if one.spec.name not in names)
        self.inputs = tuple(one.spec for one in self.model_inputs)
        return self

    def results(self, feeds: Tensors) -> Tensors:
        """What the model computes, by name of output."""
        raise NotImplementedError

    def example(self) -> Tensors:
        """Inputs of the first case."""
        return tensors(self.feeds(self.cases[0], np.random.default_rng(0)))

    def feeds(self, case: Case, generator: np.random.Generator) -> Arrays:
        return arrays_of(self.model_inputs, case, generator)

    def reference(self, feeds: Tensors) -> list[torch.Tensor]:
        results = self.results(feeds)
        return [results[name] for name in self.outputs]

    def traceable(self) -> torch.nn.Module:
        names = [spec.name for spec in self.inputs]

        def forward(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            results = self.results(dict(zip(names, tensors, strict=True)))
            return tuple(results[name] for name in self.outputs)

        return traceable_module(self.model, forward)


class WholeModel(GraphOfModel):
    """A forward without a cache; `options` are arguments of it that are no inputs."""

    def __init__(
        self,
        model: PreTrainedModel,
        inputs: Sequence[ModelInput],
        cases: Sequence[Case],
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.options = dict(options or {})
        if "use_cache" in forward_names(model):
            self.options["use_cache"] = False
        super().__init__(model, inputs, cases)

    def results(self, feeds: Tensors) -> Tensors:
        return tensors_of(self.model(**feeds, **self.options))


def tensors(arrays: Arrays) -> Tensors:
    """The same values for PyTorch; nothing is copied."""
    import torch

    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def tensors_of(result: Any) -> Tensors:
    """The tensors of a result of `transformers`, by name."""
    import torch

    if isinstance(result, torch.Tensor):
        return {"output": result}
    fields = result.items() if hasattr(result, "items") else ((f"output_{i}", value) for i, value in enumerate(result))
    return {
        name: value
        for name, value in fields
        if isinstance(value, torch.Tensor) and name not in NOT_OUTPUTS and value.dim() > 0
    }
