"""A model of one architecture, as small as it can be and still have all of its parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    import torch

Kind = Literal[
    "encoder", "decoder", "state space", "encoder-decoder", "image", "audio", "two towers", "vision-language"
]

PERTURBATION = 0.1
"""Standard deviation of what is added to biases and norms, which start at 0 and 1: a lost one would go unseen."""


class TinyModel(NamedTuple):
    """`class_name` is a class of `transformers`, `config` has keyword arguments of its configuration."""

    name: str
    class_name: str
    kind: Kind
    config: dict[str, Any]

    @property
    def model_type(self) -> str:
        """As in config.json."""
        return str(self._class().config_class.model_type)

    def build(self) -> torch.nn.Module:
        """The model in evaluation mode, with random weights that are the same every time."""
        import torch

        model_class = self._class()
        torch.manual_seed(0)
        model = model_class(model_class.config_class(**self.config))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:  # tables of sines do not
                    parameter.add_(torch.randn_like(parameter), alpha=_scale(parameter))
        return model.eval()  # type: ignore[no-any-return]

    def checkpoint(self, folder: Path) -> Path:
        """A folder as `save_pretrained` writes it."""
        self.build().save_pretrained(folder)  # type: ignore[operator]
        return folder

    def _class(self) -> Any:
        import transformers

        return getattr(transformers, self.class_name)


def _scale(parameter: torch.nn.Parameter) -> float:
    """Matrices and kernels start so small that attention is nearly uniform: a wrong mask or position would go unseen.

    He et al. 2015: signals keep their size from layer to layer if the variance is 2 over the number of inputs.
    """
    if parameter.ndim < 2:
        return PERTURBATION
    inputs = parameter[0].numel()
    return max(PERTURBATION, float((2 / inputs) ** 0.5))
