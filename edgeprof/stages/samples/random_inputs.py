"""Made-up values, for those who ask for them by name: a model runs on them, and they mean nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof.errors import UsageError
from edgeprof.families import family_of
from edgeprof.families.base import Arrays
from edgeprof.schema import Artifact, Case, TensorSpec
from edgeprof.stages import reference
from edgeprof.stages.samples.feeds import required, rows
from edgeprof.stages.samples.splits import Part
from edgeprof.stages.samples.text import lengths_up_to

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "random"


def values(
    artifact: Artifact, part: Part, count: int, like: Path | None = None
) -> tuple[str, list[tuple[str, Arrays]]]:
    """Token ids drawn evenly from the vocabulary, other numbers from a normal distribution; lengths as of text.

    Args:
        like: a reference file, for a model without a variant: its shapes are taken, and what is no number or id.

    Raises:
        UsageError: the size of an input is not known.
    """
    if artifact.variant is None and like is not None:
        return "made-up values", _redrawn(artifact, part, count, like)
    lengths = lengths_up_to(artifact.variant.max_tokens if artifact.variant else None)
    limits = rows(artifact)
    drawn = []
    for number in range(count):
        generator = np.random.default_rng([number, part == "evaluation"])
        length = lengths[number % len(lengths)]
        feeds = {spec.name: _draw(spec, artifact, length, limits, generator) for spec in required(artifact.inputs)}
        drawn.append((f"made-up sample {number}", feeds))
    return "made-up values", drawn


def _redrawn(artifact: Artifact, part: Part, count: int, like: Path) -> list[tuple[str, Arrays]]:
    """The feeds of a reference file, and others of their shapes: what is compared later is within the ranges."""
    limits, cases = rows(artifact), [feeds for _, feeds, _ in reference.read(like)]
    drawn = []
    for number in range(count):
        feeds = cases[number % len(cases)]
        if number >= len(cases):
            generator = np.random.default_rng([number, part == "evaluation"])
            feeds = {name: _again(name, array, limits, generator) for name, array in feeds.items()}
        drawn.append((f"made-up sample {number}", feeds))
    return drawn


def _again(name: str, array: NDArray[Any], limits: dict[str, int], generator: np.random.Generator) -> NDArray[Any]:
    """Ids of a table and numbers that differ from each other are drawn anew; a mask or positions stay."""
    if array.dtype.kind == "f" and array.size and array.min() != array.max():
        draw = generator.random if array.min() >= 0 else generator.standard_normal
        return draw(array.shape, np.float32).astype(array.dtype)
    if name in limits and array.dtype.kind in "iu" and "position" not in name:
        return generator.integers(0, limits[name], array.shape).astype(array.dtype)
    return array


def _draw(
    spec: TensorSpec, artifact: Artifact, length: int, limits: dict[str, int], generator: np.random.Generator
) -> NDArray[Any]:
    shape = [_size(spec, axis, artifact, length) for axis in range(len(spec.dims))]
    if "float" in spec.dtype:
        return generator.standard_normal(shape, np.float32).astype(spec.dtype)
    if spec.dtype == "bool" or "mask" in spec.name:
        return np.ones(shape, spec.dtype)
    return generator.integers(0, limits.get(spec.name, 2), shape).astype(spec.dtype)


def _size(spec: TensorSpec, axis: int, artifact: Artifact, length: int) -> int:
    dim = spec.dims[axis]
    if isinstance(dim, int):
        return dim
    if artifact.variant is not None:
        return _sizes(artifact, length)[dim]
    if axis == 0:
        return 1
    if axis == 1 and len(spec.dims) in (2, 3):
        return length
    raise UsageError(
        f"The size of dimension {axis} of input '{spec.name}' is not known.", "Give samples in a FILE.npz instead."
    )


def _sizes(artifact: Artifact, length: int) -> dict[str, int]:
    assert artifact.variant is not None
    variant, family = artifact.variant, family_of(artifact.variant)
    return family.sizes(variant, Case(batch=1, tokens=family.sample_tokens(variant, length)))
