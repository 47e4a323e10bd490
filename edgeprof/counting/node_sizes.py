"""The sizes that the time of a node depends on, by name: what a probe of a device measured its operators at.

products       rows, inner, columns; of two activations also matrices, the number of products in the node
convolutions   as a product: rows are the positions of its result, inner the weights of a channel
attention      tokens, keys, heads (of the whole batch), head_size; with its projections, those of a product too
others         rows and columns of the first result; of one that is resampled also taps, the values that each is made of
"""

from __future__ import annotations

from collections.abc import Container
from math import prod
from typing import Any

from edgeprof.counting.contrib_shapes import RULE_ERRORS, Tensors
from edgeprof.counting.macs import (
    ATTENTION,
    CONVOLUTIONS,
    ELEMENTWISE,
    IN_PLACE,
    LOOKUPS,
    MACS,
    MOVEMENT,
    NORMS,
    PRODUCTS,
    PROJECTING,
    VIEWS,
    NotCountable,
)
from edgeprof.counting.records import NodeKind

WEIGHTS_AT = {"QLinearConv": 3}
TAPS = {"linear": 2, "cubic": 4}
"""Values along one axis, by the mode of a Resize."""

KINDS: tuple[tuple[NodeKind, Container[str]], ...] = (
    ("view", VIEWS | {"Shape", "Size"}),
    ("product", PRODUCTS),
    ("convolution", CONVOLUTIONS),
    ("attention", ATTENTION),
    ("norm", NORMS),
    ("lookup", LOOKUPS),
    ("elementwise", ELEMENTWISE | IN_PLACE),
    ("movement", MOVEMENT),
)


def node_kind(operator: str) -> NodeKind:
    """What an operator does, as far as its time is concerned.

    >>> node_kind("Reshape"), node_kind("com.microsoft::MatMulNBits"), node_kind("LSTM")
    ('view', 'product', 'other')
    """
    return next((kind for kind, operators in KINDS if operator in operators), "other")


def node_sizes(
    operator: str, ins: Tensors, outs: Tensors, attributes: dict[str, Any], *, weighted: bool
) -> dict[str, int]:
    """Sizes of a node; none where shapes are not known.

    Args:
        weighted: the second factor of a product is a constant.
    """
    try:
        if operator in ATTENTION:
            return _attention(operator, ins, attributes)
        if operator in PRODUCTS:
            return _product(MACS[operator](ins, outs, attributes), outs[0].shape, weighted=weighted)
        if operator in CONVOLUTIONS:
            return _convolution(operator, ins, outs)
        shape = outs[0].shape
        sizes = {"rows": prod(shape[:-1]), "columns": shape[-1] if shape else 1}
        return sizes | ({"taps": _taps(ins[0].shape, shape, attributes)} if operator == "Resize" else {})
    except (NotCountable, *RULE_ERRORS):
        return {}


def _product(macs: int, shape: tuple[int, ...], *, weighted: bool) -> dict[str, int]:
    *before, columns = shape or (1,)
    sizes = {"inner": macs // max(prod(shape), 1), "columns": columns}
    if weighted:
        return {"rows": prod(before), **sizes}
    return {"rows": before[-1] if before else 1, **sizes, "matrices": prod(before[:-1])}


def _convolution(operator: str, ins: Tensors, outs: Tensors) -> dict[str, int]:
    (batch, channels, *places), weight = outs[0].shape, ins[WEIGHTS_AT.get(operator.rpartition("::")[2], 1)]
    return {"rows": batch * prod(places), "inner": prod(weight.shape[1:]), "columns": channels}


def _taps(before: tuple[int, ...], after: tuple[int, ...], attributes: dict[str, Any]) -> int:
    """Values that each value of a resized tensor is made of; one where the size stays, or the nearest is taken."""
    resized = sum(old != new for old, new in zip(before, after, strict=True))
    return int(TAPS.get(attributes.get("mode", "nearest"), 1) ** resized)


def _attention(operator: str, ins: Tensors, attributes: dict[str, Any]) -> dict[str, int]:
    attended = ATTENTION[operator](ins, attributes)
    sizes = {
        "tokens": attended.queries,
        "keys": attended.pairs // max(attended.queries, 1),
        "heads": attended.scores // max(attended.pairs, 1),
        "head_size": attended.columns // 2,
    }
    if operator in PROJECTING:
        shape = ins[0].shape
        sizes |= {"rows": prod(shape[:-1]), "inner": shape[-1], "columns": ins[1].shape[-1]}
    return sizes
