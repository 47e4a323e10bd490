"""Samples from a user's arrays: .npy for one input, .npz for several, with samples along the first axis.

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
from edgeprof.inputs import Signature
from edgeprof.schema import Artifact
from edgeprof.stages.samples.feeds import required
from edgeprof.stages.samples.splits import Part, chosen
from edgeprof.store import reading_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBERED = re.compile(r"(\d+)/(.+)")


def of_file(
    artifact: Artifact, signature: Signature, path: Path, part: Part, count: int
) -> tuple[str, list[tuple[str, Arrays]]]:
    """The samples in a file, without the inputs that follow from others.

    Raises:
        UsageError: it cannot be read, or its arrays do not fit this model.
    """
    content = load(path)
    if isinstance(content, dict) and content and all(map(NUMBERED.fullmatch, content)):
        samples = _by_number(content)
    else:
        samples = _by_row(artifact, signature, content, path)
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


def _by_number(content: Arrays) -> list[Arrays]:
    return [{key.split("/", 1)[1]: content[key] for key in keys} for keys in numbered(content)]


def _by_row(artifact: Artifact, signature: Signature, content: Arrays | NDArray[Any], path: Path) -> list[Arrays]:
    """A sample for each row of the arrays, or for each batch of rows where the model has a fixed batch size."""
    inputs = required(signature)
    if not isinstance(content, dict):
        if len(inputs) > 1:
            names = ", ".join(spec.name for spec in inputs)
            raise UsageError(
                f"{path} holds one array, but {artifact.name} takes {names}.", "Save them with numpy.savez."
            )
        content = {inputs[0].name: content}
    rows = {len(array) if array.ndim else 0 for array in content.values()}
    if len(rows) > 1:
        raise UsageError(
            f"The arrays of {path} hold {' and '.join(map(str, sorted(rows)))} samples.", "Save equally many of each."
        )
    first = inputs[0].dims[0] if inputs[0].dims else 1
    batch = first if isinstance(first, int) else 1
    available = next(iter(rows), 0)
    if available < batch:
        what = f"one sample, but {artifact.name} takes batches of {batch}" if available else "no samples"
        raise UsageError(f"{path} holds {what}.", "Save samples along the first axis of its arrays.")
    return [
        {name: np.ascontiguousarray(array[start : start + batch]) for name, array in content.items()}
        for start in range(0, available - batch + 1, batch)
    ]


def load(path: Path) -> Arrays | NDArray[Any]:
    """The array of a .npy file, or those of an .npz file by name.

    Raises:
        UsageError: it cannot be read.
    """
    with reading_arrays(path, UsageError, "Save arrays with numpy.savez."):
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            return dict(content)
