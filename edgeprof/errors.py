"""Every error that a user can get. Each says what happened and what to do next.

EdgeprofError            a request that could not be fulfilled (exit code 1)
├── UsageError           the request itself is wrong (exit code 2)
│   ├── UnknownName      a name that is not in a table; offers the nearest ones
│   └── UnknownSizes     axes of a file without a size; lists the options that set them
├── TooLarge             a model that does not fit in this machine's memory or on its disk
├── MissingExtra         a part of edgeprof that is not installed here
├── CheckpointError      a checkpoint that cannot be read or does not fit its config
├── ExportError          a model that torch cannot trace or translate
├── ModelFileError       an ONNX file that cannot be used
├── VerificationError    an ONNX file that does not compute what PyTorch computes
├── QuantizationError    a recipe that does not apply to a model, or breaks it
├── StorageError         a read or write that failed
├── RunError             records that are missing, broken or do not belong together
├── OutOfMemory          memory ran out, of the machine or of a limit
├── DeviceLost           a device somewhere else that does not answer any more
├── DeviceBusy           a device that does other work, for longer than one waits
└── ChildError           a child process crashed, was killed or ran out of time
"""

import re
from collections.abc import Iterable
from typing import Self


class EdgeprofError(Exception):
    """What happened, and the next step; the message is both, in one or two sentences."""

    exit_code = 1

    def __init__(self, what: str, next_step: str = "") -> None:
        self.what = what
        self.next_step = next_step
        super().__init__(f"{what} {next_step}".strip())

    def about(self, subject: str) -> Self:
        """The same error, with its subject in front: for requests that name several."""
        if not self.what.startswith(subject):
            self.what = f"{subject}: {self.what}"
            self.args = (f"{self.what} {self.next_step}".strip(),)
        return self


class UsageError(EdgeprofError):
    exit_code = 2


SHOWN = 30
"""Known names that a message lists at most."""


class UnknownName(UsageError):
    """A misspelt name; the message suggests the nearest known names."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        import difflib

        folded = {one.casefold(): one for one in known}
        near = [folded[one] for one in difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)]
        names = list(folded.values())
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        known_here = f"Known: {', '.join(names[:SHOWN])}{more}." if folded else "There are none here."
        offer = f"Did you mean {', '.join(near)}?" if near else known_here
        super().__init__(f"There is no {kind} called '{name}'.", f"{offer} {hint}".strip())


class UnknownSizes(UsageError):
    """Axes whose size is not known. `options` are those to add to the command, with example sizes."""

    options: tuple[tuple[str, str], ...] = ()  # none after it came from another process

    def __init__(self, what: str, options: tuple[tuple[str, str], ...]) -> None:
        self.options = options
        super().__init__(what, f"Give {'it' if len(options) == 1 else 'them'}: {' '.join(map(' '.join, options))}")


class MissingExtra(EdgeprofError):
    def __init__(self, doing: str, package: str, extra: str) -> None:
        super().__init__(
            f"{doing} needs '{package}', which is not installed.",
            f"Run: pip install 'edgeprof[{extra}]'",
        )


class TooLarge(EdgeprofError):
    pass


class CheckpointError(EdgeprofError):
    pass


class ExportError(EdgeprofError):
    pass


class ModelFileError(EdgeprofError):
    pass


class VerificationError(EdgeprofError):
    pass


class QuantizationError(EdgeprofError):
    pass


class StorageError(EdgeprofError):
    pass


class RunError(EdgeprofError):
    pass


class OutOfMemory(EdgeprofError):
    def __init__(self, doing: str = "", reason: str = "") -> None:
        what = f"Memory ran out{f' while {doing}' if doing else ''}{f' ({reason})' if reason else ''}."
        super().__init__(what, "Request less at once, or provide more memory.")


_NO_MEMORY = re.compile(
    r"bad_alloc|MemoryError|(?:failed|cannot|unable) to (?:allocate|map)|cannot allocate|memory allocation.* failed"
    r"|out of memory|can't start new thread|pthread_create",
    re.IGNORECASE,
)


def memory_ran_out(printed: str) -> bool:
    """Whether a message of Python, the loader or a library says that memory ran out.

    >>> memory_ran_out("Exception during initialization: std::bad_alloc"), memory_ran_out("No such file")
    (True, False)
    """
    return _NO_MEMORY.search(printed) is not None


class ChildError(EdgeprofError):
    pass


class DeviceLost(EdgeprofError):
    """A device somewhere else does not answer any more; `what` says why."""


class DeviceBusy(EdgeprofError):
    """A device does other work, for longer than one waits; `what` says which."""


def by_name(name: str) -> type[EdgeprofError]:
    """The error class of that name: how an error keeps its kind across a process boundary."""
    found = globals().get(name)
    return found if isinstance(found, type) and issubclass(found, EdgeprofError) else EdgeprofError


def rebuilt(name: str, what: str, next_step: str) -> EdgeprofError:
    """An error that came from another process, by the name of its class and its message."""
    kind = by_name(name)
    problem = kind.__new__(kind)
    EdgeprofError.__init__(problem, what, next_step)
    return problem


def first_line(problem: BaseException) -> str:
    """The first line of a library's error, to be quoted within a sentence.

    >>> first_line(ValueError("unknown type: 99.\\nSee the documentation.")), first_line(KeyError())
    ('unknown type: 99', 'KeyError')
    """
    lines = str(problem).strip().splitlines()
    return lines[0].rstrip(" .:") if lines else type(problem).__name__
