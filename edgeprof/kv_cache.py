"""The KV cache: what its tensors are called, what their axes count, and which output continues which input.

A decoder reads the keys and values of earlier tokens from inputs ("past") and returns them, with those of the new
tokens, in outputs ("present"). There are five kinds:

    growing  an output is longer than its input by the new tokens: what transformers and optimum export. Where
             GroupQueryAttention writes it, one tensor with room for the new tokens may be both, and nothing is copied
    slots    of fixed size; a mask as long as the cache tells which slots hold a token, and one new token is written
    buffer   of fixed size; a number tells how many tokens it holds (GroupQueryAttention), and both share memory
    cross    keys and values of the encoder's output: filled once, then read by every step and never longer
    state    of a convolution or a recurrence: of one size, however many tokens it has seen

Slots and buffers are written in place: output and input may be one tensor.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from edgeprof.schema import TensorSpec
from edgeprof.symbols import meaning, names_in

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["growing", "slots", "buffer", "cross", "state"]
"""How a cache takes new tokens."""

Side = Literal["", "decoder", "encoder"]
"""Of an encoder-decoder: self-attention of the decoder, or cross-attention to the encoder's output."""

RANK, TOKENS = 4, 2
"""Axes of the usual layout [batch, heads, tokens, size], and the one that counts tokens."""


class Names(NamedTuple):
    """How the names of a cache start, among inputs and outputs."""

    past: str
    present: str


NAMES = (
    Names("past_key_values", "present"),  # transformers, optimum: past_key_values.0.key, past_key_values.0.encoder.key
    Names("past", "present"),  # onnxruntime's converters: past_0, past_key_self_0, past_key_cross_0
)
EXPORTED = NAMES[0]
"""What edgeprof itself writes."""

LIKELY = r".*(past|cache|pkv|kv_state|(^|_)mems?(_|\d|$)).*"
"""Names of inputs that are a cache wherever they have three axes or more, by whichever tool."""

CROSS = r"encoder|cross"
STATE = r"(^|[._])(conv|ssm|recurrent)(_states?)?([._]|$)"


# --- names -----------------------------------------------------------------------------------------------------


def is_past(name: str) -> bool:
    """Whether an input holds a cache, by a name of NAMES."""
    return name.startswith(tuple(names.past for names in NAMES))


def is_present(name: str) -> bool:
    """Whether an output holds a cache, by a name of NAMES."""
    return name.startswith(tuple(names.present for names in NAMES))


def is_cross(name: str) -> bool:
    """Whether a cache is that of cross-attention, which holds tokens of the encoder.

    >>> is_cross("past_key_values.0.encoder.key"), is_cross("past_key_cross_0"), is_cross("past_key_values.0.key")
    (True, True, False)
    """
    return re.search(CROSS, name.lower()) is not None


def is_state(name: str) -> bool:
    """Whether a cache is the state of a convolution or a recurrence, which has no axis of tokens.

    >>> is_state("past_key_values.0.conv"), is_state("past_key_values.0.recurrent"), is_state("past_key_values.0.key")
    (True, True, False)
    """
    return re.search(STATE, name.lower()) is not None


def present_of(past: str) -> str:
    """The output that continues an input.

    >>> present_of("past_key_values.0.key"), present_of("past_1")
    ('present.0.key', 'present_1')
    """
    names = next(names for names in NAMES if past.startswith(names.past))
    return names.present + past.removeprefix(names.past)


def past_of(present: str) -> tuple[str, ...]:
    """The inputs that an output may continue; none if the output is no cache.

    >>> past_of("present.0.key"), past_of("logits")
    (('past_key_values.0.key', 'past.0.key'), ())
    """
    return tuple(
        names.past + present.removeprefix(names.present) for names in NAMES if present.startswith(names.present)
    )


def specs(
    prefix: str, layers: int, dims: Sequence[int | str], *, side: Side = "", dtype: str = "float32"
) -> tuple[TensorSpec, ...]:
    """Keys and values of every layer, as edgeprof names them.

    Args:
        prefix: of EXPORTED: its `past` for inputs, its `present` for outputs.
        dims: [batch, heads, tokens, size].

    >>> [spec.name for spec in specs("present", 1, ("batch_size", 12, "source_length", 64), side="encoder")]
    ['present.0.encoder.key', 'present.0.encoder.value']
    """
    between = f".{side}" if side else ""
    return tuple(
        TensorSpec(name=f"{prefix}.{layer}{between}.{part}", dtype=dtype, dims=tuple(dims))
        for layer in range(layers)
        for part in ("key", "value")
    )


# --- axes ------------------------------------------------------------------------------------------------------


class Axes(NamedTuple):
    """Which axes of a cache count the batch and the tokens."""

    batch: int
    tokens: int | None  # a state has none


def axes_of(spec: TensorSpec, outputs: Sequence[TensorSpec], batch_second: bool) -> Axes:
    """[batch, heads, tokens, size], unless symbols or outputs tell otherwise.

    Args:
        spec: a cache among the inputs, of three axes or more.
        outputs: of the graph; where sizes are fixed, the axis that is longer in one of them counts tokens.
        batch_second: whether the symbols have the batch second, as those of fairseq and Transformer-XL do.
    """
    rank = len(spec.dims)
    packed = rank == 5 and spec.dims[0] == 2  # keys and values in one tensor
    batch = 1 if packed or batch_second else 0
    if is_state(spec.name):
        return Axes(batch, None)
    tokens = _growing_axis(spec, outputs, batch) if "float" in spec.dtype else None
    if tokens is None:
        tokens = 0 if batch == 1 and rank == 3 else rank - 2
    return Axes(batch, tokens)


def _growing_axis(spec: TensorSpec, outputs: Sequence[TensorSpec], batch: int) -> int | None:
    """The axis that counts tokens: by its symbol, as the only dynamic one, or as longer in an output."""
    dims = spec.dims
    dynamic = [axis for axis, dim in enumerate(dims) if isinstance(dim, str) and axis != batch]
    usual = [axis for axis in dynamic if _counts_tokens(str(dims[axis]), axis)]
    for candidates in (usual, dynamic):
        if len(candidates) == 1:
            return candidates[0]
    alike = (output for output in outputs if len(output.dims) == len(dims) and output.dtype == spec.dtype)
    return next((axis for axis in (_longer_axis(dims, output.dims) for output in alike) if axis is not None), None)


def _counts_tokens(symbol: str, axis: int) -> bool:
    return any(meaning(name, axis) in ("past", "total", "source") for name in names_in(symbol))


def _longer_axis(before: Sequence[int | str], after: Sequence[int | str]) -> int | None:
    """The one axis that is longer, where all others are the same."""
    pairs = list(zip(before, after, strict=True))
    different = [axis for axis, (one, other) in enumerate(pairs) if one != other]
    longer = [axis for axis, (a, b) in enumerate(pairs) if isinstance(a, int) and isinstance(b, int) and b > a]
    return longer[0] if len(longer) == 1 and different == longer else None


# --- growth ----------------------------------------------------------------------------------------------------


def length_after(past: int, new: int, kind: Kind = "growing") -> int:
    """Tokens that a cache has room for after a run.

    >>> length_after(512, 1), length_after(512, 1, "slots"), length_after(512, 1, "cross")
    (513, 512, 512)
    """
    return past + new if kind == "growing" else past


def with_room(past: "NDArray[Any]", tokens: int) -> "NDArray[Any]":
    """A buffer for a number of tokens that begins with those of a cache: [batch, heads, tokens, size]."""
    import numpy as np

    buffer = np.zeros((*past.shape[:TOKENS], tokens, *past.shape[TOKENS + 1 :]), past.dtype)
    buffer[:, :, : past.shape[TOKENS]] = past
    return buffer


def buffer_size(
    caches: Sequence[tuple[TensorSpec, int]], outputs: Sequence[TensorSpec], counts: Sequence[str]
) -> int | None:
    """Tokens that a shared buffer has room for; None: the cache is none.

    A buffer comes out as large as it goes in, beside a number that tells how much of it is used.

    Args:
        caches: those that tokens are added to, each with the axis that counts them.
        counts: names of inputs that are a number of tokens.
    """
    after = {output.dims for output in outputs}
    same = all(spec.dims in after for spec, _ in caches)
    if not caches or not same or not re.search("total|seqlens_k|past|cache", " ".join(counts).lower()):
        return None
    sizes = {spec.dims[axis] for spec, axis in caches}
    only = sizes.pop()
    return only if isinstance(only, int) and not sizes else None
