"""A decoder whose attention is one operator that writes its cache in place; inputs and outputs as everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprof.errors import first_line
from edgeprof.families.base import traceable_module
from edgeprof.kv_cache import EXPORTED, is_present
from edgeprof.schema import Case, Logits
from edgeprof.stages.export.decoder import CASES, Decoder
from edgeprof.stages.export.fused_attention import Fusion, NotFused
from edgeprof.stages.export.fused_operators import FAILURES
from edgeprof.stages.export.whole_model import Tensors, tensors_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class FusedDecoder(Decoder):
    """Raises NotFused for a model whose attention the operator cannot compute."""

    def __init__(self, model: PreTrainedModel, past: Tensors, logits: Logits) -> None:
        super().__init__(model, past, logits, cases=(CASES[0], *filter(_supported, CASES[1:])))
        self.windows = False
        self._tried()

    def _tried(self) -> None:
        """Run it once, with operators that give zeros: whatever fails shows before anything is traced."""
        try:
            self.windows = self._fused(Fusion(self.model), self.example())[1]
        except FAILURES as problem:
            raise NotFused(first_line(problem)) from problem

    def _fused(self, fusion: Fusion, feeds: Tensors) -> tuple[Tensors, bool]:
        """The results by name, and whether a window slides over some layers."""
        past = {name: feeds[f"{EXPORTED.past}.{name}"] for name in self.past}
        given = {name: tensor for name, tensor in feeds.items() if not name.startswith(EXPORTED.past)}
        with fusion.run(feeds["attention_mask"], feeds["input_ids"].shape[1], past) as run:
            result = self.model(**given, **{self.cache: run.cache}, use_cache=True, **self.options)
            present = {f"{EXPORTED.present}.{name}": tensor for name, tensor in run.presents().items()}
            return tensors_of(result) | present, run.windows

    def traceable(self) -> torch.nn.Module:
        fusion, names = Fusion(self.model), [spec.name for spec in self.inputs]

        def forward(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            results, _ = self._fused(fusion, dict(zip(names, tensors, strict=True)))
            return tuple(results[name] for name in self.outputs)

        return traceable_module(self.model, forward)

    def reference(self, feeds: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """NaN where nothing is defined: at padding, and in what the operator packs, in rows with padding in the past.

        In such rows a sliding window reaches further back, too: it counts tokens, where PyTorch counts positions.
        """
        attended = feeds["attention_mask"] > 0
        tokens = feeds["input_ids"].shape[1]
        past = attended.shape[1] - tokens
        ragged = ~attended[:, :past].all(1)
        new = attended[:, past:] & ~(ragged & self.windows)[:, None]
        cached = attended & ~ragged[:, None]
        results = super().reference(feeds)
        for name, result in zip(self.outputs, results, strict=True):
            if is_present(name):
                result.masked_fill_(~cached[:, None, :, None], float("nan"))
            else:
                defined = new[:, -result.shape[1] :]
                result.masked_fill_(~defined.reshape(*defined.shape, *[1] * (result.dim() - 2)), float("nan"))
        return results


def _supported(case: Case) -> bool:
    """The operator refuses several new tokens after others in a batch."""
    return case.batch == 1 or case.tokens == 1 or not case.past_tokens
