"""The cache of a model of `transformers` as tensors, and tensors as its cache.

A layer holds keys and values that grow with the tokens, or states of a fixed size (of a convolution, of a recurrence),
or both; which, is seen in a cache that the model has filled.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import Cache

STATES = {"conv": "conv_states", "recurrent": "recurrent_states"}
"""Name of a leaf -> attribute of a layer that holds it, in a mapping by number."""

Leaves = dict[str, "torch.Tensor"]
"""By name: "0.key", "0.value", "3.conv", "3.recurrent"."""


def leaves(cache: Cache) -> Leaves:
    """The tensors of a cache, in order of its layers."""
    import torch

    found: Leaves = {}
    for number, layer in enumerate(cache.layers):
        if isinstance(getattr(layer, "keys", None), torch.Tensor):
            found |= {f"{number}.key": layer.keys, f"{number}.value": layer.values}
        for name, attribute in STATES.items():
            for index, state in (getattr(layer, attribute, None) or {}).items():
                if isinstance(state, torch.Tensor):
                    found[f"{number}.{name}{index or ''}"] = state
    return found


def is_recurrent(names: Iterable[str]) -> bool:
    """Whether there is a state of a recurrence, by which a step of one token differs from a run of several."""
    return any("recurrent" in name for name in names)


def rebuilt(tensors: Mapping[str, torch.Tensor], config: Any) -> Cache:
    """A cache that holds these leaves.

    Keys and values of all layers grow, also those of a sliding window: the mask applies the window, whereas a cache
    that is cut fails once the past exceeds it.

    Args:
        config: of the model; read only where there are states.
    """
    from transformers import DynamicCache

    keys = [name for name in tensors if name.endswith(".key")]
    if len(keys) * 2 == len(tensors):
        by_layer = {int(name.split(".")[0]): name.removesuffix("key") for name in keys}
        pairs = [
            (tensors[f"{by_layer[layer]}key"], tensors[f"{by_layer[layer]}value"])
            if layer in by_layer
            else (None, None)
            for layer in range(max(by_layer, default=-1) + 1)
        ]
        return DynamicCache(pairs)
    cache = empty(config)
    put_back(cache, tensors)
    return cache


def put_back(cache: Cache, tensors: Mapping[str, torch.Tensor]) -> None:
    """Let a cache hold these leaves again, after a run that added to them; keys and values are not copied."""
    for name, tensor in tensors.items():
        number, _, leaf = name.partition(".")
        _put(cache.layers[int(number)], leaf, tensor)


def empty(config: Any) -> Cache:
    """A cache for a first run whose layers are those that the configuration names, none of them cut."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    cache = DynamicCache(config=config)
    cache.layers = [DynamicLayer() if getattr(layer, "is_sliding", False) else layer for layer in cache.layers]
    return cache


def padded(config: Any, examples: Leaves, batch: int) -> Cache:
    """A cache for a first run of any number of tokens: convolutions find the zeros that they start with.

    A cache that is empty pads runs that are shorter than a convolution, and no others, which cannot be traced.

    Args:
        examples: leaves of a cache after a first run.
    """
    cache = empty(config)
    for name, example in examples.items():
        number, _, leaf = name.partition(".")
        if leaf.startswith("conv"):
            _put(cache.layers[int(number)], leaf, example.new_zeros((batch, *example.shape[1:])))
    return cache


def _put(layer: Any, leaf: str, tensor: torch.Tensor) -> None:
    if leaf in ("key", "value"):
        setattr(layer, f"{leaf}s", tensor)
        layer.is_initialized, layer.dtype, layer.device = True, tensor.dtype, tensor.device
        return
    name = leaf.rstrip("0123456789")
    index = int(leaf[len(name) :] or 0)
    state = tensor.clone()  # it is written in place
    getattr(layer, STATES[name])[index] = state
    getattr(layer, f"is_{STATES[name]}_initialized")[index] = True
    layer.has_previous_state[index] = True
    layer.dtype, layer.device = tensor.dtype, tensor.device
    if name == "conv":
        layer.conv_kernel_size[index] = state.shape[-1]
