"""Text as a model reads it: tokenized by its own tokenizer, cut into samples of several lengths."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeprof import units
from edgeprof.errors import MissingExtra, UsageError, said
from edgeprof.families.base import Arrays
from edgeprof.schema import Artifact, TensorSpec
from edgeprof.stages import weights
from edgeprof.stages.samples.feeds import rows, token_ids
from edgeprof.stages.samples.splits import Part, halves
from edgeprof.store import read_text, reading

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NAME = "text"
SHIPPED_TEXT = Path(__file__).with_name("text.txt")
TOKENIZER_FILE = "tokenizer.json"

SHORTEST, LONGEST = 16, 512
"""Token lengths of samples; the powers of two between them too."""

SHORT = 64
"""Each length is taken once, and then those up to this one by turns: a text makes many short samples, few long ones."""

_Given = list[tuple[str, Arrays]]


def shipped(artifact: Artifact, part: Part, count: int, checkpoint: Path | None) -> tuple[str, _Given]:
    """Samples of the text that edgeprof ships."""
    data = f"text that edgeprof ships, tokenized by {artifact.name}"
    return data, _samples(artifact, SHIPPED_TEXT, part, count, checkpoint)


def of_file(artifact: Artifact, path: Path, part: Part, count: int, checkpoint: Path | None) -> tuple[str, _Given]:
    """Samples of a user's text."""
    return f"{path.name}, tokenized by {artifact.name}", _samples(artifact, path, part, count, checkpoint)


def _samples(artifact: Artifact, path: Path, part: Part, count: int, checkpoint: Path | None) -> _Given:
    """Windows that follow each other through one half of the text, each with the tokenizer's special tokens.

    Raises:
        UsageError: the model takes no text, there is no tokenizer, or the text is too short.
    """
    spec = token_ids(artifact.inputs)
    if spec is None:
        names = ", ".join(one.name for one in artifact.inputs)
        raise UsageError(f"{artifact.name} reads no text: its inputs are {names}.", _instead(part))
    file, words = tokenizer_file(artifact, checkpoint, part), halves(read(path), part)
    tokenizer = _load(file)
    with _using(file):
        before, after = _special_tokens(tokenizer)
        ids = tokenizer.encode(words, add_special_tokens=False).ids
    _check_vocabulary([*before, *ids, *after], artifact, spec)
    lengths = lengths_up_to(artifact.variant.max_tokens if artifact.variant else None)
    cut = list(_windows(ids, lengths, len(before) + len(after), count))
    if not cut:
        raise UsageError(
            f"{path} is too short: half of it is {units.counted(len(ids), 'token')}.",
            f"At least {min(lengths)} are needed, twice.",
        )
    return [
        (f"sample {number} of {path.name}", {spec.name: np.array([[*before, *window, *after]], spec.dtype)})
        for number, window in enumerate(cut)
    ]


def lengths_up_to(most: int | None) -> list[int]:
    """Short and long by turns, the shortest first: [16, 512, 32, 256, 64, 128]."""
    longest = min(LONGEST, most or LONGEST)
    powers = [1 << power for power in range(SHORTEST.bit_length() - 1, LONGEST.bit_length())]
    rising = [length for length in powers if length < longest] + [longest]
    return [rising[index // 2] if index % 2 == 0 else rising[-1 - index // 2] for index in range(len(rising))]


def _windows(ids: list[int], lengths: list[int], special: int, count: int) -> Iterator[list[int]]:
    """Consecutive windows, so long that they have these lengths in turn once there are special tokens around them.

    A length that is longer than what is left is passed over.
    """
    start, shortest = 0, min(lengths) - special
    turns = itertools.chain(lengths, itertools.cycle(length for length in lengths if length <= SHORT))
    for _ in range(count):
        left = len(ids) - start
        if left < shortest:
            return
        length = next(length for length in turns if length - special <= left) - special
        yield ids[start : start + length]
        start += length


def tokenizer_file(artifact: Artifact, checkpoint: Path | None = None, part: Part = "calibration") -> Path:
    """The tokenizer.json of a model: in `checkpoint`, or where its variant came from.

    Raises:
        UsageError: there is none.
    """
    folder = checkpoint_folder(artifact, checkpoint)
    if folder is not None and (folder / TOKENIZER_FILE).is_file():
        return folder / TOKENIZER_FILE
    source = artifact.variant.source if artifact.variant else None
    where = f"{folder} has none" if folder else f"{source} is not on this machine" if source else "it has no checkpoint"
    raise UsageError(f"Text needs the {TOKENIZER_FILE} of {artifact.name}, and {where}.", _instead(part))


def checkpoint_folder(artifact: Artifact, checkpoint: Path | None) -> Path | None:
    """Where the files of a checkpoint lie: a folder, or the local hub cache; None where they do not."""
    source = artifact.variant.source if artifact.variant else None
    if checkpoint is not None or source is None:
        return checkpoint
    if Path(source).is_absolute():
        return Path(source) if Path(source).is_dir() else None
    try:
        return weights.cached(source)
    except MissingExtra:  # nothing was ever downloaded here
        return None


def _instead(part: Part) -> str:
    return "Give --calibration FILE.npz, or --calibration random." if part == "calibration" else "Give a FILE.npz."


def _load(path: Path) -> Tokenizer:
    try:
        from tokenizers import Tokenizer
    except ImportError as missing:
        raise MissingExtra("Reading text", "tokenizers", "export") from missing
    with _using(path):
        tokenizer: Tokenizer = Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
    return tokenizer


@contextlib.contextmanager
def _using(path: Path) -> Iterator[None]:
    """Say what is wrong with a tokenizer. Its library is Rust's: when it panics it writes pages to standard error, and
    raises what is no Exception.

    Raises:
        UsageError: the file cannot be read, or its library fails.
    """
    with reading(path, UsageError, "Download it again."), _silenced():
        try:
            yield
        except (KeyboardInterrupt, SystemExit, OSError):
            raise
        except BaseException as problem:
            what = f"{path} is not a tokenizer that works: {said(problem)}."
            raise UsageError(what, "Download it again.") from problem


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _special_tokens(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    plain, whole = tokenizer.encode("a", add_special_tokens=False).ids, tokenizer.encode("a").ids
    before = next((at for at in range(len(whole)) if whole[at : at + len(plain)] == plain), 0)
    return whole[:before], whole[before + len(plain) :]


def _check_vocabulary(ids: list[int], artifact: Artifact, spec: TensorSpec) -> None:
    limit, highest = rows(artifact).get(spec.name), max(ids, default=0)
    if limit is not None and highest >= limit:
        raise UsageError(
            f"The tokenizer of {artifact.name} makes id {highest}, outside the model's 0 to {limit - 1}.",
            "Tokenizer and weights do not belong together: get both from the same place.",
        )


def read(path: Path) -> str:
    """
    Raises:
        UsageError: it cannot be read as text.
    """
    return read_text(path, UsageError, "Give a text in UTF-8.")
