"""What a recipe may be told, and what it works on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgeprof.errors import UsageError
from edgeprof.schema import Record

if TYPE_CHECKING:
    import onnx_ir as ir

Method = Literal["min-max", "entropy", "percentile"]


WORDS = {
    "block_size": "block size",
    "symmetric": "symmetry",
    "accuracy_level": "accuracy level",
    "method": "calibration method",
}


class Settings(Record, frozen=True, kw_only=True):
    """Every recipe has its own values; None where a recipe has no such thing."""

    block_size: int | None = None  # weights that share one scale
    symmetric: bool | None = None  # whether zero is in the middle: no zero points are stored
    accuracy_level: int | None = None  # of MatMulNBits: 1 fp32, 2 fp16, 3 bf16, 4 int8 activations
    method: Method | None = None  # how ranges of activations are taken from calibration data

    def changed(self, wanted: Settings, recipe: str) -> Settings:
        """With what a user wants in their place.

        Raises:
            UsageError: the recipe has no such setting, or not that value of it.
        """
        values = {}
        for name in self.__struct_fields__:
            value, asked = getattr(self, name), getattr(wanted, name)
            if asked is not None and value is None:
                raise UsageError(f"Recipe {recipe} has no {WORDS[name]} to choose.", "Leave the option out.")
            values[name] = value if asked is None else asked
        size = values["block_size"]
        if size is not None and (size < 16 or size & (size - 1)):
            raise UsageError(f"Block size {size} is not a power of two, 16 or more.", "Try 32, 64 or 128.")
        if (level := values["accuracy_level"]) is not None and level not in range(5):
            raise UsageError(f"There is no accuracy level {level}.", "Choose 1 (fp32) to 4 (int8), or 0 (any).")
        return Settings(**values)

    def suffix(self, usual: Settings) -> str:
        """How a result is told from the recipe's usual one: "-block128-asymmetric"."""
        parts = []
        if self.block_size != usual.block_size:
            parts.append(f"-block{self.block_size}")
        if self.symmetric != usual.symmetric:
            parts.append("-symmetric" if self.symmetric else "-asymmetric")
        if self.accuracy_level != usual.accuracy_level:
            parts.append(f"-level{self.accuracy_level}")
        if self.method != usual.method:
            parts.append(f"-{self.method}")
        return "".join(parts)


@dataclass(frozen=True)
class Job:
    """A model that a recipe changes in place."""

    model: ir.Model
    settings: Settings
    scratch: Path  # a folder for files that are needed meanwhile
    samples: Path | None  # calibration data, where the recipe needs some
