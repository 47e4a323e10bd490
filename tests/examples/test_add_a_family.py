"""Average the vectors of all words of a text, then classify it.

Iyyer et al. 2015, "Deep Unordered Composition Rivals Syntactic Methods for Text Classification", without hidden layers.
With v words of width d, c classes and a batch of b texts of any length:

    parameters   v d + d c + c
    MACs         b d c         (the average is not counted)
"""

from __future__ import annotations

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
from edgeprof.families.block import dense, table
from edgeprof.schema import Case, Logits, TensorSpec, Variant

if TYPE_CHECKING:
    import numpy as np
    import torch


class BagOfWords(TracedFamily):
    name = "bag-of-words"
    sample_kind = "text"
    defaults = {"words": 1000, "width": 32, "classes": 4}
    variants = (row("bag-of-words", "classifier", "bag-of-words", words=1000, width=32, classes=4),)
    shapes = (Case(batch=2, tokens=5), Case(batch=1, tokens=1), Case(batch=3, tokens=7))

    def summary(self, variant: Variant) -> Summary:
        return Summary(layers=1, width=self.value(variant, "width"), vocabulary=self.value(variant, "words"))

    def components(self, variant: Variant, case: Case, logits: Logits = "all") -> tuple[Component, ...]:
        words, width = self.value(variant, "words"), self.value(variant, "width")
        return (
            table("token embedding", words, width, case.batch * case.tokens),
            dense("classifier", width, self.value(variant, "classes"), case.batch),
        )

    def inputs(self, variant: Variant) -> tuple[TensorSpec, ...]:
        return (integer("input_ids", BATCH, TOKENS),)

    def outputs(self, variant: Variant, logits: Logits = "all") -> tuple[TensorSpec, ...]:
        return (real("logits", BATCH, self.value(variant, "classes")),)

    def build(self, variant: Variant) -> torch.nn.Module:
        import torch

        return torch.nn.ModuleDict(
            {
                "embedding": torch.nn.Embedding(self.value(variant, "words"), self.value(variant, "width")),
                "classifier": torch.nn.Linear(self.value(variant, "width"), self.value(variant, "classes")),
            }
        )

    def feeds(self, variant: Variant, case: Case, generator: np.random.Generator) -> Arrays:
        return {"input_ids": generator.integers(0, self.value(variant, "words"), (case.batch, case.tokens))}

    def reference(self, model: torch.nn.Module, feeds: dict[str, torch.Tensor], logits: Logits) -> list[torch.Tensor]:
        return [model["classifier"](model["embedding"](feeds["input_ids"]).mean(dim=1))]


# --- the test: everything above this line is the new file, edgeprof/families/bag_of_words.py -----------------------

from checkouts import Checkout


def test_add_a_family(checkout: Checkout, added: str) -> None:
    checkout.add_file("edgeprof/families/bag_of_words.py", added)
    families = "edgeprof/families/__init__.py"
    checkout.replace(families, "import BERT\n", "import BERT\nfrom edgeprof.families.bag_of_words import BagOfWords\n")
    checkout.add_row(families, "FAMILIES: tuple", "BagOfWords()")

    explained = checkout.edgeprof("explain", "bag-of-words", "--seq", 64)["ledger"]["totals"]
    assert explained["params"] == 1000 * 32 + 32 * 4 + 4
    assert explained["macs"] == 32 * 4

    exported = checkout.edgeprof("export", "bag-of-words", "--precision", "fp32,int8")
    fp32, int8 = (one["artifact"] for one in exported)
    assert fp32["params"] == explained["params"]  # as PyTorch counts them
    assert [check["max_abs_error"] < 1e-5 for check in fp32["graphs"][0]["checks"]] == [True, True]
    assert int8["graphs"][0]["quantization"]["matmuls_quantized"] == 1

    counted = checkout.edgeprof("explain", fp32["graphs"][0]["path"], "--seq", 64)["ledger"]["totals"]
    assert counted["params"] == explained["params"]
    assert counted["macs"] == explained["macs"]

    points = checkout.profile("--seq", 16)
    assert {key: point["status"] for key, point in points.items()} == {("cpu", "fp32"): "ok", ("cpu", "int8"): "ok"}
