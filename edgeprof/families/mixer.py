"""Ways to mix tokens, as single layers: from one matrix for all tokens and features to one that mixes nothing.

With n tokens of width d (and m tokens of a second sequence), for a batch of b:

    dense        (n d)^2 weights     b (n d)^2 MACs      every feature of every token sees every other; n is fixed
    pointwise    d^2                 b n d^2             every token for itself, as a convolution of kernel size 1
    gram         0                   2 b n^2 d           X X^T X: tokens by their similarity, nothing to learn
    attention    3 d^2               b (n + 2 m) d^2 + 2 b n m d     softmax(Q K^T / sqrt(d / heads)) V
    block        12 d^2 + 13 d       see `edgeprof.families.block`

Attention is that of Vaswani et al. 2017, "Attention is all you need", section 3.2; n = m unless it is cross-attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgeprof.families.base import BATCH, TOKENS, Arrays, Component, Summary, TracedFamily, real, row
from edgeprof.families.block import attention, block, dense
from edgeprof.schema import Case, Logits, Phase, TensorSpec, Variant

if TYPE_CHECKING:
    import numpy as np
    import torch

CONTEXT = "context_length"
HEAD_WIDTH = 64  # of a block by default, as in GPT-2, BERT and ViT


class Mixer(TracedFamily):
    """A variant's `task` is the kind of layer."""

    name = "mixer"
    single_layer = True
    defaults = {"width": 768, "tokens": 512, "heads": 1, "cross": None}
    variants = (
        row("mixer", "dense", "mixer-dense", max_tokens=512, width=768, tokens=512),
        row("mixer", "pointwise", "mixer-pointwise", width=768),
        row("mixer", "gram", "mixer-gram", width=768),
        row("mixer", "attention", "mixer-attention", width=768),
        row("mixer", "block", "mixer-block", width=768),
    )
    shapes = (Case(batch=2, tokens=5), Case(batch=1, tokens=1), Case(batch=3, tokens=7), Case(batch=1, tokens=64))

    # --- sized ---

    def options(self, variant: Variant) -> Mapping[str, str]:
        others = {
            "dense": {"tokens": "t"},
            "attention": {"heads": "h", "cross": "cross"},  # cross: tokens of a second sequence
            "block": {"heads": "h"},
        }
        return {"width": "w", **others.get(variant.task, {})}

    def value(self, variant: Variant, key: str) -> Any:
        """As in every family, except that a block's default number of heads depends on its width."""
        if key == "heads" and variant.task == "block" and key not in variant.config:
            heads, rest = divmod(self.value(variant, "width"), HEAD_WIDTH)
            return 1 if rest else heads
        return super().value(variant, key)

    def summary(self, variant: Variant) -> Summary:
        heads = self.value(variant, "heads") if variant.task in ("attention", "block") else None
        return Summary(layers=1, width=self.value(variant, "width"), heads=heads)

    # --- counted ---

    def components(self, variant: Variant, case: Case, logits: Logits = "all") -> tuple[Component, ...]:
        """As in the table above; a dense layer is counted as one for the token length of `case`."""
        width, heads, tokens = self.value(variant, "width"), self.value(variant, "heads"), case.tokens
        elements = case.batch * tokens * width
        match variant.task:
            case "dense":
                return (dense("token-mixing layer", tokens * width, tokens * width, case.batch, bias=False),)
            case "pointwise":
                return (dense("pointwise layer", width, width, case.batch * tokens, bias=False),)
            case "gram":
                return (_gram_costs(case, width),)
            case "attention":
                keys = self.value(variant, "cross") or tokens
                context = case.batch * keys * width if self.value(variant, "cross") else 0
                return attention(
                    width=width,
                    heads=heads,
                    batch=case.batch,
                    queries=tokens,
                    keys=keys,
                    projected=keys,
                    kept=elements + context,
                    bias=False,
                )
            case _:
                return block(
                    layers=1,
                    width=width,
                    inner=4 * width,
                    heads=heads,
                    batch=case.batch,
                    queries=tokens,
                    keys=tokens,
                )

    # --- shaped ---

    def fixed_tokens(self, variant: Variant, phase: Phase = "prefill") -> int | None:
        return int(self.value(variant, "tokens")) if variant.task == "dense" else None

    def example(self, variant: Variant) -> Case:
        return Case(batch=2, tokens=self.fixed_tokens(variant) or self.shapes[0].tokens)

    def cases(self, variant: Variant) -> tuple[Case, ...]:
        tokens = self.fixed_tokens(variant)
        return tuple(Case(batch=batch, tokens=tokens) for batch in (1, 3)) if tokens else self.shapes[1:]

    def inputs(self, variant: Variant) -> tuple[TensorSpec, ...]:
        width = self.value(variant, "width")
        states = real("hidden_states", BATCH, self.fixed_tokens(variant) or TOKENS, width)
        return (states, real("context", BATCH, CONTEXT, width)) if self.value(variant, "cross") else (states,)

    def outputs(self, variant: Variant, logits: Logits = "all") -> tuple[TensorSpec, ...]:
        return (real("mixed", BATCH, self.fixed_tokens(variant) or TOKENS, self.value(variant, "width")),)

    def sizes(self, variant: Variant, case: Case) -> dict[str, int]:
        cross = self.value(variant, "cross")
        return super().sizes(variant, case) | ({CONTEXT: cross} if cross else {})

    # --- run by PyTorch ---

    def build(self, variant: Variant) -> torch.nn.Module:
        width, heads = self.value(variant, "width"), self.value(variant, "heads")
        match variant.task:
            case "dense":
                return _dense(self.value(variant, "tokens"), width)
            case "pointwise":
                import torch

                return torch.nn.Linear(width, width, bias=False)
            case "gram":
                return _gram()
            case "attention":
                return _attention(width, heads, bias=False)
            case _:
                return _block(width, heads)

    def feeds(self, variant: Variant, case: Case, generator: np.random.Generator) -> Arrays:
        """Random states; the context differs in length from all other dimensions, and from case to case."""
        import numpy as np

        sizes = {BATCH: case.batch, TOKENS: case.tokens, CONTEXT: 2 * case.tokens - 1}
        return {
            spec.name: generator.standard_normal(
                [sizes[dim] if isinstance(dim, str) else dim for dim in spec.dims], dtype=np.float32
            )
            for spec in self.inputs(variant)
        }

    def reference(self, model: torch.nn.Module, feeds: dict[str, torch.Tensor], logits: Logits) -> list[torch.Tensor]:
        return [model(*feeds.values())]


def _gram_costs(case: Case, width: int) -> Component:
    """X X^T and its product with X: n x n and n x d numbers, with d and n MACs each."""
    scored, elements = case.batch * case.tokens**2, case.batch * case.tokens * width
    return Component(
        name="Gram matrix and product",
        macs=2 * scored * width,
        activations=scored + elements,
        live=scored + 2 * elements,
    )


def gram_rank(tokens: int, width: int, seed: int = 0) -> int:
    """The numerical rank of X X^T X, which has the shape of X, for a random X of `tokens` x `width`.

    It equals the rank of X, at most min(tokens, width): the singular values of X X^T X are the cubes of those of X.
    """
    import numpy as np

    states = np.random.default_rng(seed).standard_normal((tokens, width))
    return int(np.linalg.matrix_rank(states @ states.T @ states))


# --- modules -------------------------------------------------------------------------------------------


def _dense(tokens: int, width: int) -> torch.nn.Module:
    import torch

    elements = tokens * width

    class Dense(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(elements, elements, bias=False)

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            mixed: torch.Tensor = self.layer(states.reshape(-1, elements))
            return mixed.reshape(-1, tokens, width)

    return Dense()


def _gram() -> torch.nn.Module:
    import torch

    class Gram(torch.nn.Module):
        def forward(self, states: torch.Tensor) -> torch.Tensor:
            return states @ states.transpose(1, 2) @ states

    return Gram()


def _attention(width: int, heads: int, *, bias: bool) -> torch.nn.Module:
    import torch

    class Attention(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query = torch.nn.Linear(width, width, bias=bias)
            self.key = torch.nn.Linear(width, width, bias=bias)
            self.value = torch.nn.Linear(width, width, bias=bias)

        def forward(self, states: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
            source = states if context is None else context
            projections = ((self.query, states), (self.key, source), (self.value, source))
            query, key, value = (self.in_heads(layer(vectors)) for layer, vectors in projections)
            mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
            return mixed.transpose(1, 2).reshape(states.shape)

        def in_heads(self, vectors: torch.Tensor) -> torch.Tensor:
            """[batch, tokens, width] -> [batch, heads, tokens, width / heads]"""
            return vectors.view(vectors.shape[0], -1, heads, width // heads).transpose(1, 2)

    return Attention()


def _block(width: int, heads: int) -> torch.nn.Module:
    """A pre-norm block, as in GPT-2 and ViT: Xiong et al. 2020, "On Layer Normalization in Transformers"."""
    import torch

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm_1, self.norm_2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
            self.attention = _attention(width, heads, bias=True)
            self.output = torch.nn.Linear(width, width)
            self.up, self.down = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            attended = states + self.output(self.attention(self.norm_1(states)))
            inner = torch.nn.functional.gelu(self.up(self.norm_2(attended)))
            mixed: torch.Tensor = attended + self.down(inner)
            return mixed

    return Block()
