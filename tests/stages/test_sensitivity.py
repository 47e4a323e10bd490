"""Reference values that do not move with an input prove nothing about it, and are refused."""

from typing import Any

import numpy as np
import pytest
import torch

from edgeprof.errors import VerificationError
from edgeprof.families.base import BATCH, TOKENS, integer, real
from edgeprof.schema import Case
from edgeprof.stages.export.blueprint import Blueprint
from edgeprof.stages.export.sensitivity import moving, unmoved


class Sum(Blueprint):
    """The sum of each row, of what its mask leaves; or of the whole row, where it ignores the mask."""

    inputs = (real("values", BATCH, TOKENS), integer("attention_mask", BATCH, TOKENS))
    outputs = ("sum",)
    cases = (Case(batch=2, tokens=5), Case(batch=1, tokens=3))

    def __init__(self, *, ignores: str = "", optional: tuple[str, ...] = ()) -> None:
        self.ignores, self.optional = ignores, optional

    def feeds(self, case: Case, generator: np.random.Generator) -> dict[str, Any]:
        values = generator.standard_normal((case.batch, case.tokens), dtype=np.float32)
        return {"values": values, "attention_mask": np.ones((case.batch, case.tokens), np.int64)}

    def reference(self, feeds: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        values, mask = feeds["values"], feeds["attention_mask"]
        if self.ignores == "values":
            values = torch.ones_like(values)
        return [(values if self.ignores == "attention_mask" else values * mask).sum(1)]

    def traceable(self) -> torch.nn.Module:
        raise NotImplementedError

    def without(self, names: Any) -> "Sum":
        assert names == ["attention_mask"]
        return Sum()


def test_a_reference_that_moves_with_everything_is_taken() -> None:
    blueprint = Sum()
    assert unmoved(blueprint) == []
    assert moving(blueprint, []) is blueprint


@pytest.mark.parametrize("ignored", ["attention_mask", "values"])
def test_a_reference_that_ignores_an_input_is_refused(ignored: str) -> None:
    blueprint = Sum(ignores=ignored)
    still = unmoved(blueprint)
    assert still == [ignored]
    with pytest.raises(VerificationError, match=f"do not change with {ignored}, so they cannot prove"):
        moving(blueprint, still)


def test_an_optional_input_that_is_ignored_is_left_out() -> None:
    blueprint = Sum(ignores="attention_mask", optional=("attention_mask",))
    left = moving(blueprint, unmoved(blueprint))
    assert left is not blueprint
