"""The keys that are read from a config.json, and the values that each can have.

A config.json comes from anywhere, and `transformers` loads code and files that it names (attention kernels,
quantizers, adapters). Only the keys that a family lists are passed on, with values of the listed type and range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeprof.errors import CheckpointError
from edgeprof.schema import Record

LARGEST = 2**31 - 1
"""The largest size: ONNX files and kernels use 32-bit indices."""

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
"""Names in `transformers` of functions without weights."""


class Undescribed(CheckpointError):
    """A checkpoint that can be right, but is not a model that a family describes in closed form."""


class Setting(Record, frozen=True, kw_only=True):
    """The values that a key can have."""

    allowed: str
    fits: Callable[[Any], bool]
    optional: bool = False  # null is the same as no value
    kept: bool = True  # in the variant; False where only one value is allowed


def size(least: int = 1, most: int = LARGEST, *, optional: bool = False) -> Setting:
    """A whole number; not true, and not 12.0."""
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
    """For keys whose other values would make it a different model from the one that the family computes."""
    return Setting(allowed=allowed, fits=lambda value: value in values, optional=True, kept=False)


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
"""Settings of every family."""


def read(config: Mapping[str, Any], known: Mapping[str, Setting], aliases: Mapping[str, str], file: Path) -> Any:
    """The values that `config` has for the known keys; all others are left out.

    Args:
        aliases: other names of keys -> keys.
        file: the source of `config`, for messages.

    Raises:
        CheckpointError: a value has the wrong type or is out of range; names file, key, value and allowed values.
    """
    values: dict[str, Any] = {}
    for name, value in config.items():
        key = aliases.get(name, name)
        setting = known.get(key)
        if setting is None or (value is None and setting.optional):
            continue
        if not setting.fits(value):
            kind = CheckpointError if setting.kept else Undescribed
            raise refusal(file, name, value, f"Allowed is {setting.allowed}.", kind)
        if key in values and values[key] != value:
            raise refusal(file, name, value, f"The same file sets it to {values[key]} under another name.")
        if setting.kept:
            values[key] = value
    return values


def refusal(
    file: Path, key: str, value: Any, allowed: str, kind: type[CheckpointError] = CheckpointError
) -> CheckpointError:
    """The error for a value: one sentence shows it, shortened to a line, and one states what is allowed."""
    text = repr(value) if isinstance(value, float) and not math.isfinite(value) else _json(value)
    shown = text if len(text) <= 60 else text[:59] + "…"
    return kind(f"{file} sets {key} to {shown}.", allowed)


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
