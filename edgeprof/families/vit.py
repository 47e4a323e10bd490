"""ViT: an encoder over image patches, pre-norm blocks, a class token, position embeddings interpolated to the image.

Sizes: Dosovitskiy et al. 2021 (base, large, huge); Touvron et al. 2021, DeiT (tiny, small).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprof.families.base import (
    BATCH,
    HEIGHT,
    WIDTH,
    Arrays,
    Component,
    TracedFamily,
    real,
    row,
    traceable_module,
)
from edgeprof.families.block import dense
from edgeprof.families.config_values import MOST_LAYERS, SHARED, activation, epsilon, flag, refusal, size
from edgeprof.families.image_encoder import PATCHES_AND_CLASS, ImageEncoder
from edgeprof.families.transformers_family import Task
from edgeprof.schema import Case, Logits, TensorSpec, Variant

if TYPE_CHECKING:
    import numpy as np
    import torch


def _row(name: str, layers: int, width: int, heads: int, source: str | None, patch: int = 16) -> Variant:
    return row(
        "vit",
        "image-classification",
        name,
        source=source,
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        patch_size=patch,
        num_labels=1000,
    )


class ViT(ImageEncoder, TracedFamily):
    name = "vit"
    model_type = "vit"
    tasks = (
        Task(name="image-classification", architecture="ViTForImageClassification", outputs=("logits",)),
        Task(name="base", architecture="ViTModel", outputs=("last_hidden_state", "pooler_output")),
        Task(name="encoder", architecture="ViTModel", outputs=("last_hidden_state",)),  # a checkpoint without pooler
    )
    defaults = {
        "num_hidden_layers": 12,
        "hidden_size": 768,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "image_size": 224,
        "patch_size": 16,
        "num_channels": 3,
        "hidden_act": "gelu",
        "qkv_bias": True,
    }
    settings = {
        **SHARED,
        "num_hidden_layers": size(most=MOST_LAYERS),
        "hidden_size": size(),
        "num_attention_heads": size(),
        "intermediate_size": size(),
        "image_size": size(),
        "patch_size": size(),
        "num_channels": size(),
        "hidden_act": activation(),
        "layer_norm_eps": epsilon(),
        "qkv_bias": flag(),
        "pooler_act": activation(),
        "pooler_output_size": size(optional=True),
    }
    variants = (
        _row("vit-tiny", 12, 192, 3, "WinKawaks/vit-tiny-patch16-224"),
        _row("vit-small", 12, 384, 6, "WinKawaks/vit-small-patch16-224"),
        _row("vit-base", 12, 768, 12, "google/vit-base-patch16-224"),
        _row("vit-large", 24, 1024, 16, "google/vit-large-patch16-224"),
        _row("vit-huge", 32, 1280, 16, None, patch=14),  # no published checkpoint has a 1000-class head
    )
    shapes = (
        Case(batch=2, tokens=1 + 3 * 4),
        Case(batch=1, tokens=1 + 1),
        Case(batch=3, tokens=1 + 2 * 3),
        Case(batch=1, tokens=1 + 14 * 14),
    )

    def require_consistent(self, variant: Variant, file: Path) -> None:
        super().require_consistent(variant, file)
        width = self.value(variant, "hidden_size")
        if (pooled := variant.config.get("pooler_output_size", width)) != width:
            raise refusal(file, "pooler_output_size", pooled, f"Allowed is hidden_size, {width:,}.")

    def head(self, variant: Variant, case: Case) -> tuple[Component, ...]:
        width = self.value(variant, "hidden_size")
        match variant.task:
            case "image-classification":
                return (dense("classifier", width, self.labels(variant), case.batch),)
            case "base":
                return (dense("pooler", width, width, case.batch),)
            case _:
                return ()

    def inputs(self, variant: Variant) -> tuple[TensorSpec, ...]:
        return (real("pixel_values", BATCH, self.value(variant, "num_channels"), HEIGHT, WIDTH),)

    def outputs(self, variant: Variant, logits: Logits = "all") -> tuple[TensorSpec, ...]:
        width = self.value(variant, "hidden_size")
        hidden = real("last_hidden_state", BATCH, PATCHES_AND_CLASS, width)
        match variant.task:
            case "image-classification":
                return (real("logits", BATCH, self.labels(variant)),)
            case "base":
                return hidden, real("pooler_output", BATCH, width)
            case _:
                return (hidden,)

    def feeds(self, variant: Variant, case: Case, generator: np.random.Generator) -> Arrays:
        import numpy as np

        sizes = self.sizes(variant, case)
        shape = (case.batch, self.value(variant, "num_channels"), sizes[HEIGHT], sizes[WIDTH])
        return {"pixel_values": generator.standard_normal(shape, dtype=np.float32)}

    def traceable(self, model: torch.nn.Module, variant: Variant, logits: Logits) -> torch.nn.Module:
        outputs = self.task(variant).outputs

        def forward(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            result = model(pixel_values=tensors[0], interpolate_pos_encoding=True)
            return tuple(result[name] for name in outputs)

        return traceable_module(model, forward)

    def reference(self, model: torch.nn.Module, feeds: dict[str, torch.Tensor], logits: Logits) -> list[torch.Tensor]:
        result = model(**feeds, interpolate_pos_encoding=True)
        return [result[key] for key in result if result[key] is not None]

    def torch_dims(self, variant: Variant) -> dict[str, Any]:
        """An image has whole patches in both directions."""
        from torch.export import Dim

        patch = self.value(variant, "patch_size")
        return {HEIGHT: patch * Dim("rows"), WIDTH: patch * Dim("columns")}
