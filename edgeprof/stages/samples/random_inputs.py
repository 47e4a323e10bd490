"""Random values, for users who request them: a model runs on them, but they have no meaning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof.errors import UnknownSizes, UsageError
from edgeprof.families import family_of, traced_variant
from edgeprof.families.base import Arrays
from edgeprof.inputs import LoadRequest, Signature, tensors
from edgeprof.inputs.run_inputs import Inputs, end_token, of_file, of_variant, usual_sizes
from edgeprof.schema import Artifact, Case
from edgeprof.stages import reference
from edgeprof.stages.samples.feeds import table_rows
from edgeprof.stages.samples.splits import Part
from edgeprof.stages.samples.text import lengths_up_to

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME = "random"


def values(
    artifact: Artifact, signature: Signature, part: Part, count: int, like: Path | None = None
) -> tuple[str, list[tuple[str, Arrays]]]:
    """Token ids drawn evenly from the vocabulary, other numbers from a normal distribution; lengths as of text.

    Args:
        like: a reference file, for a model whose inputs no family gives: samples have its shapes, masks and positions.

    Raises:
        UsageError: the size of an input is not known.
    """
    if traced_variant(artifact) is None and like is not None:
        return "made-up values", _redrawn(artifact, signature, part, count, like)
    lengths = lengths_up_to(artifact.max_tokens)
    samples = []
    for number in range(count):
        generator = _generator(number, part)
        inputs = _inputs(artifact, signature, lengths[number % len(lengths)])
        feeds = {value.name: tensors.make_array(value, generator) for value in inputs.values}
        samples.append((f"made-up sample {number}", feeds))
    return "made-up values", samples


def _generator(number: int, part: Part) -> np.random.Generator:
    return np.random.default_rng([number, part == "evaluation"])


def _inputs(artifact: Artifact, signature: Signature, length: int) -> Inputs:
    variant = traced_variant(artifact)
    if variant is not None:
        tokens = family_of(variant).sample_tokens(variant, length)
        return of_variant(signature, variant, Case(batch=1, tokens=tokens))
    try:
        load = LoadRequest(length=length if signature.sized_by_length else None)
        return of_file(signature, load, usual=usual_sizes(artifact), end=end_token(artifact))
    except UnknownSizes as problem:
        raise UsageError(problem.what, "Pass samples in a FILE.npz instead.") from problem


def _redrawn(artifact: Artifact, signature: Signature, part: Part, count: int, like: Path) -> list[tuple[str, Arrays]]:
    """The feeds of a reference file, and others of their shapes: later comparisons then stay within the ranges."""
    rows, cases = table_rows(artifact, signature), [feeds for _, feeds, _ in reference.read(like)]
    ids = {one.name: rows[one.name] for one in signature.inputs if one.name in rows and one.meaning != "positions"}
    samples, end = [], end_token(artifact)
    for number in range(count):
        feeds = cases[number % len(cases)]
        if number >= len(cases):
            generator = _generator(number, part)
            feeds = {name: _again(array, ids.get(name), end, generator) for name, array in feeds.items()}
        samples.append((f"made-up sample {number}", feeds))
    return samples


def _again(array: NDArray[Any], rows: int | None, end: int | None, generator: np.random.Generator) -> NDArray[Any]:
    """Ids of a table, and numbers that differ from each other, are drawn again; masks, positions and ends stay."""
    if array.dtype.kind == "f" and array.size and array.min() != array.max():
        draw = generator.random if array.min() >= 0 else generator.standard_normal
        return draw(array.shape, np.float32).astype(array.dtype)
    if rows is not None and array.dtype.kind in "iu":
        drawn = generator.integers(0, rows, array.shape).astype(array.dtype)
        return drawn if end is None else np.where((array == end) | (drawn == end), array, drawn)
    return array
