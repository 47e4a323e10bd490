"""Families whose models are classes of `transformers`: how a config.json is read and becomes a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgeprof.errors import CheckpointError, RunError
from edgeprof.families.base import Family, Summary, TracedFamily
from edgeprof.families.config_values import Setting
from edgeprof.schema import Architecture, Record, Variant

if TYPE_CHECKING:
    import torch

ATTENTION = "sdpa"
"""The implementation that is traced, whatever a config.json says."""


class Task(Record, frozen=True, kw_only=True):
    """A head on the body: `architecture` is the `transformers` class, `outputs` its results in order."""

    name: str
    architecture: str
    outputs: tuple[str, ...]


class TransformersFamily(Family):
    """Its variants' `config`, its `defaults` and its `settings` have the keys of a config.json."""

    trained = True

    model_type: ClassVar[str]  # as in config.json
    tasks: ClassVar[tuple[Task, ...]]
    settings: ClassVar[Mapping[str, Setting]]  # the keys that are read from a config.json
    aliases: ClassVar[Mapping[str, str]] = {}  # other names for them in `transformers`
    heads_key: ClassVar[str] = "num_attention_heads"
    activation_key: ClassVar[str] = "hidden_act"  # of the activation function in the MLP

    def summary(self, variant: Variant) -> Summary:
        """By the keys that most configurations share."""
        return Summary(
            layers=self.value(variant, "num_hidden_layers"),
            width=self.value(variant, "hidden_size"),
            heads=self.value(variant, "num_attention_heads"),
            vocabulary=self.value(variant, "vocab_size"),
            positions=self.value(variant, "max_position_embeddings"),
        )

    def architecture(self, variant: Variant) -> Architecture:
        """The model by its configuration, for an export by probing."""
        return Architecture(
            class_name=self.task(variant).architecture,
            model_type=self.model_type,
            config={key: value for key, value in self.nested(variant).items() if value is not None},
            max_tokens=variant.max_tokens,
            source=variant.source,
        )

    def build(self, variant: Variant) -> torch.nn.Module:
        """The model with random weights."""
        model: torch.nn.Module = self.model_class(variant)(self.model_config(variant), **self.model_options(variant))
        return model

    def model_config(self, variant: Variant) -> Any:
        """The configuration in `transformers`' own class."""
        import transformers

        attention = ATTENTION if isinstance(self, TracedFamily) else "eager"  # which every class has
        own = {"model_type": self.model_type, "attn_implementation": attention}
        return transformers.AutoConfig.for_model(**{**self.nested(variant), **own})

    def nested(self, variant: Variant) -> dict[str, Any]:
        """A variant's `config` as a config.json has it."""
        return variant.config

    def written(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """The keys of a config.json as a variant's `config` has them: the opposite of `nested`."""
        return config

    def model_class(self, variant: Variant) -> Any:
        """The class of `transformers` that computes it."""
        import transformers

        return getattr(transformers, self.task(variant).architecture)

    def model_options(self, variant: Variant) -> dict[str, Any]:
        """Arguments of that class besides the configuration."""
        return {"add_pooling_layer": False} if variant.task == "encoder" else {}

    def activation(self, variant: Variant) -> str:
        return str(self.value(variant, self.activation_key))

    def require_consistent(self, variant: Variant, file: Path) -> None:
        """Refuse settings that are valid each, but not together; `file` is named in messages.

        Raises:
            CheckpointError: names the keys and their valid values.
        """
        summary = self.summary(variant)
        if summary.heads and summary.width % summary.heads:
            raise CheckpointError(
                f"{file} divides a width of {summary.width:,} among {summary.heads:,} heads ({self.heads_key}).",
                "Allowed is a number of heads that divides the width.",
            )

    def task(self, variant: Variant) -> Task:
        """The task of a variant.

        Raises:
            RunError: there is none; a record is damaged, or of another version.
        """
        for task in self.tasks:
            if task.name == variant.task:
                return task
        raise RunError(f"The record of {variant.name} names an unknown task, '{variant.task}'.", "Export it again.")

    def value(self, variant: Variant, key: str) -> Any:
        """As in every family.

        Raises:
            RunError: the value is not allowed; a record is damaged.
        """
        value = super().value(variant, key)
        setting = self.settings.get(key)
        if setting is not None and not setting.fits(value):
            raise RunError(f"The record of {variant.name} sets {key} to {value!r}.", f"Allowed is {setting.allowed}.")
        return value

    def labels(self, variant: Variant) -> int:
        """Number of classes; 2 unless the configuration sets it, as in `transformers`."""
        return int(variant.config.get("num_labels") or 2)
