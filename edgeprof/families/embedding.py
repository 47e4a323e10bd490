"""A lookup table: each token reads one row, and nothing is multiplied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeprof.families.base import (
    BATCH,
    TOKENS,
    Arrays,
    Component,
    Summary,
    TracedFamily,
    integer,
    real,
    row,
)
from edgeprof.families.block import table
from edgeprof.schema import Case, Logits, TensorSpec, Variant

if TYPE_CHECKING:
    import numpy as np
    import torch


class Embedding(TracedFamily):
    """Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their Compositionality".

    The published vectors (GoogleNews) are those of 3 million words and phrases, with 300 numbers each.
    """

    name = "embedding"
    sample_kind = "text"
    single_layer = True
    defaults = {"vocabulary": 3_000_000, "width": 300}
    variants = (row("embedding", "lookup", "embedding-word2vec", vocabulary=3_000_000, width=300),)
    shapes = (Case(batch=2, tokens=5), Case(batch=1, tokens=1), Case(batch=3, tokens=7), Case(batch=1, tokens=64))

    def options(self, variant: Variant) -> Mapping[str, str]:
        return {"width": "w"}

    def summary(self, variant: Variant) -> Summary:
        return Summary(layers=1, width=self.value(variant, "width"), vocabulary=self.value(variant, "vocabulary"))

    def components(self, variant: Variant, case: Case, logits: Logits = "all") -> tuple[Component, ...]:
        entries, width = self.value(variant, "vocabulary"), self.value(variant, "width")
        return (table("token embedding", entries, width, case.batch * case.tokens),)

    def inputs(self, variant: Variant) -> tuple[TensorSpec, ...]:
        return (integer("input_ids", BATCH, TOKENS),)

    def outputs(self, variant: Variant, logits: Logits = "all") -> tuple[TensorSpec, ...]:
        return (real("vectors", BATCH, TOKENS, self.value(variant, "width")),)

    def build(self, variant: Variant) -> torch.nn.Module:
        import torch

        return torch.nn.Embedding(self.value(variant, "vocabulary"), self.value(variant, "width"))

    def feeds(self, variant: Variant, case: Case, generator: np.random.Generator) -> Arrays:
        return {"input_ids": generator.integers(0, self.value(variant, "vocabulary"), (case.batch, case.tokens))}

    def reference(self, model: torch.nn.Module, feeds: dict[str, torch.Tensor], logits: Logits) -> list[torch.Tensor]:
        return [model(*feeds.values())]
