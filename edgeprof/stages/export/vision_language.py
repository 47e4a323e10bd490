"""Models that read images beside text, as three graphs: of images, of the embedding of both, and of the decoder.

The embedding graph puts an image's features where the ids have its placeholder, in order. The decoder graph takes
embeddings instead of ids, so that a step of decode runs no image.
"""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof.families.base import BATCH, TOKENS, Arrays, integer, real
from edgeprof.schema import Case, Logits
from edgeprof.stages.export import caches
from edgeprof.stages.export.decoder import Decoder, first_cache
from edgeprof.stages.export.images import image_cases
from edgeprof.stages.export.patches import GRID, Patches
from edgeprof.stages.export.signature import ModelInput, image_side, model_inputs, normal, text_config, token_ids
from edgeprof.stages.export.whole_model import GraphOfModel, Tensors

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

IMAGES = "image_batch_size"
FEATURES = "image_features"


def reads_images(model: PreTrainedModel) -> bool:
    """Whether a model generates text after images."""
    return hasattr(model, "get_image_features") and placeholder(model) >= 0 and bool(model.can_generate())


def placeholder(model: PreTrainedModel) -> int:
    """The id that stands for a part of an image; -1 where there is none."""
    names = ("image_token_id", "image_token_index")
    return next((value for name in names if isinstance(value := getattr(model.config, name, None), int)), -1)


def vision_language(model: PreTrainedModel, logits: Logits) -> list[GraphOfModel]:
    """The graphs "vision", "embedding" and "model"."""
    images = Patches(model, FEATURES) if GRID in signature(model.get_image_features).parameters else Images(model)
    return [
        images,
        Embedding(model, images.results(images.example())[FEATURES].shape[-2]),
        Decoder(model, caches.leaves(first_cache(model)), logits, embedded=True),
    ]


class Images(GraphOfModel):
    role = "vision"

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model, model_inputs(model, ["pixel_values"], image_side(model.config)), image_cases(model))

    def results(self, feeds: Tensors) -> Tensors:
        result: Any = self.model.get_image_features(**feeds)
        features = getattr(result, "pooler_output", result)
        return {FEATURES: features if hasattr(features, "shape") else features[0]}


class Embedding(GraphOfModel):
    """Embeddings of ids, with an image's features in place of its placeholders.

    Args:
        parts: placeholders of one image.
    """

    role = "embedding"

    def __init__(self, model: PreTrainedModel, parts: int) -> None:
        self.parts, self.placeholder = parts, placeholder(model)
        width = text_config(model).hidden_size
        inputs = [
            ModelInput(integer("input_ids", BATCH, TOKENS), token_ids(model)),
            ModelInput(real(FEATURES, BATCH, parts, width), normal),
        ]
        cases = [Case(batch=batch, tokens=parts + more) for batch, more in ((2, 3), (1, 1), (3, 5))]
        super().__init__(model, inputs, cases)

    def feeds(self, case: Case, generator: np.random.Generator) -> Arrays:
        """One image in each row, after its first token."""
        arrays = super().feeds(case, generator)
        arrays["input_ids"][:, 1 : 1 + self.parts] = self.placeholder
        return arrays

    def results(self, feeds: Tensors) -> Tensors:
        import torch

        here = torch.eq(feeds["input_ids"], self.placeholder)
        embedded = self.model.get_input_embeddings()(torch.where(here, 0, feeds["input_ids"]))
        features = feeds[FEATURES].flatten(0, 1)
        number = (here.flatten().cumsum(0) - 1).clamp(min=0).view(here.shape)
        return {"inputs_embeds": torch.where(here[..., None], features[number], embedded)}

    def reference(self, feeds: Tensors) -> list[torch.Tensor]:
        """As transformers places them."""
        import torch

        here = torch.eq(feeds["input_ids"], self.placeholder)
        embedded = self.model.get_input_embeddings()(torch.where(here, 0, feeds["input_ids"]))
        return [embedded.masked_scatter(here[..., None].expand_as(embedded), feeds[FEATURES])]
