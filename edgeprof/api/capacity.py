"""Whether what an export makes fits into this machine's memory and onto its disk, told before anything is made."""

import shutil
from collections.abc import Collection
from pathlib import Path

from edgeprof import units
from edgeprof.errors import TooLarge
from edgeprof.families import family_of
from edgeprof.measure.machine import memory_limit
from edgeprof.recipe_table import recipe
from edgeprof.schema import FP32, Variant

BYTES = 4  # of a parameter in fp32
IMPORTS_BYTES = 0.5e9  # torch and what goes with it


def too_large(variant: Variant, precisions: Collection[str], out: Path, instead: str) -> TooLarge | None:
    """The refusal, if memory or disk is too small for the precisions that are to be made.

    Args:
        out: the folder that receives the files.
        instead: a command that can be given in place of the export.
    """
    weights, quantized = BYTES * family_of(variant).params(variant), set(precisions) - {FP32}
    needed = IMPORTS_BYTES + weights * max(recipe(name).copies for name in {FP32, *precisions})
    disk = weights * ((FP32 in precisions) + bool(quantized))  # to be quantized, weights are written once more
    available, free = available_memory(), free_disk(out)
    if not precisions or (needed <= available and disk <= free):
        return None
    return TooLarge(
        f"Exporting {variant.name} needs about {units.size(needed)} of memory and {units.size(disk)} of disk; "
        f"here are {units.size(available)} and {units.size(free)}.",
        f"Use a machine with more, or look at it with: {instead}",
    )


def available_memory() -> int:
    """Bytes that this process may still take."""
    import psutil

    available = psutil.virtual_memory().available
    return min(available, memory_limit() or available)


def free_disk(folder: Path) -> int:
    """Bytes that are free where a folder lies, or will."""
    place = folder.absolute()
    return shutil.disk_usage(next(part for part in (place, *place.parents) if part.is_dir())).free
