"""The graph of a family that has inputs and a forward of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprof.families import traced_family
from edgeprof.families.base import Arrays
from edgeprof.schema import Case, Logits, Variant
from edgeprof.stages.export.blueprint import Blueprint

if TYPE_CHECKING:
    import numpy as np
    import torch


class FamilyGraph(Blueprint):
    def __init__(self, model: torch.nn.Module, variant: Variant, logits: Logits) -> None:
        self.model, self.variant, self.logits, self.family = model, variant, logits, traced_family(variant)
        self.inputs = self.family.inputs(variant)
        self.outputs = tuple(spec.name for spec in self.family.outputs(variant, logits))
        self.cases = (self.family.example(variant), *self.family.cases(variant))
        self.dims = self.family.torch_dims(variant)

    def feeds(self, case: Case, generator: np.random.Generator) -> Arrays:
        return self.family.feeds(self.variant, case, generator)

    def reference(self, feeds: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        return self.family.reference(self.model, feeds, self.logits)

    def traceable(self) -> torch.nn.Module:
        return self.family.traceable(self.model, self.variant, self.logits)
