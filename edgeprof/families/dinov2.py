"""DINOv2: ViT with a scale on what attention and MLP add, and patches of 14 pixels.

Oquab et al. 2023, "DINOv2: learning robust visual features without supervision". The scales (Touvron et al. 2021,
"Going deeper with image transformers") are 2 d weights in a block of width d. A mask token is stored, and used in
training only.
"""

from __future__ import annotations

from edgeprof.families.base import Component, row
from edgeprof.families.block import dense, repeated
from edgeprof.families.config_values import MOST_LAYERS, SHARED, activation, flag, only, size
from edgeprof.families.image_encoder import ImageEncoder
from edgeprof.families.transformers_family import Task
from edgeprof.schema import Case, Variant


def _row(name: str, layers: int, width: int) -> Variant:
    return row(
        "dinov2",
        "base",
        name,
        source=f"facebook/{name}",
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=width // 64,
        image_size=518,
    )


class DINOv2(ImageEncoder):
    name = model_type = "dinov2"
    tasks = (
        Task(name="base", architecture="Dinov2Model", outputs=("last_hidden_state", "pooler_output")),
        Task(name="image-classification", architecture="Dinov2ForImageClassification", outputs=("logits",)),
    )
    defaults = {
        "num_hidden_layers": 12,
        "hidden_size": 768,
        "num_attention_heads": 12,
        "mlp_ratio": 4,
        "image_size": 224,
        "patch_size": 14,
        "num_channels": 3,
        "hidden_act": "gelu",
        "qkv_bias": True,
        "use_mask_token": True,
    }
    settings = {
        **SHARED,
        "num_hidden_layers": size(most=MOST_LAYERS),
        "hidden_size": size(),
        "num_attention_heads": size(),
        "mlp_ratio": size(),
        "image_size": size(),
        "patch_size": size(),
        "num_channels": size(),
        "hidden_act": activation(),
        "qkv_bias": flag(),
        "use_mask_token": flag(),
        "use_swiglu_ffn": only("false", False),
    }
    variants = (_row("dinov2-small", 12, 384), _row("dinov2-base", 12, 768), _row("dinov2-large", 24, 1024))

    def inner(self, variant: Variant) -> int:
        return int(self.value(variant, "mlp_ratio") * self.value(variant, "hidden_size"))

    def extras(self, variant: Variant, rows: int) -> tuple[Component, ...]:
        width = self.value(variant, "hidden_size")
        scale = Component(name="layer scales", count=2, params=width, activations=rows * width, live=2 * rows * width)
        unused = Component(name="mask token", params=width)
        return (
            *repeated(self.value(variant, "num_hidden_layers"), scale),
            *([unused] if self.value(variant, "use_mask_token") else []),
        )

    def head(self, variant: Variant, case: Case) -> tuple[Component, ...]:
        """The class token and the mean of the patches, side by side, are classified."""
        if variant.task != "image-classification":
            return ()
        return (dense("classifier", 2 * self.value(variant, "hidden_size"), self.labels(variant), case.batch),)
