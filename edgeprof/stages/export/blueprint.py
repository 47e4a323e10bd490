"""A graph to be: what goes in, what comes out, the module that is traced, and the results it has to give."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from edgeprof.schema import Case, Role, TensorSpec

if TYPE_CHECKING:
    import numpy as np
    import torch

    from edgeprof.families.base import Arrays


class Blueprint(ABC):
    """One graph of a model.

    Attributes:
        model: the PyTorch model that it is a graph of.
        role: of the graph in its artifact.
        inputs: in order, each with the symbols of its dynamic axes. Axes with the same symbol have the same size.
        outputs: names in order.
        cases: the first is traced, its sizes are 2 or more and differ from each other; the others are verified.
    """

    model: Any
    role: Role = "model"
    inputs: tuple[TensorSpec, ...]
    optional: tuple[str, ...] = ()  # inputs that are left out where they change nothing
    outputs: tuple[str, ...]
    cases: tuple[Case, ...]
    note: str = ""  # what is not as one would expect
    dims: Mapping[str, object] = {}  # symbols whose axis torch needs a constraint for, besides that it moves

    @abstractmethod
    def feeds(self, case: Case, generator: np.random.Generator) -> Arrays:
        """Random inputs of a case, by name."""

    @abstractmethod
    def reference(self, feeds: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """The results of the unmodified model, in the order of `outputs`; NaN where the graph may give anything."""

    def runner(self, feeds: dict[str, torch.Tensor]) -> Callable[[], dict[str, torch.Tensor]]:
        """A function that runs the unmodified model on these inputs, as often as it is called.

        What runs of the same inputs need once, such as a cache that holds them, is made here. Returns results by name.
        """
        return lambda: dict(zip(self.outputs, self.reference(feeds), strict=True))

    @abstractmethod
    def traceable(self) -> torch.nn.Module:
        """A module whose forward takes the tensors of `inputs` in order and returns those of `outputs` as a tuple."""

    def without(self, names: Sequence[str]) -> Self:
        """The same graph without some of its optional inputs."""
        raise NotImplementedError
