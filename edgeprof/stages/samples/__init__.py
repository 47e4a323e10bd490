"""Inputs that mean something, to calibrate a recipe by and to see what it cost: texts, images, or a user's arrays.

A samples file is an .npz of complete feeds; its keys are "<number of the sample>/<name of the input>".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from edgeprof.errors import UsageError
from edgeprof.families.base import Arrays
from edgeprof.schema import Artifact, Record
from edgeprof.stages.samples import arrays, images, random_inputs, text
from edgeprof.stages.samples.feeds import check, complete, rows, token_length
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
"""At most so many samples, where nobody asks for another number."""


class Samples(Record, frozen=True, kw_only=True):
    """What lies in a samples file. `data`, `samples`, `lengths` and `random` are what `schema.Calibration` tells."""

    path: str
    data: str  # in words
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
        artifact: whose inputs are to be fed, in fp32.
        source: "text" (the one that edgeprof ships), "random", a .txt, .npy or .npz file, or a folder of images.
        target: the .npz file to write.
        part: calibration and evaluation get different samples of one source (unless it holds a single one).
        count: at most so many samples.
        checkpoint: the folder with tokenizer.json or preprocessor_config.json; None: where the artifact's variant
            came from.
        like: a reference file; made-up values for a file from elsewhere have its shapes, at which the model runs.

    Raises:
        UsageError: the source does not exist, is too short, does not fit the model, or holds what is no number.
        MissingExtra: text is asked for, and `tokenizers` is not installed.
        StorageError: the disk refused.
    """
    data, given = _open(artifact, source, part, count, checkpoint, like)
    limits, lengths = rows(artifact), set[int]()
    completed = []
    for where, partial in given:
        feeds = complete(artifact.inputs, partial, where)
        check(artifact, feeds, limits, where)
        lengths |= {length for length in [token_length(artifact.inputs, feeds)] if length is not None}
        completed.append(feeds)
    write(target, completed)
    return Samples(
        path=str(target),
        data=data,
        samples=len(given),
        lengths=tuple(sorted(lengths)),
        random=source == random_inputs.NAME,
    )


def write(path: Path, feeds: Iterable[Arrays]) -> None:
    """Write a samples file.

    Raises:
        StorageError: the disk refused.
    """
    written = {
        f"{number}/{name}": array.astype(np.str_) if array.dtype.kind == "O" else array  # strings, without pickle
        for number, one in enumerate(feeds)
        for name, array in one.items()
    }
    with writing(path):
        np.savez(path, **written)  # type: ignore[arg-type]


def read(path: Path | str) -> Iterator[Arrays]:
    """The feeds of a samples file, one after the other; one is in memory at a time.

    Raises:
        UsageError: it is missing, damaged, or something else.
    """
    with reading_arrays(Path(path), UsageError, "Gather the samples again."), np.load(path) as archive:
        for names in arrays.numbered(archive.files):
            yield {name.split("/", 1)[1]: archive[name] for name in names}


def _open(
    artifact: Artifact, source: str, part: Part, count: int, checkpoint: Path | None, like: Path | None
) -> tuple[str, list[tuple[str, Arrays]]]:
    """What a source is, in words; and of each sample what it is called and the inputs that the source tells of."""
    if count < 1:
        raise UsageError(f"{count} samples cannot be taken.", "Ask for at least one.")
    if source == text.NAME:
        return text.shipped(artifact, part, count, checkpoint)
    if source == random_inputs.NAME:
        return random_inputs.values(artifact, part, count, like)
    path = _known(source)
    if path.is_dir():
        return images.of_folder(artifact, path, part, count, checkpoint)
    if path.suffix == ".txt":
        return text.of_file(artifact, path, part, count, checkpoint)
    return arrays.of_file(artifact, path, part, count)


def require(source: str | None) -> None:
    """Refuse a user's samples that cannot be read before anything long is done with them.

    Raises:
        UsageError: there is no such file or folder, it cannot be read, or holds something else.
    """
    if source is None or source in (text.NAME, random_inputs.NAME):
        return
    path = _known(source)
    if path.is_dir():
        images.found(path)
    elif path.suffix == ".txt":
        text.read(path)
    else:
        arrays.load(path)


def _known(source: str) -> Path:
    path = Path(source).expanduser()
    if not path.exists():
        raise UsageError(
            f"There is no file or folder {source}.", f"Check the path; {text.NAME} and {random_inputs.NAME} need none."
        )
    if not path.is_dir() and path.suffix not in (".txt", ".npy", ".npz"):
        raise UsageError(
            f"{source} holds no samples that edgeprof knows.", "Give a .txt, .npy or .npz file, or a folder of images."
        )
    return path
