"""The command as a user runs it, and what is seen of it."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def sentences(self) -> list[str]:
        """The lines on standard error; a progress bar leaves none."""
        return [line for line in self.err.splitlines() if line.strip()]


Command = Callable[..., Ran]


def command_line(*words: object) -> list[str]:
    return [sys.executable, "-m", "edgeprof", *map(str, words)]
