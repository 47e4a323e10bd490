"""Text samples for a model: tokenized by its own tokenizer, cut into samples of several lengths."""

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
from edgeprof.errors import MissingExtra, UsageError, first_line
from edgeprof.families.base import Arrays
from edgeprof.inputs import Signature
from edgeprof.schema import Artifact
from edgeprof.stages import weights
from edgeprof.stages.samples.feeds import required, table_rows, token_ids
from edgeprof.stages.samples.splits import Part, halves
from edgeprof.store import read_text, reading

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NAME = "text"
SHIPPED_TEXT = Path(__file__).with_name("text.txt")
TOKENIZER_FILE = "tokenizer.json"

SHORTEST, LONGEST = 16, 512
"""Token lengths of samples; also the powers of two between them."""

SHORT = 64
"""Each length is used once, then those up to this one in turn: a text has many short samples and few long ones."""

_Given = list[tuple[str, Arrays]]


def shipped(
    artifact: Artifact, signature: Signature, part: Part, count: int, checkpoint: Path | None
) -> tuple[str, _Given]:
    """Samples of the text that edgeprof ships."""
    data = f"text that edgeprof ships, tokenized by {artifact.name}"
    return data, _samples(artifact, signature, SHIPPED_TEXT, part, count, checkpoint)


def of_file(
    artifact: Artifact, signature: Signature, path: Path, part: Part, count: int, checkpoint: Path | None
) -> tuple[str, _Given]:
    """Samples of a user's text."""
    return f"{path.name}, tokenized by {artifact.name}", _samples(artifact, signature, path, part, count, checkpoint)


def _samples(
    artifact: Artifact, signature: Signature, path: Path, part: Part, count: int, checkpoint: Path | None
) -> _Given:
    """Consecutive windows of one half of the text, each with the tokenizer's special tokens.

    Raises:
        UsageError: the model takes no text, there is no tokenizer, or the text is too short.
    """
    ids_input = token_ids(signature)
    if ids_input is None:
        names = ", ".join(one.name for one in signature.inputs)
        raise UsageError(f"{artifact.name} does not read text: its inputs are {names}.", _instead(part))
    spec = ids_input.spec
    others = [other.name for other in required(signature) if other != spec]
    if others:
        also = f"'{others[0]}'" + (f" and {len(others) - 1} more" if len(others) > 1 else "")
        raise UsageError(f"{artifact.name} does not read text alone: it also takes {also}.", _instead(part))
    file, words = tokenizer_file(artifact, checkpoint, part), halves(read(path), part)
    tokenizer = _load(file)
    with _using(file):
        before, after = _special_tokens(tokenizer)
        ids = tokenizer.encode(words, add_special_tokens=False).ids
    _check_vocabulary([*before, *ids, *after], artifact, table_rows(artifact, signature).get(spec.name))
    lengths = lengths_up_to(artifact.max_tokens)
    cut = list(_windows(ids, lengths, len(before) + len(after), count))
    if not cut:
        raise UsageError(
            f"{path} is too short: half of it is {units.counted(len(ids), 'token')}.",
            f"Each half needs at least {min(lengths)}.",
        )
    return [
        (f"sample {number} of {path.name}", {spec.name: np.array([[*before, *window, *after]], spec.dtype)})
        for number, window in enumerate(cut)
    ]


def lengths_up_to(most: int | None) -> list[int]:
    """Short and long lengths in turn, the shortest first.

    >>> lengths_up_to(None), lengths_up_to(80)
    ([16, 512, 32, 256, 64, 128], [16, 80, 32, 64])
    """
    longest = min(LONGEST, most or LONGEST)
    powers = [1 << power for power in range(SHORTEST.bit_length() - 1, LONGEST.bit_length())]
    rising = [length for length in powers if length < longest] + [longest]
    return [rising[index // 2] if index % 2 == 0 else rising[-1 - index // 2] for index in range(len(rising))]


def _windows(ids: list[int], lengths: list[int], special: int, count: int) -> Iterator[list[int]]:
    """Consecutive windows that have these lengths in turn together with their special tokens.

    A length that exceeds the rest of the text is skipped.
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
    """The tokenizer.json of a model: in `checkpoint`, or in the checkpoint of its weights.

    Raises:
        UsageError: there is none.
    """
    folder = checkpoint_folder(artifact, checkpoint)
    if folder is not None and (folder / TOKENIZER_FILE).is_file():
        return folder / TOKENIZER_FILE
    source = artifact.checkpoint
    where = f"{folder} has none" if folder else f"{source} is not on this machine" if source else "it has no checkpoint"
    raise UsageError(f"Text needs the {TOKENIZER_FILE} of {artifact.name}, and {where}.", _instead(part))


def checkpoint_folder(artifact: Artifact, checkpoint: Path | None) -> Path | None:
    """The folder with the files of a checkpoint, its own or in the local hub cache; None where there is none."""
    source = artifact.checkpoint
    if checkpoint is not None or source is None:
        return checkpoint
    if Path(source).is_absolute():
        return Path(source) if Path(source).is_dir() else None
    try:
        return weights.cached(source)
    except MissingExtra:  # nothing was ever downloaded here
        return None


def _instead(part: Part) -> str:
    return "Use --calibration FILE.npz, or --calibration random." if part == "calibration" else "Use a FILE.npz."


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
    """Turn whatever a tokenizer raises into a UsageError. Its library is written in Rust: when it panics, it writes
    pages to standard error and raises something that is not an Exception.

    Raises:
        UsageError: the file cannot be read, or the library fails.
    """
    with reading(path, UsageError, "Download it again."), _silenced():
        try:
            yield
        except (KeyboardInterrupt, SystemExit, OSError):
            raise
        except BaseException as problem:
            what = f"{path} is not a working tokenizer: {first_line(problem)}."
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
    """Tokens that the tokenizer adds before and after a text."""
    plain, whole = tokenizer.encode("a", add_special_tokens=False).ids, tokenizer.encode("a").ids
    before = next((at for at in range(len(whole)) if whole[at : at + len(plain)] == plain), 0)
    return whole[:before], whole[before + len(plain) :]


def _check_vocabulary(ids: list[int], artifact: Artifact, rows: int | None) -> None:
    highest = max(ids, default=0)
    if rows is not None and highest >= rows:
        raise UsageError(
            f"The tokenizer of {artifact.name} produces id {highest}, outside the model's 0 to {rows - 1}.",
            "Tokenizer and weights do not belong together: get both from the same place.",
        )


def read(path: Path) -> str:
    """The text of a file.

    Raises:
        UsageError: it cannot be read as text.
    """
    return read_text(path, UsageError, "Save the text as UTF-8.")
