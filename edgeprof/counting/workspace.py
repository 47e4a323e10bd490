"""Scratch memory that kernels of onnxruntime's CPU provider allocate while they run, in bytes.

Measured, not read from source: the resident set of one node beyond its inputs and outputs, without arena, at 512 and
1,024 tokens, in onnxruntime 1.32 (`tests/counting/test_counting_workspace.py` measures again). Most attention kernels
keep the scores between all queries and keys; GroupQueryAttention and a plain MultiHeadAttention work on tiles of them.
Kernels that are not listed allocate nothing worth counting, or were not measured (GRU, convolutions in other layouts).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeprof.counting.contrib_shapes import MS, RULE_ERRORS, Tensors
from edgeprof.counting.macs import ATTENTION, AttentionSizes, NotCountable

FLOAT_BYTES = 4
L2_BYTES = 1 << 20
"""Second-level cache of a core, which the tiles of its thread fill. Half and twice this size are common too, and make
tiles of half and twice the size."""
BOOL = 9  # TensorProto.BOOL

Rule = Callable[[Tensors, Tensors, dict[str, Any]], list[int]]
"""Bytes of each allocation, from the input tensors, the output tensors and the attributes."""


def workspace(operator: str, ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> tuple[int, ...]:
    """Bytes of each allocation; none where shapes are not known (which is reported where MACs are counted)."""
    rule = WORKSPACES.get(operator)
    try:
        return tuple(piece for piece in rule(ins, outs, attributes) if piece) if rule else ()
    except (NotCountable, *RULE_ERRORS):
        return ()


def _is_given(tensors: Tensors, at: int) -> bool:
    return len(tensors) > at and tensors[at] is not None


def _floats(*elements: int) -> list[int]:
    return [FLOAT_BYTES * each for each in elements]


def _causal(sizes: AttentionSizes, attributes: dict[str, Any]) -> int:
    """Elements of the mask that a kernel builds to hide later tokens."""
    return sizes.pairs if attributes.get("unidirectional") or attributes.get("is_causal") else 0


def _tile(sizes: AttentionSizes) -> int:
    """Scores of the queries and keys that are computed together (mha_flash: four such tiles fill the cache)."""
    fits = max(L2_BYTES // (4 * FLOAT_BYTES * sizes.columns), 1)
    return min(fits, sizes.columns, sizes.queries) * min(fits, sizes.keys)


def _standard(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> list[int]:
    """Scores, and a floating-point mask: a boolean mask is converted, a causal one is built."""
    sizes = ATTENTION["Attention"](ins, attributes)
    converted = ins[3].size if _is_given(ins, 3) and ins[3].dtype == BOOL else 0
    return _floats(sizes.scores, max(converted, _causal(sizes, attributes)))


def _packed(operator: str) -> Rule:
    """Scores, a causal mask, the projected queries, keys and values, and the result before heads are merged."""

    def rule(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> list[int]:
        sizes = ATTENTION[operator](ins, attributes)
        batch, tokens, _ = ins[0].shape
        return _floats(sizes.scores, _causal(sizes, attributes), batch * tokens * ins[1].shape[-1], outs[0].size)

    return rule


def _multi_head(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> list[int]:
    """Queries, keys and values by head, if they are not already; scores in tiles if the only extra input is a bias."""
    query, key = ins[0], ins[1]
    by_head = len(key.shape) == 4
    copies = [query.size] if by_head else [query.size, key.size, ins[2].size]
    extra = any(_is_given(ins, at) for at in range(4, len(ins))) or any(
        _is_given(outs, at) for at in range(1, len(outs))
    )
    sizes = ATTENTION[MS + "MultiHeadAttention"](ins, attributes)
    if not (by_head or extra or attributes.get("unidirectional")):
        return _floats(*copies, query.size if _is_given(ins, 3) else _tile(sizes))
    return _floats(sizes.scores, _causal(sizes, attributes), *copies, outs[0].size)


def _group_query(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> list[int]:
    """Queries, keys and values by head, and a tile of scores."""
    tile = _tile(ATTENTION[MS + "GroupQueryAttention"](ins, attributes))
    return _floats(*(tensor.size for tensor in ins[:3] if tensor is not None), tile)


def _lstm(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> list[int]:
    """Input projections of all steps to the gates: X [steps, batch, in], W [directions, gates x hidden, in]."""
    (steps, batch, _), (directions, gates, _) = ins[0].shape, ins[1].shape
    return _floats(steps * batch * directions * gates)


def _int8_matmul(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> list[int]:
    """The activations in int8."""
    return [ins[0].size]


BY_INTEGERS = 4  # accuracy_level of MatMulNBits


def _matmul_nbits(ins: Tensors, outs: Tensors, attributes: dict[str, Any]) -> list[int]:
    """The activations in int8, with a scale and a sum in fp32 for each block. Where products are computed in fp32,
    8-bit weights are unpacked as a whole, 4-bit weights piece by piece."""
    if attributes.get("accuracy_level") == BY_INTEGERS:
        rows, columns, block = ins[0].size // attributes["K"], attributes["K"], attributes["block_size"]
        blocks = -(-columns // block)
        return [rows * blocks * (block + 2 * FLOAT_BYTES)]
    return _floats(attributes["N"] * attributes["K"]) if attributes.get("bits", 4) == 8 else []


WORKSPACES: dict[str, Rule] = {
    "Attention": _standard,
    MS + "Attention": _packed(MS + "Attention"),
    MS + "QAttention": _packed(MS + "QAttention"),
    MS + "MultiHeadAttention": _multi_head,
    MS + "GroupQueryAttention": _group_query,
    MS + "DynamicQuantizeMatMul": _int8_matmul,
    MS + "MatMulNBits": _matmul_nbits,
    "LSTM": _lstm,
}
