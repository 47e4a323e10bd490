"""What a recipe works on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeprof.schema import Settings


@dataclass(frozen=True)
class Job:
    """A model that a recipe changes in place."""

    model: ir.Model
    settings: Settings
    scratch: Path  # a folder for temporary files
    samples: Path | None  # calibration data, where the recipe needs some
