"""Pieces of memory that a kernel of onnxruntime's CPU provider takes for itself while it runs, in bytes.

Seen, not read: the resident set of one node beyond its inputs and outputs, without arena, at 512 and 1,024 tokens, in
onnxruntime 1.32 (`tests/counting/test_counting_workspace.py` looks again). Scores between all queries and keys are kept
by most attention kernels, but not by all: GroupQueryAttention and a plain MultiHeadAttention work on tiles of them.
Kernels that are not listed take nothing worth counting, or were not looked at (GRU, convolutions in other layouts).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeprof.counting.contrib_shapes import MS, UNFIT, Found
from edgeprof.counting.macs import ATTENTION, Heads, NotCountable

FLOAT_BYTES = 4
L2_BYTES = 1 << 20
"""Second-level cache of a core: tiles of scores are as large as fits. Half of that or twice as much are usual too, and
make tiles of half or twice the size; each thread has one."""
BOOL = 9  # TensorProto.BOOL

Rule = Callable[[Found, Found, dict[str, Any]], list[int]]
"""Bytes of each piece, from the tensors of inputs and outputs and the attributes."""


def workspace(operator: str, ins: Found, outs: Found, attributes: dict[str, Any]) -> tuple[int, ...]:
    """Bytes of each piece; none where shapes are not known (which is told where MACs are counted)."""
    rule = WORKSPACES.get(operator)
    try:
        return tuple(piece for piece in rule(ins, outs, attributes) if piece) if rule else ()
    except (NotCountable, *UNFIT):
        return ()


def _there(found: Found, at: int) -> bool:
    return len(found) > at and found[at] is not None


def _floats(*elements: int) -> list[int]:
    return [FLOAT_BYTES * each for each in elements]


def _causal(sizes: Heads, attributes: dict[str, Any]) -> int:
    """The mask that a kernel makes where later tokens are not to be seen."""
    return sizes.pairs if attributes.get("unidirectional") or attributes.get("is_causal") else 0


def _tile(sizes: Heads) -> int:
    """Scores of some queries and keys, which are looked at together (mha_flash: four such tiles fill the cache)."""
    fits = max(L2_BYTES // (4 * FLOAT_BYTES * sizes.columns), 1)
    return min(fits, sizes.columns, sizes.queries) * min(fits, sizes.keys)


def _standard(ins: Found, outs: Found, attributes: dict[str, Any]) -> list[int]:
    """Scores, and a mask as numbers: one of truth values is converted, a causal one is made."""
    sizes = ATTENTION["Attention"](ins, attributes)
    converted = ins[3].size if _there(ins, 3) and ins[3].dtype == BOOL else 0
    return _floats(sizes.scores, max(converted, _causal(sizes, attributes)))


def _packed(operator: str) -> Rule:
    """Scores, a causal mask, the projected queries, keys and values, and the result before heads are joined."""

    def rule(ins: Found, outs: Found, attributes: dict[str, Any]) -> list[int]:
        sizes = ATTENTION[operator](ins, attributes)
        batch, tokens, _ = ins[0].shape
        return _floats(sizes.scores, _causal(sizes, attributes), batch * tokens * ins[1].shape[-1], outs[0].size)

    return rule


def _multi_head(ins: Found, outs: Found, attributes: dict[str, Any]) -> list[int]:
    """Queries, keys and values by head, if they are not already; on tiles where nothing but a bias comes with them."""
    query, key = ins[0], ins[1]
    by_head = len(key.shape) == 4
    copies = [query.size] if by_head else [query.size, key.size, ins[2].size]
    extra = any(_there(ins, at) for at in range(4, len(ins))) or any(_there(outs, at) for at in range(1, len(outs)))
    sizes = ATTENTION[MS + "MultiHeadAttention"](ins, attributes)
    if not (by_head or extra or attributes.get("unidirectional")):
        return _floats(*copies, query.size if _there(ins, 3) else _tile(sizes))
    return _floats(sizes.scores, _causal(sizes, attributes), *copies, outs[0].size)


def _group_query(ins: Found, outs: Found, attributes: dict[str, Any]) -> list[int]:
    """Queries, keys and values by head, and a tile of scores."""
    tile = _tile(ATTENTION[MS + "GroupQueryAttention"](ins, attributes))
    return _floats(*(tensor.size for tensor in ins[:3] if tensor is not None), tile)


def _lstm(ins: Found, outs: Found, attributes: dict[str, Any]) -> list[int]:
    """What the inputs of all steps give to the gates: X [steps, batch, in], W [directions, gates x hidden, in]."""
    (steps, batch, _), (directions, gates, _) = ins[0].shape, ins[1].shape
    return _floats(steps * batch * directions * gates)


def _int8_matmul(ins: Found, outs: Found, attributes: dict[str, Any]) -> list[int]:
    """The activations in int8."""
    return [ins[0].size]


BY_INTEGERS = 4  # accuracy_level of MatMulNBits


def _matmul_nbits(ins: Found, outs: Found, attributes: dict[str, Any]) -> list[int]:
    """The activations in int8, with a scale and a sum in fp32 for each block. Where real numbers are multiplied,
    weights of 8 bits are unpacked as a whole, and those of 4 bits piece by piece."""
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
