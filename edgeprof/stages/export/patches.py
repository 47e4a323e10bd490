"""Images as a sequence of patches with their grid beside it, as Qwen2-VL and Qwen2.5-VL take them.

The graph is of one image of one size: which patches share a window, and where each lies, follow from the grid, and are
constants. The decoder has positions along three axes (time, height, width): the caller computes them as transformers'
`get_rope_index` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof.errors import EdgeprofError
from edgeprof.families.base import Arrays, real
from edgeprof.schema import Case
from edgeprof.stages.export import transformers_private
from edgeprof.stages.export.signature import ModelInput, image_side, normal
from edgeprof.stages.export.whole_model import GraphOfModel, Tensors

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

GRID = "image_grid_thw"


class Patches(GraphOfModel):
    """The features of one image: [1, parts, width]."""

    role = "vision"

    def __init__(self, model: PreTrainedModel, output: str) -> None:
        vision: Any = model.config.vision_config
        if getattr(vision, "deepstack_visual_indexes", None):
            raise EdgeprofError(
                f"{type(model).__name__} adds features of images to several layers of its decoder "
                "(deepstack_visual_indexes in its vision_config), which embeddings of its input do not carry.",
                "Export a model that reads images in its embeddings alone, such as Qwen2.5-VL or Gemma 3.",
            )
        side = image_side(model.config)
        across = side // (vision.patch_size * vision.spatial_merge_size) * vision.spatial_merge_size
        self.grid, self.output = np.array([[1, across, across]]), output
        self.constants = transformers_private.patch_constants(vision, self.grid)
        channels = getattr(vision, "in_channels", 3)
        width = channels * vision.temporal_patch_size * vision.patch_size**2
        patches = real("pixel_values", across**2, width)
        case = Case(batch=1, tokens=0, image=across * vision.patch_size)
        super().__init__(model, [ModelInput(patches, normal)], [case, case])

    def results(self, feeds: Tensors) -> Tensors:
        given = {GRID: self.grid, **{f"image_{name}": value for name, value in self.constants.items()}}
        return self._features(feeds, given)

    def reference(self, feeds: Tensors) -> list[torch.Tensor]:
        """By the grid alone."""
        import torch

        return [self._features(feeds, {GRID: torch.from_numpy(self.grid)})[self.output]]

    def _features(self, feeds: Tensors, given: dict[str, Any]) -> Tensors:
        result: Any = self.model.get_image_features(**feeds, **given)
        (features,) = result.pooler_output
        return {self.output: features[None]}

    def beside(self, ids: NDArray[Any], placeholder: int) -> Arrays:
        """What `generate` takes beside the patches of an image whose placeholders are among the ids of a prompt."""
        return {GRID: self.grid, "mm_token_type_ids": (ids == placeholder).astype(np.int64)}

    def positions(self, ids: torch.Tensor, beside: Tensors) -> NDArray[Any]:
        """Of a prompt, along each axis: [3, 1, tokens]."""
        positions, _ = self.model.base_model.get_rope_index(ids, **beside)
        array: NDArray[Any] = positions.numpy()
        return array
