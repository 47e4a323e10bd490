"""Models of images: of any size where the model takes any, else of the size that it was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgeprof.families.base import Arrays
from edgeprof.schema import Case
from edgeprof.stages.export.signature import ModelInput, forward_names, image_side, main_input, model_inputs
from edgeprof.stages.export.whole_model import WholeModel, tensors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

INTERPOLATE = "interpolate_pos_encoding"


def image_cases(model: PreTrainedModel) -> tuple[Case, ...]:
    """Cases of images of the size that a model was trained on."""
    side = image_side(model.config)
    return tuple(Case(batch=batch, tokens=0, image=side) for batch in (2, 1, 3))


def image_model(model: PreTrainedModel, *, fixed: bool = False) -> WholeModel:
    """With dynamic height and width where the model runs at twice its usual size.

    Args:
        fixed: of the usual size only.
    """
    names, side = [main_input(model)], image_side(model.config)
    options = {INTERPOLATE: True} if INTERPOLATE in forward_names(model) else {}
    larger = Case(batch=1, tokens=0, image=2 * side)
    if not fixed:
        try:
            return _AnySize(model, model_inputs(model, names), (*image_cases(model), larger), options)
        except (RuntimeError, ValueError):  # it refuses another size, by whatever means it has
            pass
    return WholeModel(model, model_inputs(model, names, side), image_cases(model))


class _AnySize(WholeModel):
    def __init__(
        self, model: PreTrainedModel, inputs: list[ModelInput], cases: tuple[Case, ...], options: dict[str, bool]
    ) -> None:
        super().__init__(model, inputs, cases, options)
        larger = self.feeds(cases[-1], np.random.default_rng(0))
        self.results(tensors(larger))

    def feeds(self, case: Case, generator: np.random.Generator) -> Arrays:
        """The traced images are not square, so that height and width stay apart."""
        arrays = super().feeds(case, generator)
        if case == self.cases[0]:
            arrays = {name: np.concatenate([array, array], axis=-1) for name, array in arrays.items()}
        return arrays
