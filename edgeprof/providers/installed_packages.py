"""Which onnxruntime is installed, and whether two of its packages overwrite each other."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from edgeprof.schema import Record

RUNTIME_FILE = "onnxruntime/__init__.py"


class Wheel(Record, frozen=True, kw_only=True):
    """An installed package of the onnxruntime family."""

    name: str
    version: str
    runtime: bool  # it contains onnxruntime itself, not a plugin for one
    folder: str = ""  # where it is installed


def installed(folders: Iterable[str] | None = None) -> list[Wheel]:
    """The packages of the onnxruntime family below the folders that Python imports from, sorted by name."""
    places = dict.fromkeys(folders if folders is not None else sys.path)
    paths = (path for place in places for path in Path(place or ".").glob("onnxruntime*.dist-info"))
    return sorted((_wheel(path) for path in paths), key=lambda wheel: wheel.name)


def _wheel(path: Path) -> Wheel:
    name, _, version = path.name.removesuffix(".dist-info").rpartition("-")
    record = path / "RECORD"  # a line a file; importlib.metadata would take longer than all the rest of a command
    files = record.read_text(errors="replace").splitlines() if record.is_file() else []
    return Wheel(
        name=name.replace("_", "-"),
        version=version,
        runtime=any(file.startswith(f"{RUNTIME_FILE},") for file in files),
        folder=str(path.parent),
    )


def runtime_version(wheels: Sequence[Wheel]) -> str:
    """Version of the onnxruntime among them, the newest where there are several; "" where there is none."""
    return max((wheel.version for wheel in wheels if wheel.runtime), key=numbers, default="")


def conflict(wheels: Sequence[Wheel]) -> str:
    """Which packages each brought an onnxruntime, and the commands that fix the environment; "" where one did.

    They write to the same folder: what is imported is a mixture, and removing one deletes files of the other.
    """
    runtimes = [wheel for wheel in wheels if wheel.runtime]
    folders = [wheel.folder for wheel in runtimes]
    several = [wheel for wheel in runtimes if folders.count(wheel.folder) > 1]
    if not several:
        return ""
    listed = " and ".join(f"{wheel.name} {wheel.version}" for wheel in several)
    names = [wheel.name for wheel in several]
    choices = " or ".join(f"pip install {name}" for name in sorted(names, key=lambda name: name == "onnxruntime"))
    return (
        f"{listed} conflict: both install into the folder onnxruntime, and what runs is a mixture of them. "
        f"Run: pip uninstall -y {' '.join(names)}, then one of them: {choices}"
    )


def fits(version: str, required: str) -> bool:
    """Whether a version is within a range such as ">=1.29,<1.31"; every version is within an empty one.

    >>> fits("1.30.2", ">=1.29,<1.31"), fits("1.31.0", ">=1.29,<1.31"), fits("1.24", "")
    (True, False, True)
    """
    for bound in filter(None, required.split(",")):
        sign = bound.rstrip("0123456789.")
        limit = numbers(bound.removeprefix(sign))
        if not {">=": numbers(version) >= limit, "<": numbers(version) < limit}[sign]:
            return False
    return True


def numbers(version: str) -> tuple[int, ...]:
    """ "1.24.2.post1" -> (1, 24, 2): how versions are compared here."""
    parts = []
    for part in version.split("."):
        if not part.isdigit():
            break
        parts.append(int(part))
    return tuple(parts)
