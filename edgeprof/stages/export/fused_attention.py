"""Attention of a decoder as one operator that writes its cache in place: GroupQueryAttention.

The model's own code emits it: while it is traced, its attention function is the one here, its cache holds only what
came before, and its mask is described instead of computed. The operator does what the mask would have done: it is
causal, its window slides, and `seqlens_k` tells where the padding of a row begins, which is on the right. One buffer
may be bound as past and present; then a step copies nothing.

    query               [batch, tokens, heads x size]           after rotary embedding, as key
    key, value          [batch, tokens, cached heads x size]
    past                [batch, cached heads, past tokens, size]
    seqlens_k           [batch]       tokens of a row so far, the new ones included, less one
    total               []            tokens of the longest row

Source: the operator's documentation in onnxruntime, ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgeprof.errors import EdgeprofError
from edgeprof.stages.export.fused_operators import ROTATION, Rotation, replaced, replacements

if TYPE_CHECKING:
    import torch
    from transformers import Cache

NAME = "edgeprof_fused"
"""Of the attention implementation in `transformers`."""

OPERATOR = "com.microsoft::GroupQueryAttention"

SIZE_MULTIPLE = 8
"""The size of a head has to be a multiple of it."""

OTHER_MASK = "its mask is neither causal nor a sliding window"

FAR = 2**20
"""A position at which masks are evaluated: a window that reaches further is never noticed."""


class NotFused(EdgeprofError):
    """The operator cannot compute a model's attention."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"GroupQueryAttention cannot compute this model: {reason}.", "Export it with --portable.")
        self.reason = reason


class Fusion:
    """A model of `transformers` that is to emit fused operators while it is traced.

    It is made before the trace: it evaluates parts of the model, which a tracer would see.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model: Any = model
        self.replacements = replacements(model)

    @contextmanager
    def run(self, attended: torch.Tensor, tokens: int, past: Mapping[str, torch.Tensor]) -> Iterator[Pass]:
        """One traced pass, for whose time the model's attention, norms and rotary embeddings are fused operators.

        Args:
            attended: [batch, past + new tokens], 0 at padding.
            tokens: new ones.
            past: leaves of the cache by name, as in `edgeprof.stages.export.caches`.

        Raises:
            NotFused: the operator cannot compute this model's attention.
        """
        from transformers import AttentionInterface
        from transformers.masking_utils import AttentionMaskInterface

        AttentionInterface.register(NAME, _attention)
        AttentionMaskInterface.register(NAME, _mask)
        before = self.model.config._attn_implementation
        self.model.set_attn_implementation(NAME)
        if self.model.config._attn_implementation != NAME:
            raise NotFused("its attention cannot be replaced")
        current = Pass(attended, tokens, past)
        token = _PASS.set(current)
        try:
            with replaced(self.replacements):
                yield current
        finally:
            _PASS.reset(token)
            self.model.set_attn_implementation(before)


class Pass:
    """What the layers share in one pass: lengths, and a cache that the operator writes.

    Attributes:
        cache: what the model takes as its cache.
        present: leaves of the cache after the pass, by name.
        windows: whether a window slides over some of the layers.
    """

    def __init__(self, attended: torch.Tensor, tokens: int, past: Mapping[str, torch.Tensor]) -> None:
        import torch

        self.windows = False
        self.past_tokens = attended.shape[1] - tokens  # not the size of the cache, which may have room for more
        self.past, self.present = past, dict[str, torch.Tensor]()
        self.added: dict[int, tuple[int, torch.Tensor]] = {}  # id of a new key -> its layer, and the value beside it
        self.lengths = (attended.sum(1) - 1).to(torch.int32)
        self.total = torch.scalar_tensor(attended.shape[1], dtype=torch.int32)
        self.cache = self._cache()

    def presents(self) -> dict[str, torch.Tensor]:
        """Leaves of the cache after the pass, in the order of `past`.

        Raises:
            NotFused: an attention with a cache was not computed by the operator.
        """
        if missing := [name for name in self.past if name not in self.present]:
            raise NotFused(f"{missing[0]} of its cache is not computed by attention")
        return {name: self.present[name] for name in self.past}

    def _cache(self) -> Cache:
        from transformers.cache_utils import Cache, DynamicLayer

        current = self

        class Layer(DynamicLayer):  # type: ignore[misc]
            """Returns new keys and values as they came: the operator appends them."""

            def __init__(self, number: int) -> None:
                super().__init__()
                self.number = number
                if f"{number}.key" in current.past:
                    self.keys, self.values = (current.past[f"{number}.{part}"] for part in ("key", "value"))
                    self.dtype, self.device, self.is_initialized = self.keys.dtype, self.keys.device, True

            def update(self, key: torch.Tensor, value: torch.Tensor, *_: Any, **__: Any) -> Any:
                current.added[id(key)] = (self.number, value)
                return key, value

            def get_seq_length(self) -> Any:
                return current.past_tokens

        layers = 1 + max(int(name.split(".")[0]) for name in self.past)
        return Cache(layers=[Layer(number) for number in range(layers)])


_PASS: ContextVar[Pass] = ContextVar("fused attention")


# --- masks ---------------------------------------------------------------------------------------------------------


class Mask(NamedTuple):
    """What a query may attend to: itself and all before it, or as many as the window holds."""

    window: int | None


def _mask(*_: Any, mask_function: Callable[..., Any], **__: Any) -> Mask:
    """What `transformers` calls to make a mask: describes it, without the padding."""
    return described(mask_function)


def described(visible: Callable[..., Any]) -> Mask:
    """What a mask function does, by evaluating it.

    Args:
        visible: (batch, head, query, key) -> whether the query may attend to the key.

    Raises:
        NotFused: it is neither causal nor a sliding window.
    """
    counts = {query: _seen(visible, query) for query in (0, 1, 6, FAR // 3, FAR)}
    window = max(counts.values())
    if any(count != min(query + 1, window) for query, count in counts.items()):
        raise NotFused(OTHER_MASK)
    return Mask(None if window > FAR else window)


def _seen(visible: Callable[..., Any], query: int) -> int:
    """How many keys a query attends to, which have to be the last up to itself."""
    first, at = _Positions(np.array(0)), _Positions(np.array(query))
    try:
        seen = np.broadcast_to(visible(first, first, at, _Positions(np.arange(FAR + 8))), FAR + 8)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as problem:
        raise NotFused("its mask depends on more than positions") from problem
    count = int(seen.sum())
    if not count or not seen[query + 1 - count : query + 1].all():
        raise NotFused(OTHER_MASK)
    return count


class _Positions(np.ndarray[Any, Any]):
    """Positions with the few methods of a tensor that mask functions use; a tracer does not see them."""

    def __new__(cls, values: np.ndarray[Any, Any]) -> _Positions:
        return values.view(cls)

    device = None  # type: ignore[assignment]

    def new_ones(self, shape: Any, **_: Any) -> _Positions:
        return _Positions(np.ones(shape, bool))

    def new_zeros(self, shape: Any, **_: Any) -> _Positions:
        return _Positions(np.zeros(shape, bool))

    def to(self, *_: Any) -> _Positions:
        return self


# --- attention -----------------------------------------------------------------------------------------------------


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Mask | torch.Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    position_bias: torch.Tensor | None = None,
    is_causal: bool | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """What `transformers` calls as attention; tensors are [batch, heads, tokens, size]."""
    import torch

    current = _PASS.get()
    layer, cached_value = current.added.pop(id(key), (None, None))
    if layer is None or cached_value is not value or f"{layer}.key" not in current.past:
        raise NotFused("it changes keys or values after they are cached, or attends to what is not cached")
    if not isinstance(attention_mask, Mask) or position_bias is not None or is_causal is False:
        raise NotFused("its attention is not causal, or adds more than a mask to its scores")
    heads, size, kv_heads = query.shape[1], query.shape[3], key.shape[1]
    if size % SIZE_MULTIPLE or value.shape[3] != size:
        raise NotFused(
            f"its heads have {size} and {value.shape[3]} elements, which are not multiples of {SIZE_MULTIPLE}"
        )
    attributes: dict[str, Any] = {
        "num_heads": heads,
        "kv_num_heads": kv_heads,
        "scale": float(size**-0.5 if scaling is None else scaling),
        "local_window_size": -1 if attention_mask.window is None else attention_mask.window,
        "softcap": float(softcap or 0.0),
    }
    current.windows |= attention_mask.window is not None
    past = [current.past[f"{layer}.{part}"] for part in ("key", "value")]
    merged = [_merged(part) for part in (query, key, value)]
    batch, tokens = merged[0].shape[:2]
    cached = (batch, kv_heads, past[0].shape[2] + tokens, size)
    sinks = [] if s_aux is None else [None, None, None, None, s_aux]
    result, *present = torch.onnx.ops.symbolic_multi_out(
        OPERATOR,
        [*merged, *past, current.lengths, current.total, *sinks],
        attributes,
        dtypes=[query.dtype] * 3,
        shapes=[merged[0].shape, cached, cached],
        version=1,
    )
    current.present |= {f"{layer}.key": present[0], f"{layer}.value": present[1]}
    return result.view(batch, tokens, heads, size), None


def _merged(part: torch.Tensor) -> torch.Tensor:
    """[batch, heads, tokens, size] -> [batch, tokens, heads x size]; a rotation is done in that layout."""
    rotation: Rotation | None = getattr(part, ROTATION, None)
    source = part if rotation is None else rotation.source
    batch, heads, tokens, size = source.shape
    merged = source.transpose(1, 2).reshape(batch, tokens, heads * size)
    return merged if rotation is None else rotation.of_merged(merged)
