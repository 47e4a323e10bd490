"""Encoders of images in the shape of ViT: patches and a class token, pre-norm blocks.

Dosovitskiy et al. 2021, "An image is worth 16x16 words"; position embeddings are interpolated to the size of the image.
"""

from __future__ import annotations

from math import isqrt
from pathlib import Path

import msgspec

from edgeprof.families.base import BATCH, HEIGHT, WIDTH, Component, Summary
from edgeprof.families.block import block, dense, norms, table
from edgeprof.families.config_values import refusal
from edgeprof.families.transformers_family import TransformersFamily
from edgeprof.schema import Case, Logits, Variant

PATCHES_AND_CLASS = "num_tokens"


class ImageEncoder(TransformersFamily):
    """The formulas of all of them; each says how it differs."""

    sample_kind = "image"

    def require_consistent(self, variant: Variant, file: Path) -> None:
        super().require_consistent(variant, file)
        patch, image = self.value(variant, "patch_size"), self.value(variant, "image_size")
        if patch > image:
            raise refusal(file, "patch_size", patch, f"Allowed is at most image_size, {image:,}.")

    def summary(self, variant: Variant) -> Summary:
        return Summary(
            layers=self.value(variant, "num_hidden_layers"),
            width=self.value(variant, "hidden_size"),
            heads=self.value(variant, "num_attention_heads"),
            image=self.value(variant, "image_size"),
            patch=self.value(variant, "patch_size"),
            channels=self.value(variant, "num_channels"),
        )

    def inner(self, variant: Variant) -> int:
        """The inner width of the MLP."""
        return int(self.value(variant, "intermediate_size"))

    def extras(self, variant: Variant, rows: int) -> tuple[Component, ...]:
        """Parts that ViT lacks."""
        return ()

    def head(self, variant: Variant, case: Case) -> tuple[Component, ...]:
        """Parts after the last norm."""
        return ()

    def components(self, variant: Variant, case: Case, logits: Logits = "all") -> tuple[Component, ...]:
        """Sizes and layout as in Dosovitskiy et al. 2021; the block as in `edgeprof.families.block`.

        The patch embedding multiplies every patch (patch^2 x channels values) by a matrix to the width; the class
        token is not a patch. It is a convolution: weight quantization shrinks its kernel, but not its work.
        """
        layers, width = self.value(variant, "num_hidden_layers"), self.value(variant, "hidden_size")
        patch, patches = self.value(variant, "patch_size"), case.batch * (case.tokens - 1)
        native = (self.value(variant, "image_size") // patch) ** 2
        rows = case.batch * case.tokens
        return (
            patch_embedding(patch, self.value(variant, "num_channels"), width, patches),
            table("class token", 1, width, case.batch, added=True),
            table("position embedding", native + 1, width, case.tokens, added=True),
            *block(
                layers=layers,
                width=width,
                inner=self.inner(variant),
                heads=self.value(variant, "num_attention_heads"),
                batch=case.batch,
                queries=case.tokens,
                keys=case.tokens,
                qkv_bias=self.value(variant, "qkv_bias"),
            ),
            *self.extras(variant, rows),
            norms(1, width, rows),
            *self.head(variant, case),
        )

    def true_tokens(self, variant: Variant, tokens: int) -> int:
        """One class token and the patches of the largest square image."""
        side = isqrt(max(tokens - 1, 0))
        return side * side + 1 if side else 0

    def sample_tokens(self, variant: Variant, tokens: int) -> int:
        """As many as an image of the training size has."""
        side = self.value(variant, "image_size") // self.value(variant, "patch_size")
        return int(side * side + 1)

    def sizes(self, variant: Variant, case: Case) -> dict[str, int]:
        """Height and width of the image with this many tokens, as square as the number of patches allows."""
        patch, patches = self.value(variant, "patch_size"), case.tokens - 1
        rows = next(side for side in range(isqrt(patches), 0, -1) if patches % side == 0)
        return {
            BATCH: case.batch,
            HEIGHT: rows * patch,
            WIDTH: patches // rows * patch,
            PATCHES_AND_CLASS: case.tokens,
        }


def patch_embedding(patch: int, channels: int, width: int, patches: int, *, bias: bool = True) -> Component:
    """A convolution whose stride is its size: weight quantization shrinks its kernel, but not its work."""
    part = dense("patch embedding", patch * patch * channels, width, patches, bias=bias)
    return msgspec.structs.replace(part, matrices=0, channels=0, kernels=part.matrices, filters=part.channels)
