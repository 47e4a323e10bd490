"""CLIP: two encoders, of text and of images, whose results meet in one space.

Radford et al. 2021, "Learning transferable visual models from natural language supervision", section 2.4. Both are
blocks of `edgeprof.families.block`; the image's patches are embedded without a bias. The last token of a text and the
class token of an image are projected to a common width p, without biases, and every text is compared with every image:
with b of each, b^2 p MACs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from edgeprof.families.base import BATCH, HEIGHT, TOKENS, WIDTH, Component, Summary, row
from edgeprof.families.block import block, dense, norms, table
from edgeprof.families.config_values import MOST_LAYERS, SHARED, activation, size
from edgeprof.families.image_encoder import patch_embedding
from edgeprof.families.transformers_family import Task, TransformersFamily
from edgeprof.schema import Case, Logits, Phase, Variant

TOWERS = ("text", "vision")


def _row(name: str, text: tuple[int, int], vision: tuple[int, int, int], common: int) -> Variant:
    """A variant; layers and width of the text encoder, and layers, width and patch size of the image encoder."""
    return row(
        "clip",
        "dual-encoder",
        name,
        max_tokens=77,
        source=f"openai/{name}",
        text_num_hidden_layers=text[0],
        text_hidden_size=text[1],
        text_num_attention_heads=text[1] // 64,
        text_intermediate_size=4 * text[1],
        vision_num_hidden_layers=vision[0],
        vision_hidden_size=vision[1],
        vision_num_attention_heads=vision[1] // 64,
        vision_intermediate_size=4 * vision[1],
        vision_patch_size=vision[2],
        projection_dim=common,
    )


class CLIP(TransformersFamily):
    """A variant's `config` has the keys of the two nested configurations, with "text_" or "vision_" before them."""

    name = model_type = "clip"
    activation_key = "text_hidden_act"
    heads_key = "text_num_attention_heads"
    tasks = (Task(name="dual-encoder", architecture="CLIPModel", outputs=("logits_per_image", "logits_per_text")),)
    defaults = {
        "text_vocab_size": 49408,
        "text_hidden_size": 512,
        "text_intermediate_size": 2048,
        "text_num_hidden_layers": 12,
        "text_num_attention_heads": 8,
        "text_max_position_embeddings": 77,
        "text_hidden_act": "quick_gelu",
        "vision_hidden_size": 768,
        "vision_intermediate_size": 3072,
        "vision_num_hidden_layers": 12,
        "vision_num_attention_heads": 12,
        "vision_num_channels": 3,
        "vision_image_size": 224,
        "vision_patch_size": 32,
        "vision_hidden_act": "quick_gelu",
        "projection_dim": 512,
    }
    settings = {
        **SHARED,
        **{f"{tower}_{key}": size() for tower in TOWERS for key in ("hidden_size", "intermediate_size")},
        **{f"{tower}_num_attention_heads": size() for tower in TOWERS},
        **{f"{tower}_num_hidden_layers": size(most=MOST_LAYERS) for tower in TOWERS},
        **{f"{tower}_hidden_act": activation() for tower in TOWERS},
        "text_vocab_size": size(),
        "text_max_position_embeddings": size(),
        "vision_num_channels": size(),
        "vision_image_size": size(),
        "vision_patch_size": size(),
        "projection_dim": size(),
    }
    variants = (
        _row("clip-vit-base-patch32", (12, 512), (12, 768, 32), 512),
        _row("clip-vit-base-patch16", (12, 512), (12, 768, 16), 512),
        _row("clip-vit-large-patch14", (12, 768), (24, 1024, 14), 768),
    )

    def written(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """Newer files hold `text_config`; older ones hold `text_config_dict`, too, which `transformers` prefers."""
        flat = dict(config)
        for tower in TOWERS:
            for name in (f"{tower}_config", f"{tower}_config_dict"):
                nested = flat.pop(name, None)
                flat |= {f"{tower}_{key}": value for key, value in nested.items()} if isinstance(nested, dict) else {}
        return flat

    def nested(self, variant: Variant) -> dict[str, Any]:
        nested: dict[str, Any] = {f"{tower}_config": {} for tower in TOWERS}
        for key, value in variant.config.items():
            tower, _, name = key.partition("_")
            if tower in TOWERS:
                nested[f"{tower}_config"][name] = value
            else:
                nested[key] = value
        return nested

    def summary(self, variant: Variant) -> Summary:
        """Layers are those of both encoders; width and heads are the text's."""
        return Summary(
            layers=sum(self.value(variant, f"{tower}_num_hidden_layers") for tower in TOWERS),
            width=self.value(variant, "text_hidden_size"),
            heads=self.value(variant, "text_num_attention_heads"),
            vocabulary=self.value(variant, "text_vocab_size"),
            positions=self.value(variant, "text_max_position_embeddings"),
            image=self.value(variant, "vision_image_size"),
            patch=self.value(variant, "vision_patch_size"),
            channels=self.value(variant, "vision_num_channels"),
        )

    def components(self, variant: Variant, case: Case, logits: Logits = "all") -> tuple[Component, ...]:
        """As many images as texts; sizes and layout as in the docstring of the module."""
        common = self.value(variant, "projection_dim")
        products = dense("products of the projections", common, case.batch, case.batch, bias=False)
        return (
            *self._text(variant, case.batch, case.tokens),
            *self._vision(variant, case.batch),
            msgspec.structs.replace(products, params=1, matrices=0, channels=0),  # a learnt scale
        )

    def _text(self, variant: Variant, batch: int, tokens: int) -> tuple[Component, ...]:
        width, rows = self.value(variant, "text_hidden_size"), batch * tokens
        return (
            table("text token embedding", self.value(variant, "text_vocab_size"), width, rows),
            table("text position embedding", self.value(variant, "text_max_position_embeddings"), width, rows),
            *self._blocks(variant, "text", batch, tokens),
            msgspec.structs.replace(norms(1, width, rows), name="text last norm"),
            self._projection(variant, "text", batch),
        )

    def _vision(self, variant: Variant, batch: int) -> tuple[Component, ...]:
        width, tokens = self.value(variant, "vision_hidden_size"), self._image_tokens(variant)
        patch, channels = self.value(variant, "vision_patch_size"), self.value(variant, "vision_num_channels")
        embedding = patch_embedding(patch, channels, width, batch * (tokens - 1), bias=False)
        return (
            msgspec.structs.replace(embedding, name="vision patch embedding"),
            table("vision class token", 1, width, batch, added=True),
            table("vision position embedding", tokens, width, tokens, added=True),
            msgspec.structs.replace(norms(1, width, batch * tokens), name="vision first norm"),
            *self._blocks(variant, "vision", batch, tokens),
            msgspec.structs.replace(norms(1, width, batch), name="vision last norm"),
            self._projection(variant, "vision", batch),
        )

    def _blocks(self, variant: Variant, tower: str, batch: int, tokens: int) -> tuple[Component, ...]:
        return block(
            layers=self.value(variant, f"{tower}_num_hidden_layers"),
            width=self.value(variant, f"{tower}_hidden_size"),
            inner=self.value(variant, f"{tower}_intermediate_size"),
            heads=self.value(variant, f"{tower}_num_attention_heads"),
            batch=batch,
            queries=tokens,
            keys=tokens,
            prefix=f"{tower} ",
        )

    def _projection(self, variant: Variant, tower: str, batch: int) -> Component:
        """To the common width."""
        width, common = self.value(variant, f"{tower}_hidden_size"), self.value(variant, "projection_dim")
        return dense(f"{tower} projection", width, common, batch, bias=False)

    def _image_tokens(self, variant: Variant) -> int:
        """One for each patch, and the class token."""
        side = self.value(variant, "vision_image_size") // self.value(variant, "vision_patch_size")
        return int(side * side + 1)

    def length_note(self, variant: Variant, phase: Phase) -> str:
        image = self.value(variant, "vision_image_size")
        return (
            f"The tokens are those of a text; an image has {image} x {image} pixels, which are "
            f"{self._image_tokens(variant):,} tokens. There are as many images as texts."
        )

    def sizes(self, variant: Variant, case: Case) -> dict[str, int]:
        image = self.value(variant, "vision_image_size")
        return {BATCH: case.batch, TOKENS: case.tokens, HEIGHT: image, WIDTH: image}
