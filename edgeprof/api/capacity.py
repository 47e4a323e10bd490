"""Check that an export fits in this machine's memory and on its disk, before it starts."""

import shutil
from collections.abc import Collection
from pathlib import Path

from edgeprof import units
from edgeprof.errors import TooLarge
from edgeprof.measure.machine import memory_limit
from edgeprof.recipe_table import recipe
from edgeprof.schema import FP32

BYTES = 4  # of a parameter in fp32
IMPORTS_BYTES = 0.5e9  # torch and the packages it imports


def too_large(name: str, params: int, precisions: Collection[str], out: Path, instead: str) -> TooLarge | None:
    """The error, if memory or disk is too small for a model in these precisions.

    Args:
        params: its number of parameters.
        out: the folder that receives the files.
        instead: a command to suggest in place of the export.
    """
    weights, quantized = BYTES * params, set(precisions) - {FP32}
    needed = IMPORTS_BYTES + weights * max(recipe(name).copies for name in {FP32, *precisions})
    disk = weights * ((FP32 in precisions) + bool(quantized))  # weights are written again to be quantized
    available, free = available_memory(), free_disk(out)
    if not precisions or (needed <= available and disk <= free):
        return None
    return TooLarge(
        f"Exporting {name} needs about {units.size(needed)} of memory and {units.size(disk)} of disk; "
        f"this machine has {units.size(available)} and {units.size(free)} free.",
        f"Use a larger machine, or explain the model: {instead}",
    )


def available_memory() -> int:
    """Bytes that this process can still allocate."""
    import psutil

    available = psutil.virtual_memory().available
    return min(available, memory_limit() or available)


def free_disk(folder: Path) -> int:
    """Free bytes on the disk of a folder that may not exist yet."""
    place = folder.absolute()
    return shutil.disk_usage(next(part for part in (place, *place.parents) if part.is_dir())).free
