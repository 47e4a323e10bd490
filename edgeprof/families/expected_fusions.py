"""Fused operators that onnxruntime is expected to run for a model, and how many of each.

A name may have alternatives, "Gelu or BiasGelu": the runtime fuses an operator with its neighbours where it can.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeprof.families.base import Component

ATTENTION = "Attention"
GROUPED = "GroupQueryAttention"
NORM = "LayerNormalization or SkipLayerNormalization"
RMS = "RMSNormalization or SimplifiedLayerNormalization or SkipSimplifiedLayerNormalization"
GELU = "Gelu or BiasGelu or FastGelu"

ATTENTION_SINCE = 23  # the first operator set that has it; before, torch writes its parts
GELU_SINCE = 20

SPREAD = {ATTENTION: "attention is spread over about 15 nodes a layer", GELU: "GELU is spread over 5 nodes"}
"""The remark where an operator set lacks an operator and the runtime does not fuse its parts."""

ACTIVATIONS: dict[str, tuple[str, int]] = {
    "gelu": (GELU, GELU_SINCE),
    "gelu_python": (GELU, GELU_SINCE),
    "gelu_pytorch_tanh": (GELU, GELU_SINCE),
    "gelu_new": (GELU, 1),  # written in parts, which the runtime fuses
    "gelu_fast": (GELU, 1),
    "quick_gelu": ("QuickGelu", 1),
    "silu": ("QuickGelu", 1),
}
"""Name of an activation function in `transformers` -> operator, and the first operator set in which it is fused.

Observed with onnxruntime 1.32 at operator sets 18, 20 and 24; others are a single operator anyway, or not tested."""


def fusions(
    parts: Sequence[Component], activation: str, opset: int, *, fused: bool = False, rms: bool = False
) -> dict[str, int]:
    """Operator -> count: an attention per layer, every norm, an activation function per MLP.

    Args:
        fused: the graph is of a decoder that emits fused operators itself.
        rms: its norms divide by the root mean square, which the runtime fuses only where they come as one operator.
    """
    function, since = ACTIVATIONS.get(activation, ("", 0))
    expected = {
        GROUPED if fused else ATTENTION: _count(parts, "attention scores") if fused or opset >= ATTENTION_SINCE else 0,
        RMS if rms else NORM: _count(parts, "norms", "norm") if fused or not rms else 0,
        function: _count(parts, "MLP up", "LM transform") if opset >= since else 0,
    }
    return {operator: count for operator, count in expected.items() if operator and count}


def _count(parts: Sequence[Component], *names: str) -> int:
    return sum(part.count for part in parts if part.name.endswith(names))
