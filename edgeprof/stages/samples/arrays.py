"""Samples that a user made: .npy for one input, .npz for several, their first axis the samples.

An .npz may also be a samples file, "<number>/<input>", where samples differ in length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeprof.errors import UsageError
from edgeprof.families.base import Arrays
from edgeprof.schema import Artifact
from edgeprof.stages.samples.feeds import required
from edgeprof.stages.samples.splits import Part, chosen
from edgeprof.store import reading_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBERED = re.compile(r"(\d+)/(.+)")


def of_file(artifact: Artifact, path: Path, part: Part, count: int) -> tuple[str, list[tuple[str, Arrays]]]:
    """The samples of a file, without the inputs that follow from others.

    Raises:
        UsageError: it cannot be read, or its arrays do not make samples of this model.
    """
    found = load(path)
    samples = _one_by_one(found) if isinstance(found, dict) and _is_numbered(found) else _cut(artifact, found, path)
    picked = chosen(len(samples), part, count)
    return path.name, [(f"sample {number} of {path.name}", samples[number]) for number in picked]


def numbered(keys: Iterable[str]) -> list[list[str]]:
    """The keys of a samples file, sample by sample; ValueError for others."""
    groups: dict[int, list[str]] = {}
    for key in keys:
        match = NUMBERED.fullmatch(key)
        if match is None:
            raise ValueError(f"'{key}' is not a key of a samples file")
        groups.setdefault(int(match[1]), []).append(key)
    return [groups[number] for number in sorted(groups)]


def _is_numbered(found: Arrays) -> bool:
    return bool(found) and all(NUMBERED.fullmatch(key) for key in found)


def _one_by_one(found: Arrays) -> list[Arrays]:
    return [{key.split("/", 1)[1]: found[key] for key in keys} for keys in numbered(found)]


def _cut(artifact: Artifact, found: Arrays | NDArray[Any], path: Path) -> list[Arrays]:
    """One sample per row of the arrays, or as many rows as the model has fixed its batch at."""
    inputs = required(artifact.inputs)
    if not isinstance(found, dict):
        if len(inputs) > 1:
            names = ", ".join(spec.name for spec in inputs)
            raise UsageError(
                f"{path} holds one array, and {artifact.name} takes {names}.", "Save them with numpy.savez."
            )
        found = {inputs[0].name: found}
    rows = {len(array) if array.ndim else 0 for array in found.values()}
    if len(rows) > 1:
        raise UsageError(
            f"The arrays of {path} hold {' and '.join(map(str, sorted(rows)))} samples.", "Give as many of each."
        )
    first = inputs[0].dims[0] if inputs[0].dims else 1
    batch = first if isinstance(first, int) else 1
    there = next(iter(rows), 0)
    if there < batch:
        wanted = f"one sample, and {artifact.name} takes batches of {batch}" if there else "no samples"
        raise UsageError(f"{path} holds {wanted}.", "Their number is the first axis of its arrays.")
    return [
        {name: np.ascontiguousarray(array[start : start + batch]) for name, array in found.items()}
        for start in range(0, there - batch + 1, batch)
    ]


def load(path: Path) -> Arrays | NDArray[Any]:
    with reading_arrays(path, UsageError, "Save arrays with numpy.savez."):
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            return dict(found)
