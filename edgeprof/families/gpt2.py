"""GPT-2: a decoder with learned positions, pre-norm blocks, a KV cache and an LM head tied to the embedding.

Sizes: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", table 2; GPT-3, which has the same
architecture: Brown et al. 2020, "Language Models are Few-Shot Learners", table 2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edgeprof import kv_cache
from edgeprof.families.base import (
    BATCH,
    PAST,
    TOKENS,
    TOTAL,
    Arrays,
    Component,
    Summary,
    TracedFamily,
    integer,
    real,
    right_padded,
    row,
    traceable_module,
)
from edgeprof.families.block import TIED, block, dense, norms, table, token_embedding
from edgeprof.families.config_values import MOST_LAYERS, SHARED, activation, epsilon, flag, size
from edgeprof.families.transformers_family import Task, TransformersFamily
from edgeprof.schema import Case, Logits, TensorSpec, Variant

if TYPE_CHECKING:
    import numpy as np
    import torch


def _row(name: str, layers: int, width: int, heads: int) -> Variant:
    source = f"openai-community/{name}"
    return row("gpt2", "causal-lm", name, max_tokens=1024, source=source, n_layer=layers, n_embd=width, n_head=heads)


def _gpt3(name: str, layers: int, width: int, heads: int) -> Variant:
    """No weights are published."""
    return row("gpt2", "causal-lm", name, max_tokens=2048, n_layer=layers, n_embd=width, n_head=heads, n_positions=2048)


GPT3 = (
    _gpt3("gpt3-small", 12, 768, 12),
    _gpt3("gpt3-medium", 24, 1024, 16),
    _gpt3("gpt3-large", 24, 1536, 16),
    _gpt3("gpt3-xl", 24, 2048, 16),  # the table has 24 heads of 128, which is not 2048
    _gpt3("gpt3-2.7b", 32, 2560, 32),
    _gpt3("gpt3-6.7b", 32, 4096, 32),
    _gpt3("gpt3-13b", 40, 5120, 40),  # the table has a width of 5140, which is not 40 heads of 128
    _gpt3("gpt3", 96, 12288, 96),
)


class GPT2(TransformersFamily, TracedFamily):
    name = "gpt2"
    sample_kind = "text"
    model_type = "gpt2"
    heads_key = "n_head"
    activation_key = "activation_function"
    tasks = (
        Task(name="causal-lm", architecture="GPT2LMHeadModel", outputs=("logits",)),
        Task(name="base", architecture="GPT2Model", outputs=("last_hidden_state",)),
        Task(name="sequence-classification", architecture="GPT2ForSequenceClassification", outputs=("logits",)),
        Task(name="token-classification", architecture="GPT2ForTokenClassification", outputs=("logits",)),
        Task(
            name="question-answering",
            architecture="GPT2ForQuestionAnswering",
            outputs=("start_logits", "end_logits"),
        ),
    )
    defaults = {
        "n_layer": 12,
        "n_embd": 768,
        "n_head": 12,
        "n_positions": 1024,
        "vocab_size": 50257,
        "activation_function": "gelu_new",
        "tie_word_embeddings": True,
    }
    settings = {
        **SHARED,
        "n_layer": size(most=MOST_LAYERS),
        "n_embd": size(),
        "n_head": size(),
        "n_inner": size(optional=True),
        "n_positions": size(),
        "vocab_size": size(),
        "activation_function": activation(),
        "layer_norm_epsilon": epsilon(),
        "scale_attn_weights": flag(),
        "scale_attn_by_inverse_layer_idx": flag(),
        "tie_word_embeddings": flag(),
    }
    aliases = {
        "num_hidden_layers": "n_layer",
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
    }
    variants = (
        _row("gpt2", 12, 768, 12),
        _row("gpt2-medium", 24, 1024, 16),
        _row("gpt2-large", 36, 1280, 20),
        _row("gpt2-xl", 48, 1600, 25),
        *GPT3,
    )
    shapes = (
        Case(batch=2, tokens=5, past_tokens=3),
        Case(batch=1, tokens=1, past_tokens=0),
        Case(batch=3, tokens=7, past_tokens=0),
        Case(batch=1, tokens=1, past_tokens=9),
        Case(batch=3, tokens=3, past_tokens=4),
    )

    def summary(self, variant: Variant) -> Summary:
        return Summary(
            layers=self.value(variant, "n_layer"),
            width=self.value(variant, "n_embd"),
            heads=self.value(variant, "n_head"),
            vocabulary=self.value(variant, "vocab_size"),
            positions=self.value(variant, "n_positions"),
        )

    def components(self, variant: Variant, case: Case, logits: Logits = "all") -> tuple[Component, ...]:
        """Sizes and layout as in Radford et al. 2019; the block as in `edgeprof.families.block`."""
        layers, width = self.value(variant, "n_layer"), self.value(variant, "n_embd")
        rows = case.batch * case.tokens
        return (
            token_embedding(self.value(variant, "vocab_size"), width, rows, tied=self._tied(variant)),
            table("position embedding", self.value(variant, "n_positions"), width, rows),
            *block(
                layers=layers,
                width=width,
                inner=int(variant.config.get("n_inner") or 4 * width),
                heads=self.value(variant, "n_head"),
                batch=case.batch,
                queries=case.tokens,
                keys=case.past_tokens + case.tokens,
                cached=self.caches(variant),
            ),
            norms(1, width, rows),
            *self._head(variant, case, logits),
        )

    def notes(self, variant: Variant) -> tuple[str, ...]:
        notes = (TIED,) if self._tied(variant) else ()
        if variant not in GPT3:
            return notes
        return (
            *notes,
            "GPT-3 alternates dense and locally banded sparse attention, in a band of unpublished width (Brown et al. "
            "2020, section 2.1). Here every layer is dense: more MACs at long lengths, the same parameters.",
        )

    def _tied(self, variant: Variant) -> bool:
        return variant.task == "causal-lm" and bool(self.value(variant, "tie_word_embeddings"))

    def _head(self, variant: Variant, case: Case, logits: Logits) -> tuple[Component, ...]:
        width, rows = self.value(variant, "n_embd"), case.batch * case.tokens
        match variant.task:
            case "causal-lm":
                at = case.batch if logits == "last" else rows
                head = dense("LM head", width, self.value(variant, "vocab_size"), at, bias=False)
                if self._tied(variant):  # its parameters are the token embedding's
                    head = msgspec.structs.replace(head, params=0, matrices=0, channels=0)
                return (head,)
            case "sequence-classification":  # scored at every position, the last one is kept; no bias
                return (dense("classifier", width, self.labels(variant), rows, bias=False),)
            case "token-classification":
                return (dense("classifier", width, self.labels(variant), rows),)
            case "question-answering":
                return (dense("span head", width, 2, rows),)
            case _:
                return ()

    def caches(self, variant: Variant) -> bool:
        return variant.task in ("causal-lm", "base")

    def generates(self, variant: Variant) -> bool:
        return variant.task == "causal-lm"

    def _cache(self, variant: Variant, prefix: str, length: str) -> tuple[TensorSpec, ...]:
        heads, width = self.value(variant, "n_head"), self.value(variant, "n_embd")
        return kv_cache.specs(prefix, self.value(variant, "n_layer"), (BATCH, heads, length, width // heads))

    def inputs(self, variant: Variant) -> tuple[TensorSpec, ...]:
        ids = integer("input_ids", BATCH, TOKENS)
        if not self.caches(variant):
            return ids, integer("attention_mask", BATCH, TOKENS)
        return (
            ids,
            integer("attention_mask", BATCH, TOTAL),
            integer("position_ids", BATCH, TOKENS),
            *self._cache(variant, kv_cache.EXPORTED.past, PAST),
        )

    def outputs(self, variant: Variant, logits: Logits = "all") -> tuple[TensorSpec, ...]:
        width = self.value(variant, "n_embd")
        match variant.task:
            case "causal-lm":
                length = 1 if logits == "last" else TOKENS
                head = [real("logits", BATCH, length, self.value(variant, "vocab_size"))]
            case "sequence-classification":
                head = [real("logits", BATCH, self.labels(variant))]
            case "token-classification":
                head = [real("logits", BATCH, TOKENS, self.labels(variant))]
            case "question-answering":
                head = [real("start_logits", BATCH, TOKENS), real("end_logits", BATCH, TOKENS)]
            case _:
                head = [real("last_hidden_state", BATCH, TOKENS, width)]
        return (*head, *(self._cache(variant, kv_cache.EXPORTED.present, TOTAL) if self.caches(variant) else ()))

    def feeds(self, variant: Variant, case: Case, generator: np.random.Generator) -> Arrays:
        import numpy as np

        sizes = self.sizes(variant, case)
        arrays: Arrays = {}
        for spec in self.inputs(variant):
            shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims)
            match spec.name:
                case "input_ids":
                    arrays[spec.name] = generator.integers(0, self.value(variant, "vocab_size"), shape)
                case "position_ids":
                    positions = np.arange(case.past_tokens, case.past_tokens + case.tokens)
                    arrays[spec.name] = np.broadcast_to(positions, shape).copy()
                case "attention_mask":
                    arrays[spec.name] = right_padded(shape)
                case _:
                    arrays[spec.name] = generator.standard_normal(shape, dtype=np.float32)
        return arrays

    def traceable(self, model: torch.nn.Module, variant: Variant, logits: Logits) -> torch.nn.Module:
        """Computes the mask once for all layers, from comparisons that every exporter and runtime supports."""
        caches, outputs = self.caches(variant), self.task(variant).outputs

        def forward(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            ids, attended, *rest = tensors
            mask = causal_mask(attended, ids.shape[1])
            if not caches:
                result = model(input_ids=ids, attention_mask=mask, use_cache=False)
                return tuple(result[name] for name in outputs)
            return _run_cached(model, ids, mask, rest[0], rest[1:], outputs[0], logits)

        return traceable_module(model, forward)

    def reference(self, model: torch.nn.Module, feeds: dict[str, torch.Tensor], logits: Logits) -> list[torch.Tensor]:
        ids, attended, *rest = feeds.values()
        if rest:
            name = "logits" if hasattr(model, "lm_head") else "last_hidden_state"
            return list(_run_cached(model, ids, attended, rest[0], rest[1:], name, logits))
        result = model(input_ids=ids, attention_mask=attended, use_cache=False)
        return [value for key, value in result.items() if key.endswith("logits")]


def _run_cached(
    model: torch.nn.Module,
    ids: torch.Tensor,
    mask: torch.Tensor,
    positions: torch.Tensor,
    past: list[torch.Tensor],
    output: str,
    logits: Logits,
) -> tuple[torch.Tensor, ...]:
    from transformers import DynamicCache

    cache = DynamicCache(list(zip(past[::2], past[1::2], strict=True)))
    keep = {"logits_to_keep": 1} if logits == "last" else {}
    result = model(
        input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True, **keep
    )
    present = [part for layer in result.past_key_values.layers for part in (layer.keys, layer.values)]
    return (result[output], *present)


def causal_mask(attended: torch.Tensor, tokens: int) -> torch.Tensor:
    """[batch, past + tokens] of 0 and 1 -> [batch, 1, tokens, past + tokens], true where a query may attend."""
    import torch

    total = attended.shape[1]
    positions = torch.arange(total)
    causal = positions[None, :] <= positions[total - tokens :][:, None]
    return torch.logical_and(causal[None, None], (attended > 0)[:, None, None, :])
