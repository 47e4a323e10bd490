"""What a config.json may say: for each key that is taken from one, the values it can have.

A config.json comes from anywhere, and `transformers` loads code and files that it names (attention kernels,
quantizers, adapters). So nothing is handed on but what a family lists, of the type and in the range it lists.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeprof.errors import CheckpointError
from edgeprof.schema import Record

LARGEST = 2**31 - 1
"""Of any size: ONNX files and kernels index with as many bits."""

MOST_LAYERS = 10_000

ACTIVATIONS = (
    "gelu",
    "gelu_10",
    "gelu_accurate",
    "gelu_fast",
    "gelu_new",
    "gelu_python",
    "gelu_pytorch_tanh",
    "hardswish",
    "linear",
    "mish",
    "quick_gelu",
    "relu",
    "relu2",
    "relu6",
    "sigmoid",
    "silu",
    "swish",
    "tanh",
)
"""`transformers`' names of functions that have no weights of their own."""


class Setting(Record, frozen=True, kw_only=True):
    """The values that a key can have. `taken` is off where the one allowed value needs no mention in a variant."""

    allowed: str
    fits: Callable[[Any], bool]
    optional: bool = False  # null means what leaving it out means
    taken: bool = True


def size(least: int = 1, most: int = LARGEST, *, optional: bool = False) -> Setting:
    """A whole number; true and 12.0 are none."""
    return Setting(
        allowed=f"a whole number from {least:,} to {most:,}",
        fits=lambda value: type(value) is int and least <= value <= most,
        optional=optional,
    )


def epsilon() -> Setting:
    return Setting(
        allowed="a number above 0 and at most 1", fits=lambda value: type(value) in (int, float) and 0 < value <= 1
    )


def flag() -> Setting:
    return Setting(allowed="true or false", fits=lambda value: type(value) is bool)


def activation() -> Setting:
    return Setting(
        allowed=f"one of {', '.join(ACTIVATIONS)}", fits=lambda value: isinstance(value, str) and value in ACTIVATIONS
    )


def only(allowed: str, *values: Any) -> Setting:
    """Of what would make it another model than the family computes."""
    return Setting(allowed=allowed, fits=lambda value: value in values, optional=True, taken=False)


NEVER = only("false", False)

SHARED: Mapping[str, Setting] = {
    "num_labels": size(),
    "pad_token_id": size(-1, optional=True),
    "is_encoder_decoder": NEVER,
    "is_decoder": NEVER,
    "add_cross_attention": NEVER,
    "pruned_heads": only("empty", {}),
    "per_layer_config": only("empty", {}),
}
"""Of every family."""


def read(config: Mapping[str, Any], known: Mapping[str, Setting], aliases: Mapping[str, str], file: Path) -> Any:
    """What `config` sets of the known keys, each under its own name; anything else is left out.

    Args:
        aliases: other names of keys -> keys.
        file: where it was read, for messages.

    Raises:
        CheckpointError: a value is not of its type, or out of range; names file, key, value and what is allowed.
    """
    found: dict[str, Any] = {}
    for name, value in config.items():
        key = aliases.get(name, name)
        setting = known.get(key)
        if setting is None or (value is None and setting.optional):
            continue
        if not setting.fits(value):
            raise refusal(file, name, value, f"Allowed is {setting.allowed}.")
        if key in found and found[key] != value:
            raise refusal(file, name, value, f"The same file sets it to {found[key]} under another name.")
        if setting.taken:
            found[key] = value
    return found


def refusal(file: Path, key: str, value: Any, allowed: str) -> CheckpointError:
    """One sentence on a value, of which no more than a line is shown, and one on what it may be."""
    text = repr(value) if isinstance(value, float) and not math.isfinite(value) else _json(value)
    shown = text if len(text) <= 60 else text[:59] + "…"
    return CheckpointError(f"{file} sets {key} to {shown}.", allowed)


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
