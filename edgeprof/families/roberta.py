"""RoBERTa and its multilingual and French siblings: BERT with one segment, and positions that start after padding.

Sizes: Liu et al. 2019, "RoBERTa"; Conneau et al. 2020, "Unsupervised cross-lingual representation learning at scale";
Martin et al. 2020, "CamemBERT"; Sanh et al. 2019, "DistilBERT" (distilroberta).
"""

from __future__ import annotations

from typing import ClassVar

from edgeprof.families.base import row
from edgeprof.families.bert import BERT
from edgeprof.families.encoder import Encoder, tasks
from edgeprof.schema import Variant


def _row(family: str, name: str, source: str, layers: int, width: int, vocabulary: int) -> Variant:
    return row(
        family,
        "base",
        name,
        max_tokens=512,
        source=source,
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        vocab_size=vocabulary,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        pad_token_id=1,
    )


class RoBERTa(Encoder):
    name = model_type = "roberta"
    tasks = tasks("Roberta")
    defaults = {**BERT.defaults, "vocab_size": 50265}
    settings = BERT.settings
    classifies_with = "classifier transform"
    variants: ClassVar[tuple[Variant, ...]] = (
        _row("roberta", "roberta-base", "FacebookAI/roberta-base", 12, 768, 50265),
        _row("roberta", "roberta-large", "FacebookAI/roberta-large", 24, 1024, 50265),
        _row("roberta", "distilroberta-base", "distilbert/distilroberta-base", 6, 768, 50265),
    )

    def most_tokens(self, variant: Variant) -> int:
        """Positions count from the one after that of padding."""
        padding = variant.config.get("pad_token_id", 1)
        return int(self.value(variant, "max_position_embeddings") - max(padding, 0) - 1)


class XLMRoBERTa(RoBERTa):
    name = model_type = "xlm-roberta"
    tasks = tasks("XLMRoberta")
    defaults = BERT.defaults
    variants = (
        _row("xlm-roberta", "xlm-roberta-base", "FacebookAI/xlm-roberta-base", 12, 768, 250002),
        _row("xlm-roberta", "xlm-roberta-large", "FacebookAI/xlm-roberta-large", 24, 1024, 250002),
    )


class CamemBERT(RoBERTa):
    name = model_type = "camembert"
    tasks = tasks("Camembert")
    defaults = BERT.defaults
    variants = (_row("camembert", "camembert-base", "almanach/camembert-base", 12, 768, 32005),)
