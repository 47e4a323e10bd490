"""What every family of transformers has to tell: its sizes, its formulas, its inputs, and how PyTorch runs it.

All of it is free of torch, except the methods that take or return a torch module; those import it themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from edgeprof.schema import Case, Logits, Record, TensorSpec, Variant

if TYPE_CHECKING:
    import numpy as np
    import torch

BATCH = "batch_size"
TOKENS = "sequence_length"
PAST = "past_sequence_length"
TOTAL = "past_sequence_length + sequence_length"

Arrays = dict[str, "np.ndarray[Any, Any]"]


class Task(Record, frozen=True, kw_only=True):
    """A head on the body: `architecture` is the `transformers` class, `outputs` its results in order."""

    name: str
    architecture: str
    outputs: tuple[str, ...]


class Summary(Record, frozen=True, kw_only=True):
    """The sizes people know a variant by."""

    layers: int
    width: int
    heads: int
    vocabulary: int | None = None
    patch: int | None = None


class Component(Record, frozen=True, kw_only=True):
    """A part of the model, there `count` times: parameters and multiply-accumulates of one of them."""

    name: str
    count: int = 1
    params: int = 0
    macs: int = 0


class Family(ABC):
    """One kind of transformer. `defaults` are the configuration values that a config.json may leave out."""

    name: ClassVar[str]
    model_type: ClassVar[str]  # `transformers`' word for it in config.json
    tasks: ClassVar[tuple[Task, ...]]
    defaults: ClassVar[dict[str, Any]]
    variants: ClassVar[tuple[Variant, ...]]
    has_cache: ClassVar[bool] = False
    example: ClassVar[Case]  # traced at this shape; no size may be 0 or 1, and none may equal another
    cases: ClassVar[tuple[Case, ...]]  # verified at these

    # --- counted ---

    @abstractmethod
    def summary(self, variant: Variant) -> Summary: ...

    @abstractmethod
    def components(self, variant: Variant, case: Case, logits: Logits = "all") -> tuple[Component, ...]:
        """Parameters and MACs, part by part, of one run at `case`; 1 MAC = 2 FLOP, softmax and norms not counted."""

    def params(self, variant: Variant) -> int:
        """Exact number of parameters, tied tensors counted once."""
        return sum(part.count * part.params for part in self.components(variant, self.example))

    def macs(self, variant: Variant, case: Case, logits: Logits = "all") -> int:
        return sum(part.count * part.macs for part in self.components(variant, case, logits))

    # --- shaped ---

    @abstractmethod
    def inputs(self, variant: Variant) -> tuple[TensorSpec, ...]: ...

    @abstractmethod
    def outputs(self, variant: Variant, logits: Logits = "all") -> tuple[TensorSpec, ...]: ...

    def true_tokens(self, variant: Variant, tokens: int) -> int:
        """The largest token length this variant can be given that is at most `tokens`; 0 if there is none."""
        return tokens

    def sizes(self, variant: Variant, case: Case) -> dict[str, int]:
        """The value of every symbol in `inputs` at a shape."""
        return {
            BATCH: case.batch,
            TOKENS: case.tokens,
            PAST: case.past_tokens,
            TOTAL: case.past_tokens + case.tokens,
        }

    def caches(self, variant: Variant) -> bool:
        """Whether this variant keeps a KV cache, and so has a decode phase."""
        return False

    # --- run by PyTorch ---

    @abstractmethod
    def feeds(self, variant: Variant, case: Case, generator: np.random.Generator) -> Arrays:
        """Random inputs at a shape; where there is a mask, the last row of a batch is padded on the right."""

    @abstractmethod
    def traceable(self, model: torch.nn.Module, variant: Variant, logits: Logits) -> torch.nn.Module:
        """A module whose forward takes the tensors of `inputs` in order and returns those of `outputs` as a tuple."""

    @abstractmethod
    def reference(self, model: torch.nn.Module, feeds: dict[str, torch.Tensor], logits: Logits) -> list[torch.Tensor]:
        """What the untouched model computes, through its ordinary forward: the tensors of `outputs` in order."""

    def torch_dims(self, variant: Variant) -> dict[str, Any]:
        """Symbols whose dimension torch has to be told more about than that it is dynamic."""
        return {}

    # --- common ---

    def value(self, variant: Variant, key: str) -> Any:
        found = variant.config.get(key)
        return self.defaults[key] if found is None else found

    def task(self, variant: Variant) -> Task:
        return next(task for task in self.tasks if task.name == variant.task)

    def labels(self, variant: Variant) -> int:
        """Number of classes, as `transformers` reads it: from the label table, else the number, else 2."""
        table = variant.config.get("id2label")
        return len(table) if table else int(variant.config.get("num_labels", 2))


def integer(name: str, *dims: int | str) -> TensorSpec:
    return TensorSpec(name=name, dtype="int64", dims=dims)


def real(name: str, *dims: int | str) -> TensorSpec:
    return TensorSpec(name=name, dtype="float32", dims=dims)


def row(family: str, task: str, name: str, max_tokens: int | None, source: str | None, **config: Any) -> Variant:
    return Variant(name=name, family=family, task=task, config=config, max_tokens=max_tokens, source=source)


def right_padded(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """An attention mask of ones; in the last row of a batch the last token is padding."""
    import numpy as np

    mask = np.ones(shape, np.int64)
    if shape[0] > 1 and shape[1] > 1:
        mask[-1, -1] = 0
    return mask


def traceable_module(model: torch.nn.Module, forward: Callable[..., tuple[torch.Tensor, ...]]) -> torch.nn.Module:
    """A module that runs `forward`, a function over `model`, and owns the model's parameters."""
    import torch

    class Traceable(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return forward(*tensors)

    return Traceable()
