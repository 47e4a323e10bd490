"""The graph of a family that has inputs and a forward of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprof.families import traced_family
from edgeprof.families.base import Arrays
from edgeprof.schema import Case, Logits, Variant
from edgeprof.stages.export.blueprint import Blueprint
from edgeprof.stages.export.replication import number_of

if TYPE_CHECKING:
    import numpy as np
    import torch


class FamilyGraph(Blueprint):
    def __init__(self, model: torch.nn.Module, variant: Variant, logits: Logits) -> None:
        self.model, self.variant, self.logits, self.family = model, variant, logits, traced_family(variant)
        self.inputs = tuple(spec for spec in self.family.inputs(variant) if self._exists(spec.name))
        outputs = self.family.outputs(variant, logits)
        self.outputs = tuple(spec.name for spec in outputs if self._exists(spec.name))
        self.cases = (self.family.example(variant), *self.family.cases(variant))
        self.dims = self.family.torch_dims(variant)

    def _exists(self, name: str) -> bool:
        """Whether the model, which may be shortened, has the layer that an input or output belongs to."""
        layers = getattr(getattr(self.model, "config", None), "num_hidden_layers", None)
        number = number_of(name)
        return number is None or layers is None or number < layers

    def feeds(self, case: Case, generator: np.random.Generator) -> Arrays:
        return self.family.feeds(self.variant, case, generator)

    def reference(self, feeds: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        return self.family.reference(self.model, feeds, self.logits)

    def traceable(self) -> torch.nn.Module:
        return self.family.traceable(self.model, self.variant, self.logits)
