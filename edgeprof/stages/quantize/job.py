"""What a recipe works on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeprof.recipe_table import Recipe
    from edgeprof.schema import Settings


@dataclass(frozen=True)
class QuantizationJob:
    """A model that a recipe changes in place."""

    model: ir.Model
    recipe: Recipe
    settings: Settings  # all of them, also the recipe's usual ones
    scratch: Path  # a folder for temporary files
    samples: Path | None  # calibration data, where the recipe needs some
