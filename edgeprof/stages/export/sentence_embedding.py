"""What sentence-transformers computes after a transformer, as one module with it: a vector for each text.

Padding has no part in it. Formulas as in sentence-transformers' Pooling, Dense and Normalize.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgeprof.schema import PoolingMode, SentenceModule

if TYPE_CHECKING:
    import torch

VECTOR, TOKENS = "sentence_embedding", "last_hidden_state"


def embedder(model: Any, modules: Sequence[SentenceModule]) -> torch.nn.Module:
    """A module that takes what `model` takes; its forward returns the vector and the hidden states by name.

    Dense layers are `dense.0`, `dense.1` and so on, with random weights.
    """
    import torch

    class SentenceEmbedder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.config = model, model.config
            self.main_input_name = model.main_input_name
            self.dense = torch.nn.ModuleList(
                torch.nn.Linear(one.in_width, one.out_width, bias=one.bias) for one in modules if one.kind == "dense"
            )

        def forward(self, **inputs: Any) -> dict[str, torch.Tensor]:
            tokens = self.model(**inputs)[0]
            mask = inputs.get("attention_mask")
            if mask is None:
                mask = torch.ones(tokens.shape[:2], dtype=torch.int64)
            dense = iter(self.dense)
            vector = tokens
            for module in modules:
                match module.kind:
                    case "pooling":
                        vector = torch.cat([pooled(mode, tokens, mask) for mode in module.modes], dim=-1)
                    case "dense":
                        vector = getattr(torch.nn, module.activation)()(next(dense)(vector))
                    case "normalize":
                        vector = torch.nn.functional.normalize(vector, p=2, dim=-1)
            return {VECTOR: vector, TOKENS: tokens}

    SentenceEmbedder.forward.__signature__ = inspect.signature(type(model).forward)  # type: ignore[attr-defined]
    return SentenceEmbedder()


def pooled(mode: PoolingMode, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """One vector per row.

    Args:
        tokens: batch x tokens x width.
        mask: batch x tokens; 1 for a token, 0 for padding on the right.
    """
    import torch

    kept = mask.unsqueeze(-1).to(tokens.dtype)
    match mode:
        case "cls":
            return tokens[:, 0]
        case "max":
            return tokens.masked_fill(mask.unsqueeze(-1) == 0, float("-inf")).amax(dim=1)
        case "mean":
            return (tokens * kept).sum(1) / kept.sum(1).clamp(min=1e-9)
        case "mean_sqrt_len":
            return (tokens * kept).sum(1) / kept.sum(1).clamp(min=1e-9).sqrt()
        case "weightedmean":
            kept = kept * torch.arange(1, tokens.shape[1] + 1, dtype=tokens.dtype)[:, None]
            return (tokens * kept).sum(1) / kept.sum(1).clamp(min=1e-9)
        case "lasttoken":
            last = mask.sum(1) - 1
            return tokens.gather(1, last[:, None, None].expand(-1, 1, tokens.shape[2])).squeeze(1)
