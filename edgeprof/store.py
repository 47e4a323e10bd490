"""Where things lie, and how they get there: content keys, atomic writes, runs that survive being killed.

models/<name>/<precision>/   model.onnx, model.onnx.data, reference.npz, artifact.json
reports/<run>/               machine.json, measurements.jsonl, measurements.csv, index.html, report.md, figures/;
                             operators.jsonl and kernels.jsonl where operators were profiled
"""

import contextlib
import csv
import errno
import hashlib
import io
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from edgeprof.errors import EdgeprofError, RunError, StorageError, UsageError, said
from edgeprof.locks import sole_writer
from edgeprof.schema import (
    Artifact,
    FileState,
    KernelTime,
    Machine,
    Measurement,
    OperatorPass,
    Point,
    Record,
    decode,
    encode,
    encode_pretty,
)
from edgeprof.text import visible

MODELS = Path("models")
REPORTS = Path("reports")

MODEL_FILE = "model.onnx"
WEIGHTS_FILE = "model.onnx.data"
REFERENCE_FILE = "reference.npz"
ARTIFACT_FILE = "artifact.json"

MEASUREMENTS_FILE = "measurements.jsonl"
OPERATORS_FILE = "operators.jsonl"
KERNELS_FILE = "kernels.jsonl"
TABLE_FILE = "measurements.csv"
MACHINE_FILE = "machine.json"

Line = TypeVar("Line", Measurement, OperatorPass, KernelTime)

_DISK_REFUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.EFBIG: "a file may not be so large here",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "a file of that name is in the way",
    errno.ENAMETOOLONG: "the name is too long",
}

_UNREADABLE = {
    errno.ENOENT: "there is no such file",
    errno.EISDIR: "it is a folder",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.ELOOP: "it is a link that leads to itself",
    errno.ENOTDIR: "a part of the path is a file",
    errno.ENAMETOOLONG: "the name is too long",
}

_PARTIAL = ".partial-"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a refusal of the disk into a StorageError that names the place and the reason."""
    try:
        yield
    except OSError as problem:
        part = f"the disk took only a part ({problem})"  # numpy, of a file that was cut off: without a number
        reason = _DISK_REFUSES.get(problem.errno or 0, problem.strerror or part)
        place = next((part.parent for part in (path, *path.parents) if _PARTIAL in part.name), path)
        raise StorageError(
            f"Cannot write {place}: {reason}.", "Free or choose another place (--out), then run the same command again."
        ) from problem


@contextlib.contextmanager
def reading(
    path: Path, error: type[EdgeprofError] = StorageError, next_step: str = "Check the path."
) -> Iterator[None]:
    """Turn whatever keeps a file from being read into an error that names the file and the reason.

    A pipe or a device is refused before it is opened: it might never end.
    """
    try:
        require_regular(path)
        yield
    except EOFError:
        reason = "it is cut off"
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    except OSError as problem:
        reason = _UNREADABLE.get(problem.errno or 0, problem.strerror or str(problem))
    else:
        return
    raise error(f"{path} cannot be read: {reason}.", next_step)


def there(path: Path) -> bool:
    """Whether something has this name, were it a link that leads nowhere."""
    return path.exists() or path.is_symlink()


def require_regular(path: Path) -> None:
    """Raise the OSError that tells why a path is no file that can be read to its end."""
    try:
        mode = path.stat().st_mode
    except ValueError as problem:  # a zero byte
        raise OSError(0, "no file has such a name") from problem
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(0, "it is a pipe or a device, not a file")


def read_bytes(path: Path, error: type[EdgeprofError] = StorageError, next_step: str = "Check the path.") -> bytes:
    """The bytes of a file.

    Raises:
        EdgeprofError: of the given class; it cannot be read.
    """
    with reading(path, error, next_step):
        return path.read_bytes()


def read_text(path: Path, error: type[EdgeprofError] = StorageError, next_step: str = "Check the path.") -> str:
    """The text of a file in UTF-8.

    Raises:
        EdgeprofError: of the given class; it cannot be read, or is something else.
    """
    with reading(path, error, next_step):
        return path.read_text(encoding="utf-8")


@contextlib.contextmanager
def reading_arrays(path: Path, error: type[EdgeprofError], next_step: str) -> Iterator[None]:
    """As `reading`, of a .npy or .npz file: numpy, zipfile and zlib raise whatever a damaged file makes of them."""
    with reading(path, error, next_step):
        try:
            yield
        except (EdgeprofError, OSError, EOFError):
            raise
        except Exception as problem:
            raise error(f"{path} cannot be read: {said(problem)}.", next_step) from problem


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Raises:
        StorageError: the disk refused; the old content is untouched.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}{_PARTIAL}")
        partial = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            partial.chmod(0o644)
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def folder_in_progress(final: Path) -> Iterator[Path]:
    """A folder to fill, which takes its final name only when the block ends well.

    What stood at the final name stays until then. One process at a time fills it, another waits; what a killed one left
    is tidied up by the next.

    Raises:
        StorageError: the disk refused.
    """
    with contextlib.ExitStack() as held:
        with writing(final):
            held.enter_context(sole_writer(final, waiting=lambda _holder: None))
            settle(final)
            partial = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}{_PARTIAL}"))
            partial.chmod(0o755)
        try:
            yield partial
            with writing(final):
                if final.exists():
                    final.rename(_replaced(final))
                partial.rename(final)
        finally:
            settle(final)


def settle(final: Path) -> None:
    """Tidy up what a process left that was killed while it filled a folder; only for the `sole_writer` of it.

    A folder that was just being replaced, and has lost its name, gets it back.
    """
    replaced = _replaced(final)
    if replaced.is_dir() and not final.exists():
        replaced.rename(final)
    shutil.rmtree(replaced, ignore_errors=True)
    _sweep(final.parent, f".{final.name}{_PARTIAL}")


def _sweep(folder: Path, prefix: str) -> None:
    """Remove what is unfinished in a folder."""
    for path in folder.iterdir():
        if path.name.startswith(prefix) and _PARTIAL in path.name:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _replaced(final: Path) -> Path:
    return final.with_name(f".{final.name}.replaced")


# --- what files name -----------------------------------------------------------------------------------


def within(folder: Path, name: str, holder: Path, error: type[EdgeprofError]) -> Path:
    """The path that `holder` calls `name`, in `folder` or below it.

    Links may stay in the folder, or lead where those of a hub cache do: from .../snapshots/... into .../blobs.

    Raises:
        error: it lies elsewhere; a file that came from elsewhere must not choose what is read here.
    """
    path, parts = folder / name, re.split(r"[/\\]", name)
    downwards = not Path(name).is_absolute() and ".." not in parts and "\0" not in name and max(map(len, parts)) < 256
    snapshots = [parent.parent for parent in path.absolute().parents if parent.name == "snapshots"]
    roots = [os.path.realpath(root) for root in (folder, *(cache / "blobs" for cache in snapshots))]
    if not downwards or not any(Path(os.path.realpath(path)).is_relative_to(root) for root in roots):
        raise error(
            f"{holder} names {name}, which does not lie in its folder.", "Get all files from where they were published."
        )
    return path


# --- keys ----------------------------------------------------------------------------------------------


def sha256_of(path: Path) -> str:
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(paths: Sequence[Path]) -> str:
    """One digest of several files; of a single one its own."""
    digests = [sha256_of(path) for path in paths]
    return digests[0] if len(digests) == 1 else content_key(digests) if digests else ""


def state_of(path: Path) -> FileState:
    """What changes when a file is written to or replaced.

    Raises:
        RunError: there is no such file any more.
    """
    with reading(path, RunError):
        found = path.stat()
        return FileState(path=str(path), size=found.st_size, mtime_ns=found.st_mtime_ns, inode=found.st_ino)


def require_unchanged(files: Sequence[FileState]) -> None:
    """See that files are still what they were.

    Raises:
        RunError: one was written to, replaced or removed.
    """
    for file in files:
        if state_of(Path(file.path)) != file:
            raise RunError(f"{file.path} was changed or replaced while it was measured.", "Run the command again.")


def content_key(*parts: Any) -> str:
    """A digest that is equal exactly when the parts are; parts are anything msgspec can encode."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


# --- cache ---------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where edgeprof keeps what it can find out again: EDGEPROF_CACHE, or the user's cache folder."""
    own = os.environ.get("EDGEPROF_CACHE")
    users = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(own or Path(users) / "edgeprof").expanduser()


# --- artifacts -----------------------------------------------------------------------------------------


def save_artifact(folder: Path, artifact: Artifact) -> None:
    record = msgspec.structs.replace(artifact, path=Path(artifact.path).name)
    write_atomic(folder / ARTIFACT_FILE, encode_pretty(record))


def load_artifact(folder: Path) -> Artifact:
    """Read the artifact of a folder; its `path` comes back absolute.

    Raises:
        RunError: the record is damaged, or a file it names is missing or has another size.
    """
    artifact = _record(folder)
    model = (folder / artifact.path).absolute()
    weights = model.with_name(model.name + ".data")
    if not model.is_file() or (artifact.data_bytes and not weights.is_file()):
        raise RunError(f"{folder} has lost its model files.", "Export it again with --force.")
    if artifact.data_bytes and weights.stat().st_size != artifact.data_bytes:
        raise RunError(f"{weights} is not of the size that was exported.", "Export it again with --force.")
    return msgspec.structs.replace(artifact, path=str(model))


def record_beside(file: Path) -> Artifact | None:
    """The record of the artifact in whose folder a file lies, if it lies in one; its model need not be there.

    Raises:
        RunError: the record is damaged.
    """
    folder = file.absolute().parent
    return _record(folder) if (folder / ARTIFACT_FILE).exists() else None


def _record(folder: Path) -> Artifact:
    file = folder / ARTIFACT_FILE
    artifact = decode(read_bytes(file, RunError), Artifact, str(file))
    for name in (artifact.path, *(graph.file for graph in artifact.static)):
        within(folder, name, file, RunError)
    return artifact


def artifact_folders(root: Path) -> list[Path]:
    """All folders below `root` (or `root` itself) that hold an artifact, sorted."""
    for replaced in (_replaced(root), *root.rglob(".*.replaced")):
        _give_back(replaced)
    found = (file.parent for file in root.rglob(ARTIFACT_FILE))
    return sorted(
        folder for folder in found if not any(part.startswith(".") for part in folder.relative_to(root).parts)
    )


def _give_back(replaced: Path) -> None:
    """The name to a folder that a killed process was just replacing."""
    final = replaced.with_name(replaced.name.removeprefix(".").removesuffix(".replaced"))
    if replaced.is_dir() and not final.exists():
        with contextlib.suppress(RunError, OSError), sole_writer(final):  # else it is being replaced now, or read-only
            settle(final)


# --- runs ----------------------------------------------------------------------------------------------


def run_folder(root: Path, name: str) -> Path:
    """Where the run of a name lies.

    Raises:
        UsageError: no folder can have that name.
    """
    require_name(name, "a run")
    return root / name


LONGEST_NAME = 100


def require_name(name: str, what: str) -> None:
    """Refuse what cannot name a folder everywhere, or would lead out of the one it lies in.

    Raises:
        UsageError: it has other characters than letters, digits, dots, dashes and underscores, or too many.
    """
    if len(name) > LONGEST_NAME:
        raise UsageError(
            f"'{name[:20]}...' cannot name {what}: it has {len(name):,} characters.",
            f"Give --name {LONGEST_NAME} characters at most.",
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise UsageError(f"'{name}' cannot name {what}.", "Give --name letters, digits, dots, dashes, underscores.")


def run_names(root: Path) -> list[str]:
    """Runs below `root`, the most recently measured last."""
    files = sorted(root.glob(f"*/{MEASUREMENTS_FILE}"), key=lambda file: file.stat().st_mtime)
    return [file.parent.name for file in files]


@contextlib.contextmanager
def run_in_progress(folder: Path, machine: Machine) -> Iterator[list[Measurement]]:
    """Start a run, or take one up again, as its only writer: what it already holds comes back.

    Raises:
        RunError: another process writes it, or `open_run` refuses it.
        StorageError: the disk refused.
    """
    with contextlib.ExitStack() as held:
        with writing(folder):
            held.enter_context(sole_writer(folder))
        yield open_run(folder, machine)


def open_run(folder: Path, machine: Machine) -> list[Measurement]:
    """What a run already holds; everything is looked at before anything is written.

    Raises:
        RunError: the run, or a line of it, was made on another machine, or its records are damaged.
    """
    apart = "Records of different machines are not mixed: choose another --name."
    known = load_machine(folder) if there(folder / MACHINE_FILE) else None
    if known and known.machine_id != machine.machine_id:
        what = f"Run '{folder.name}' was measured on another machine ({known.cpu}, {known.os}) or other versions."
        raise RunError(what, apart)
    held = load_records(folder)
    if held.machine_ids - {machine.machine_id}:
        raise RunError(f"Run '{folder.name}' was measured on another machine, which is not recorded.", apart)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder, ".")
    if not known:
        write_atomic(folder / MACHINE_FILE, encode_pretty(machine))
    for name in (MEASUREMENTS_FILE, OPERATORS_FILE, KERNELS_FILE):
        _mend_tail(folder / name)
    return list(held.measurements)


def _mend_tail(file: Path) -> None:
    """Drop the half line that a killed process may have left, so that the next record starts a line."""
    if not file.exists():
        return
    data = read_bytes(file, RunError)
    if data and not data.endswith(b"\n"):
        write_atomic(file, data[: data.rfind(b"\n") + 1])


def append_measurement(folder: Path, measurement: Measurement) -> None:
    """Add one line, on disk when this returns."""
    _append(folder / MEASUREMENTS_FILE, measurement)


def append_operators(folder: Path, record: OperatorPass) -> None:
    _append(folder / OPERATORS_FILE, record)


def append_kernel(folder: Path, record: KernelTime) -> None:
    _append(folder / KERNELS_FILE, record)


def _append(file: Path, record: Record) -> None:
    with writing(file):
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            line = encode(record) + b"\n"
            while line:
                line = line[os.write(handle, line) :]
            os.fsync(handle)
        finally:
            os.close(handle)


class Records(Record, frozen=True, kw_only=True):
    """All that a run holds; of one machine."""

    machine: Machine | None  # None: only its measurements were copied
    measurements: tuple[Measurement, ...]
    operators: tuple[OperatorPass, ...]
    kernels: tuple[KernelTime, ...]

    @property
    def machine_ids(self) -> set[str]:
        lines = (self.measurements, self.operators, self.kernels)
        of_lines = {line.machine_id for file in lines for line in file}
        return of_lines | ({self.machine.machine_id} if self.machine else set())


def load_records(folder: Path) -> Records:
    """Everything that a run holds so far.

    Raises:
        RunError: a record is damaged, or they are not all of one machine.
    """
    records = Records(
        machine=load_machine(folder) if there(folder / MACHINE_FILE) else None,
        measurements=tuple(_load(folder / MEASUREMENTS_FILE, Measurement)),
        operators=tuple(load_operators(folder)),
        kernels=tuple(load_kernels(folder)),
    )
    if len(records.machine_ids) > 1:
        raise RunError(f"{folder} mixes records of several machines.", "Keep one folder per machine.")
    return records


def load_measurements(folder: Path) -> list[Measurement]:
    """All whole lines of a run. A last line without its end (a killed process) is not one.

    Raises:
        RunError: no such file, a damaged line, or lines of more than one machine.
    """
    file = folder / MEASUREMENTS_FILE
    if not file.exists():
        raise RunError(f"{folder} holds no {MEASUREMENTS_FILE}.", "Run: edgeprof profile --name " + folder.name)
    return _load(file, Measurement)


def load_operators(folder: Path) -> list[OperatorPass]:
    """As `load_measurements`; none where operators were not profiled."""
    return _load(folder / OPERATORS_FILE, OperatorPass)


def load_kernels(folder: Path) -> list[KernelTime]:
    return _load(folder / KERNELS_FILE, KernelTime)


def _load(file: Path, kind: type[Line]) -> list[Line]:
    data = read_bytes(file, RunError) if there(file) else b""
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    records = [decode(line, kind, f"{file}, line {number}") for number, line in enumerate(lines, 1)]
    if len({record.machine_id for record in records}) > 1:
        raise RunError(f"{file} mixes records of several machines.", "Keep one file per machine.")
    return records


def load_machine(folder: Path) -> Machine:
    """What a run was made on.

    Raises:
        RunError: there is no record of it, or a damaged one.
    """
    file = folder / MACHINE_FILE
    return decode(read_bytes(file, RunError, "Copy the whole run folder."), Machine, str(file))


def save_table(folder: Path, points: Iterable[Point]) -> Path:
    """Write measurements.csv: a row per point, missing values empty, texts that no spreadsheet takes for a formula."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(Point.__struct_fields__)
    rows.writerows(map(_cell, msgspec.structs.astuple(point)) for point in points)
    write_atomic(folder / TABLE_FILE, text.getvalue().encode())
    return folder / TABLE_FILE


def _cell(value: Any) -> Any:
    """Names come from files of others: a spreadsheet would compute what begins like a formula."""
    if isinstance(value, str):
        return f"'{visible(value)}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else visible(value)
    return "" if value is None else value
