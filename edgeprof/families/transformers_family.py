"""Families whose models are classes of `transformers`: what a config.json says of them, and how it becomes a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from edgeprof.families.base import Family
from edgeprof.schema import Record, Variant

if TYPE_CHECKING:
    import torch


class Task(Record, frozen=True, kw_only=True):
    """A head on the body: `architecture` is the `transformers` class, `outputs` its results in order."""

    name: str
    architecture: str
    outputs: tuple[str, ...]


class TransformersFamily(Family):
    """Its variants' `config` and its `defaults` have the keys of a config.json."""

    model_type: ClassVar[str]  # `transformers`' word for it in config.json
    tasks: ClassVar[tuple[Task, ...]]
    activation_key: ClassVar[str] = "hidden_act"  # where config.json tells the activation function of the MLP

    def build(self, variant: Variant) -> torch.nn.Module:
        import transformers

        config = transformers.AutoConfig.for_model(**{**variant.config, "model_type": self.model_type})
        model: torch.nn.Module = self.model_class(variant)(config, **self.model_options(variant))
        return model

    def model_class(self, variant: Variant) -> Any:
        """The class of `transformers` that computes it."""
        import transformers

        return getattr(transformers, self.task(variant).architecture)

    def model_options(self, variant: Variant) -> dict[str, Any]:
        """What that class takes besides a configuration."""
        return {"add_pooling_layer": False} if variant.task == "encoder" else {}

    def activation(self, variant: Variant) -> str:
        return str(self.value(variant, self.activation_key))

    def task(self, variant: Variant) -> Task:
        return next(task for task in self.tasks if task.name == variant.task)

    def labels(self, variant: Variant) -> int:
        """Number of classes, as `transformers` reads it: from the label table, else the number, else 2."""
        table = variant.config.get("id2label")
        return len(table) if table else int(variant.config.get("num_labels", 2))
