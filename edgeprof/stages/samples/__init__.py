"""Samples of real data, to calibrate a recipe and to evaluate its accuracy: texts, images, or a user's arrays.

A samples file is an .npz of complete feeds; its keys are "<number of the sample>/<name of the input>".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from edgeprof.errors import UsageError
from edgeprof.families.base import Arrays
from edgeprof.inputs import Signature
from edgeprof.inputs.run_inputs import signature_of_artifact
from edgeprof.schema import Artifact, Record
from edgeprof.stages.samples import arrays, images, random_inputs, text
from edgeprof.stages.samples.feeds import check, complete, token_length
from edgeprof.stages.samples.splits import Part
from edgeprof.stages.samples.text import SHIPPED_TEXT, tokenizer_file
from edgeprof.store import reading_arrays, writing

__all__ = [
    "COUNT",
    "SHIPPED_TEXT",
    "Part",
    "Samples",
    "gather",
    "read",
    "require",
    "token_length",
    "tokenizer_file",
    "write",
]

COUNT = 32
"""The default number of samples, at most."""


class Samples(Record, frozen=True, kw_only=True):
    """The content of a samples file; `data`, `samples`, `lengths` and `random` as in `schema.Calibration`."""

    path: str
    data: str  # a description
    samples: int
    lengths: tuple[int, ...] = ()  # token lengths that occur, in increasing order; none for images
    random: bool = False


def gather(
    artifact: Artifact,
    source: str,
    target: Path,
    *,
    part: Part,
    count: int = COUNT,
    checkpoint: Path | None = None,
    like: Path | None = None,
) -> Samples:
    """Write a samples file for a model. The same source gives the same bytes.

    Args:
        artifact: the fp32 model that the samples are for.
        source: "text" (the one that edgeprof ships), "random", a .txt, .npy or .npz file, or a folder of images. For
            one of several graphs, an .npz may also hold inputs of the others.
        target: the .npz file to write.
        part: calibration and evaluation get different samples of one source (unless it holds a single one).
        count: of samples, at most.
        checkpoint: the folder with tokenizer.json or preprocessor_config.json; None: that of the artifact's weights.
        like: a reference file; random values for a file from elsewhere have its shapes, at which the model runs.

    Raises:
        UsageError: the source does not exist, is too short, does not fit the model, or holds NaN or infinity.
        MissingExtra: `source` is text, and `tokenizers` is not installed.
        StorageError: the file cannot be written.
    """
    signature = signature_of_artifact(artifact, artifact.graph())
    data, given = _open(artifact, signature, source, part, count, checkpoint, like)
    lengths = set[int]()
    completed = []
    for where, whole in given:
        sample = _of_part(signature, whole) if artifact.is_part else whole
        feeds = complete(signature, sample, where)
        check(artifact, signature, feeds, where)
        lengths |= {length for length in [token_length(signature, feeds)] if length is not None}
        completed.append(feeds)
    write(target, completed)
    return Samples(
        path=str(target),
        data=data,
        samples=len(given),
        lengths=tuple(sorted(lengths)),
        random=source == random_inputs.NAME,
    )


def _of_part(signature: Signature, sample: Arrays) -> Arrays:
    """The inputs of one of several graphs, in a sample that has those of all."""
    names = {spec.name for spec in signature.specs}
    return {name: array for name, array in sample.items() if name in names}


def write(path: Path, feeds: Iterable[Arrays]) -> None:
    """Write a samples file.

    Raises:
        StorageError: the file cannot be written.
    """
    written = {
        f"{number}/{name}": array.astype(np.str_) if array.dtype.kind == "O" else array  # strings, without pickle
        for number, one in enumerate(feeds)
        for name, array in one.items()
    }
    with writing(path):
        np.savez(path, **written)  # type: ignore[arg-type]


def read(path: Path | str) -> Iterator[Arrays]:
    """Read the feeds of a samples file, one at a time.

    Raises:
        UsageError: the file is missing, damaged, or no samples file.
    """
    with reading_arrays(Path(path), UsageError, "Gather the samples again."), np.load(path) as archive:
        for names in arrays.numbered(archive.files):
            yield {name.split("/", 1)[1]: archive[name] for name in names}


def _open(
    artifact: Artifact,
    signature: Signature,
    source: str,
    part: Part,
    count: int,
    checkpoint: Path | None,
    like: Path | None,
) -> tuple[str, list[tuple[str, Arrays]]]:
    """A description of a source; and for each sample its name in messages and the inputs that the source has."""
    if count < 1:
        raise UsageError(f"The number of samples cannot be {count}.", "Use at least one.")
    if source == text.NAME:
        return text.shipped(artifact, signature, part, count, checkpoint)
    if source == random_inputs.NAME:
        return random_inputs.values(artifact, signature, part, count, like)
    path = _known(source)
    if path.is_dir():
        return images.of_folder(artifact, signature, path, part, count, checkpoint)
    if path.suffix == ".txt":
        return text.of_file(artifact, signature, path, part, count, checkpoint)
    return arrays.of_file(artifact, signature, path, part, count)


def require(source: str | None) -> None:
    """Require that a user's samples can be read, before anything that takes long.

    Raises:
        UsageError: there is no such file or folder, it cannot be read, or holds no samples.
    """
    if source is None or source in (text.NAME, random_inputs.NAME):
        return
    path = _known(source)
    if path.is_dir():
        images.images_in(path)
    elif path.suffix == ".txt":
        text.read(path)
    else:
        arrays.load(path)


def _known(source: str) -> Path:
    path = Path(source).expanduser()
    if not path.exists():
        raise UsageError(
            f"There is no file or folder {source}.",
            f"Check the path, or use {text.NAME} or {random_inputs.NAME}, which need none.",
        )
    if not path.is_dir() and path.suffix not in (".txt", ".npy", ".npz"):
        raise UsageError(
            f"{source} holds no samples that edgeprof knows.", "Use a .txt, .npy or .npz file, or a folder of images."
        )
    return path
