"""Merge an adapter into the weights of its base, with `peft`."""

from __future__ import annotations

import dataclasses
import importlib.util
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

from edgeprof.errors import CheckpointError, MissingExtra, first_line
from edgeprof.families import adapter

PREFIX = "base_model.model."
"""Before the names of the base's modules in an adapter's file."""


def require_peft() -> None:
    """Require the package that merges adapters.

    Raises:
        MissingExtra: it is not installed.
    """
    if importlib.util.find_spec("peft") is None:
        raise MissingExtra("Merging an adapter", "peft", "adapters")


def supplied(folder: Path) -> list[str]:
    """Names of the tensors that an adapter brings in whole, such as those of a new head."""
    return [name.removeprefix(PREFIX) for name in adapter.tensors(folder) if ".lora_" not in name]


def merged(model: Any, folder: Path) -> Any:
    """The model with an adapter in its weights.

    Raises:
        MissingExtra: `peft` is not installed.
        CheckpointError: the adapter does not fit the model, or cannot be merged.
    """
    require_peft()
    import peft
    from safetensors.torch import load_file

    kind, chosen = adapter.settings(folder)
    config_class = peft.PEFT_TYPE_TO_CONFIG_MAPPING[kind]
    _require_known(chosen, [field.name for field in dataclasses.fields(config_class)], folder)
    given = load_file(folder / adapter.ADAPTER_WEIGHTS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other versions, and a hub that is not asked
            wrapped = peft.get_peft_model(model, config_class(**chosen))
            expected = set(peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False))
            _require_same(expected, set(given), set(wrapped.state_dict()), folder)
            peft.set_peft_model_state_dict(wrapped, given)
            return wrapped.merge_and_unload()
    except (ValueError, TypeError, RuntimeError, KeyError, AttributeError) as problem:
        raise CheckpointError(
            f"{folder} cannot be merged into its base: {first_line(problem)}.", "Merge it with the tool it is from."
        ) from problem


def _require_same(expected: set[str], given: set[str], of_model: set[str], folder: Path) -> None:
    """Check that an adapter has the tensors of its settings, besides those of the model that it may replace."""
    for name in sorted((expected - given) | (given - expected - of_model)):
        state = "lacks" if name in expected else "holds"
        raise CheckpointError(
            f"{folder} {state} {name}, against its {adapter.ADAPTER_CONFIG}.", "Get both from the same place."
        )


def _require_known(chosen: dict[str, Any], known: Collection[str], folder: Path) -> None:
    for key in [key for key, value in chosen.items() if key not in known]:
        if chosen[key]:
            raise CheckpointError(
                f"{folder} sets {key}, which this version of peft does not know.", "Run: pip install --upgrade peft"
            )
        del chosen[key]
