"""Operators that onnxruntime runs as one where it could be many: how many of them the parts of a model make.

A name may offer alternatives, "Gelu or BiasGelu": the runtime joins an operator with its neighbours where it can.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeprof.families.base import Component

ATTENTION = "Attention"
NORM = "LayerNormalization or SkipLayerNormalization"
GELU = "Gelu or BiasGelu or FastGelu"

ATTENTION_SINCE = 23  # the operator set that has it; torch writes its parts before
GELU_SINCE = 20

SPREAD = {ATTENTION: "attention is spread over about 15 nodes a layer", GELU: "GELU is spread over 5 nodes"}
"""What becomes of an operator where the operator set has none, and the runtime does not put the parts together."""

ACTIVATIONS: dict[str, tuple[str, int]] = {
    "gelu": (GELU, GELU_SINCE),
    "gelu_python": (GELU, GELU_SINCE),
    "gelu_pytorch_tanh": (GELU, GELU_SINCE),
    "gelu_new": (GELU, 1),  # written in parts, which the runtime knows
    "gelu_fast": (GELU, 1),
    "quick_gelu": ("QuickGelu", 1),
    "silu": ("QuickGelu", 1),
}
"""`transformers`' word for an activation function -> operator, and the first operator set from which it is found.

Seen with onnxruntime 1.32 at operator sets 18, 20 and 24; what is not listed is one operator anyway, or unseen."""


def fusions(parts: Sequence[Component], activation: str, opset: int) -> dict[str, int]:
    """Operator -> how many: one attention a layer, every norm, one activation function where an MLP grows wide."""
    function, since = ACTIVATIONS.get(activation, ("", 0))
    expected = {
        ATTENTION: _count(parts, "attention scores") if opset >= ATTENTION_SINCE else 0,
        NORM: _count(parts, "block norms", "other norms"),
        function: _count(parts, "MLP up", "LM transform") if opset >= since else 0,
    }
    return {operator: count for operator, count in expected.items() if operator and count}


def _count(parts: Sequence[Component], *names: str) -> int:
    return sum(part.count for part in parts if part.name in names)
