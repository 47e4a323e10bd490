"""Send files to a device by their content: only what it lacks, each once, going on where an earlier attempt was cut.

A visit that is sent has the names of its files in place of paths (`named_visit`); its record comes back with none.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from edgeprof import store
from edgeprof.errors import RunError
from edgeprof.fleet.ask import answer, ask, expected
from edgeprof.fleet.links import Link
from edgeprof.fleet.messages import ContentFile, Lacking, Lacks, Measure, Put, Stored, Verify
from edgeprof.measure.schedule import Job, Visit
from edgeprof.process import Progress, silent
from edgeprof.schema import Artifact, FileState, Measurement, Record

R = TypeVar("R")

CHUNK_BYTES = 8 << 20
SENT_AT_ONCE = 32
"""Parts of files, to all devices together: each is in memory here until it is there."""

MOST_REFUSED = 100
MOST_TIMES_SENT = 3

INPUTS = "inputs"
"""The folder, on a device, of files that inputs are read from."""

_sending = threading.BoundedSemaphore(SENT_AT_ONCE)
_computing = threading.Lock()


class Files(Record, frozen=True, kw_only=True):
    """Files of this machine, and what they are called on a device."""

    content: tuple[ContentFile, ...]
    paths: dict[str, str]  # name -> path on this machine

    def name_of(self, path: str) -> str:
        """What a file of this machine is called on a device.

        Raises:
            RunError: it is not one of these files.
        """
        name = next((name for name, own in self.paths.items() if own == str(Path(path).absolute())), None)
        if name is None:
            raise RunError(f"{path} is not among the files that are sent.", "Run the command again.")
        return name


def content_of(artifact: Artifact) -> Files:
    """All files that `verify` needs of an artifact: graphs and weights, and of an exported one its record and reference
    values.

    Raises:
        StorageError, RunError: one cannot be read.
    """
    whole = store.load_artifact(artifact.folder) if artifact.key else artifact
    paths = list(whole.files)
    if artifact.key:
        paths.append(whole.folder / store.ARTIFACT_FILE)
        paths += [file for file in map(store.reference_file, whole.graphs) if file.exists()]
    return _files({_name(path, whole.folder): path for path in paths})


def content_of_job(job: Job) -> Files:
    """All files that a measurement of a job needs: graphs, weights, files of inputs.

    Raises:
        StorageError, RunError: one cannot be read.
    """
    folder = Path(job.graph.path).absolute().parent
    paths = [Path(job.graph.path), *(Path(file.path) for file in job.files)]
    named = {_name(path, folder): path for path in paths if path.absolute().is_relative_to(folder)}
    own = [job.target.library] if job.target.is_baseline and job.target.library else []
    for path in map(Path, [*(value.file for value in job.inputs if value.file), *own]):
        if not path.absolute().is_relative_to(folder) or _name(path, folder) not in named:
            named[f"{INPUTS}/{digest_of(path)[:16]}{path.suffix}"] = path
    return _files(named)


def send_files(link: Link, files: Files, progress: Progress = silent, timeout_s: float | None = None) -> int:
    """Send a device what it lacks of these files, and return the bytes sent.

    Args:
        progress: called with the share of the bytes to send.
        timeout_s: for each reply.

    Raises:
        StorageError: a file cannot be read here, or does not fit there.
        RunError: a file was changed meanwhile.
        DeviceLost: the device went away; sending again goes on where it was.
    """
    lacks = ask(link, Lacking(files=files.content), Lacks, timeout_s).have_bytes
    missing = {file.sha256: file for file in files.content if file.sha256 in lacks}
    total = sum(file.size_bytes - lacks[digest] for digest, file in missing.items())
    sent = 0
    for file in missing.values():
        doing = f"sending {file.name}"
        progress(doing, sent / total if total else None)
        for part_bytes in _sent(link, file, Path(files.paths[file.name]), lacks[file.sha256], timeout_s):
            sent += part_bytes
            progress(doing, min(sent / total, 1.0) if total else None)
    return sent


def ask_with_files(
    link: Link,
    request: Measure | Verify,
    files: Files,
    kind: type[R],
    progress: Progress = silent,
    timeout_s: float | None = None,
) -> R:
    """Ask what needs files; those that the device lacks by then, as another client removed them, are sent again.

    Raises:
        EdgeprofError: as `ask` and `send_files`.
    """
    for _ in range(MOST_TIMES_SENT):
        reply = answer(link, request, timeout_s)
        if not isinstance(reply, Lacks):
            return expected(reply, kind, link.name)
        send_files(link, files, progress, timeout_s)
    raise RunError(f"{link.name} does not keep the files that it is sent.", "Let others end their runs there first.")


def _sent(link: Link, file: ContentFile, path: Path, have: int, timeout_s: float | None) -> Iterator[int]:
    """Send what follows the bytes that are there, part by part; yield the bytes of each."""
    refused = 0
    while True:
        with _sending:
            data = _part(path, have, min(CHUNK_BYTES, file.size_bytes - have))
            part = Put(sha256=file.sha256, offset=have, total_bytes=file.size_bytes, data=data)
            there = ask(link, part, Stored, timeout_s).have_bytes
        sent = len(data)
        del data, part  # not kept while others send
        yield sent
        if there >= file.size_bytes:
            return
        refused += there != have + sent  # another client sends the same file
        if refused > MOST_REFUSED:
            raise RunError(f"{link.name} does not take {path}.", "Run the command again.")
        have = there


def _part(path: Path, offset: int, size: int) -> bytes:
    with store.reading(path), path.open("rb") as source:
        source.seek(offset)
        data = source.read(size)
    if len(data) < size:
        raise RunError(f"{path} was changed while it was sent.", "Run the command again.")
    return data


def named_visit(visit: Visit, files: Files) -> Visit:
    """The visit with names in place of paths, as a device takes it.

    Raises:
        RunError: it has a file that is not among `files`.
    """
    job = visit.job
    inputs = tuple(replace(one, file=files.name_of(one.file)) if one.file else one for one in job.inputs)
    target = job.target
    if target.is_baseline and target.library:
        target = replace(target, library=files.name_of(target.library))
    graph = replace(job.graph, path=files.name_of(job.graph.path))
    return replace(visit, job=replace(job, graph=graph, inputs=inputs, target=target, files=(), prepared=None))


def measured_visit(measurement: Measurement, visit: Visit) -> Measurement:
    """The record of a device, under the settings of the visit as this machine knows it: a run is resumed by them."""
    return replace(measurement, settings_key=visit.job.settings_key)


def digest_of(path: Path) -> str:
    """The sha256 of a file, computed once for each state of it.

    Raises:
        StorageError, RunError: it cannot be read.
    """
    with _computing:  # for all devices, not for each
        return _digest(store.state_of(path.absolute()))


@lru_cache(maxsize=4096)
def _digest(state: FileState) -> str:
    digest = store.sha256_of(Path(state.path))
    store.require_unchanged([state])
    return digest


def _files(named: Mapping[str, Path]) -> Files:
    paths = {name: path.absolute() for name, path in named.items()}
    content = (
        ContentFile(name=name, sha256=digest_of(path), size_bytes=path.stat().st_size) for name, path in paths.items()
    )
    return Files(content=tuple(content), paths={name: str(path) for name, path in paths.items()})


def _name(path: Path, folder: Path) -> str:
    return path.absolute().relative_to(folder.absolute()).as_posix()
