"""DistilBERT: BERT with half the layers, without segments and pooler.

Sanh et al. 2019, "DistilBERT, a distilled version of BERT", section 3.
"""

from __future__ import annotations

from edgeprof.families.base import row
from edgeprof.families.config_values import MOST_LAYERS, SHARED, activation, flag, size
from edgeprof.families.encoder import Encoder, tasks
from edgeprof.schema import Variant


class DistilBERT(Encoder):
    name = model_type = "distilbert"
    activation_key = "activation"
    heads_key = "n_heads"
    tasks = tasks("DistilBert", pooled=False)
    keys = {
        "num_hidden_layers": "n_layers",
        "hidden_size": "dim",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
    }
    defaults = {
        "n_layers": 6,
        "dim": 768,
        "n_heads": 12,
        "hidden_dim": 3072,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "activation": "gelu",
        "tie_word_embeddings": True,
    }
    settings = {
        **SHARED,
        "n_layers": size(most=MOST_LAYERS),
        "dim": size(),
        "n_heads": size(),
        "hidden_dim": size(),
        "vocab_size": size(),
        "max_position_embeddings": size(),
        "activation": activation(),
        "tie_word_embeddings": flag(),
    }
    aliases = {"num_hidden_layers": "n_layers", "hidden_size": "dim", "num_attention_heads": "n_heads"}
    classifies_with = "classifier transform"
    second_bias = False
    variants = (
        row(
            "distilbert",
            "base",
            "distilbert-base",
            max_tokens=512,
            source="distilbert/distilbert-base-uncased",
            n_layers=6,
            dim=768,
            n_heads=12,
            hidden_dim=3072,
        ),
    )

    def segments(self, variant: Variant) -> int:
        return 0
