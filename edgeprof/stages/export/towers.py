"""Two towers, of text and of images: each as a graph of its own, and both as one that compares them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgeprof.schema import Case, Role
from edgeprof.stages.export.signature import ModelInput, model_inputs, optional_inputs
from edgeprof.stages.export.whole_model import GraphOfModel, Tensors, WholeModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FEATURES = {"text": "get_text_features", "vision": "get_image_features"}
"""Role -> the method of a model that runs this tower up to the space that both share."""


def is_pair(model: PreTrainedModel) -> bool:
    """Whether a model has a tower for text and one for images, and compares their results."""
    has_both = all(hasattr(model, name) for name in FEATURES.values())
    return has_both and not (hasattr(model, "can_generate") and model.can_generate())


def towers(model: PreTrainedModel, text: Sequence[Case], images: Sequence[Case]) -> list[GraphOfModel]:
    """The pair, then each tower."""
    names = ["input_ids", *optional_inputs(model)]
    side = images[0].image
    both = [Case(batch=case.batch, tokens=case.tokens, image=side) for case in text]
    return [
        WholeModel(model, model_inputs(model, [*names, "pixel_values"], side), both),
        Tower(model, "vision", model_inputs(model, ["pixel_values"], side), images),
        Tower(model, "text", model_inputs(model, names), text),
    ]


class Tower(GraphOfModel):
    def __init__(self, model: PreTrainedModel, role: Role, inputs: Sequence[ModelInput], cases: Sequence[Case]) -> None:
        self.role = role
        super().__init__(model, inputs, cases)

    def results(self, feeds: Tensors) -> Tensors:
        result: Any = getattr(self.model, FEATURES[self.role])(**feeds)
        name = "text_embeds" if self.role == "text" else "image_embeds"
        return {name: getattr(result, "pooler_output", result)}
