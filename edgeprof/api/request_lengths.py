"""Token lengths of requests, as `buckets --lengths` accepts them: a list, or a file with one length a line."""

import re
from pathlib import Path

from edgeprof.errors import UsageError
from edgeprof.store import read_text
from edgeprof.text import abbreviated

ONE_A_LINE = "Pass a file with one token length a line"


def request_lengths(text: str) -> list[int]:
    """The lengths in "16,64,64" or in the file of that name. A length that occurs twice is two requests.

    >>> request_lengths("16,64,64")
    [16, 64, 64]

    Raises:
        UsageError: there is no such file, or something in it is not a length; names its place.
    """
    file = Path(text)
    if text.replace(",", "").replace(" ", "").isdigit():
        words, place = [word.strip() for word in text.split(",")], "place"
    elif file.exists():
        lines = read_text(file, UsageError, f"{ONE_A_LINE}.").splitlines()
        words, place = [line.partition("#")[0].strip() for line in lines], "line"
    else:
        raise UsageError(f"There is no file {abbreviated(text)}.", f"{ONE_A_LINE}, or --lengths 16,64,64")
    for number, word in enumerate(words, 1):
        if word and not (re.fullmatch(r"\d{1,9}", word, re.ASCII) and int(word)):
            what = f"'{abbreviated(word)}' is not a token length ({place} {number} of --lengths)."
            raise UsageError(what, "Example: --lengths 16,64,64")
    lengths = [int(word) for word in words if word]
    if not lengths:
        raise UsageError("--lengths holds no lengths.", f"{ONE_A_LINE}.")
    return lengths
