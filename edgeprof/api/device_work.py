"""What a device does when it is asked: keep files, describe itself, measure a visit, verify, measure its ceilings.

`handle` answers one request, whichever way its bytes came. Run as a module, this file answers requests that come over
its standard input, one after the other, and ends with it: that is all that plain ssh needs.

A client is not trusted with more than this: it names files by digest, providers by the names of this device's own
table, and none of its paths, libraries or code is used.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import tempfile
import threading
from math import prod
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edgeprof import process, store
from edgeprof.errors import EdgeprofError, OutOfMemory, RunError, UnknownSizes, UsageError, first_line
from edgeprof.fleet import frames
from edgeprof.fleet.content import Content
from edgeprof.fleet.messages import (
    Clean,
    Cleaned,
    ContentFile,
    Describe,
    Described,
    Failed,
    Lacking,
    Lacks,
    Look,
    Looked,
    Measure,
    MeasureCeilings,
    Measured,
    Probed,
    Put,
    Reply,
    Request,
    Stored,
    Verified,
    Verify,
)
from edgeprof.fleet.pipe import SCRATCH, removed
from edgeprof.fleet.turn import busy_with, turn, user
from edgeprof.measure import machine as measure_machine
from edgeprof.measure import sensors
from edgeprof.measure.launch import measure
from edgeprof.measure.schedule import Job, Prepared, place_of
from edgeprof.schema import CPU, Artifact, Facts, Measurement, Record, Status, StoppingRule, Target

WAIT_S = 600.0
"""A request waits so long for other work on this device; then it is told what that is."""


class Ready(Record, frozen=True, kw_only=True):
    """What is found out about a job on this device, once: its visits share it."""

    facts: Facts
    prepared: Prepared | None


_ready: dict[str, Ready] = {}


def handle(request: bytes, wait_s: float = WAIT_S) -> bytes:
    """Answer one request of `edgeprof.fleet.messages`, as MessagePack; an error is a reply as well.

    Only one request is worked on at a time, over all processes and users of this device: others wait, or are told what
    it is busy with.
    """
    try:
        return msgspec.msgpack.encode(_answered(_decoded(request), wait_s))
    except EdgeprofError as problem:
        failed = Failed(error=type(problem).__name__, what=problem.what, next_step=problem.next_step)
    except MemoryError:
        failed = Failed(error=OutOfMemory.__name__, what="The device ran out of memory.")
    except Exception as problem:  # noqa: BLE001  (whatever it is, the agent lives on)
        what = f"The device cannot answer: {type(problem).__name__}: {first_line(problem)}."
        failed = Failed(error=EdgeprofError.__name__, what=what, next_step="Report it, with the command.")
    return msgspec.msgpack.encode(failed)


def _decoded(request: bytes) -> Request:
    try:
        decoded: Request = msgspec.msgpack.decode(request, type=Request)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        what = f"The device does not understand the request ({first_line(problem)})."
        raise UsageError(what, "Install the same edgeprof on both sides.") from problem
    return decoded


def _answered(request: Request, wait_s: float) -> Reply:
    if isinstance(request, Describe):
        return _described(wait_s, at_once=request.at_once)
    with turn(_doing(request), wait_s):
        Content().discard_views()  # those of a process that was killed
        match request:
            case Look():
                from edgeprof.measure import surroundings

                return Looked(spoils=surroundings.look(request.threads, process.silent))
            case Lacking():
                return Lacks(have_bytes=Content().lacking(request.files))
            case Put():
                have = Content().put(request.sha256, request.offset, request.total_bytes, request.data)
                return Stored(have_bytes=have)
            case Clean():
                content = Content()
                removed = content.clean(request.keep_bytes)
                return Cleaned(removed_bytes=removed, kept_bytes=content.kept_bytes)
            case Measure():
                return _measured(request)
            case Verify():
                return _verified(request)
            case MeasureCeilings():
                from edgeprof.api.probe import ceilings_here

                return Probed(probe=ceilings_here(request.threads, force=request.force))


def _doing(request: Request) -> str:
    """What others are told meanwhile."""
    match request:
        case Measure():
            what = f"measures {request.visit.job.key.label}"
        case Verify():
            what = "verifies a model"
        case Look():
            what = "looks whether it is quiet"
        case MeasureCeilings():
            what = "measures its ceilings"
        case _:
            what = "receives files"
    return f"{what} for {getattr(request, 'client', '') or user()}"


# --- describe ------------------------------------------------------------------------------------------


def _described(wait_s: float, *, at_once: bool) -> Described:
    """What this device is. While something is measured, only what takes no time is read; providers that it was never
    asked for are waited for, or left out."""
    from edgeprof.api.capacity import available_memory, free_disk
    from edgeprof.providers import discovery, installed_packages

    with contextlib.ExitStack() as stack:
        busy = busy_with()
        providers = discovery.kept_devices() if busy else None
        if providers is None and not (busy and at_once):
            stack.enter_context(turn(f"describes itself for {user()}", wait_s))
            busy, providers = "", discovery.devices()
        machine, folder = measure_machine.describe(), store.cache_folder()
        packages = {wheel.name: wheel.version for wheel in installed_packages.installed()}
        return Described(
            machine=machine,
            providers=tuple(providers or ()),
            packages=packages | machine.versions,
            free_disk_bytes=free_disk(folder),
            free_memory_bytes=available_memory(),
            kept_bytes=Content().kept_bytes,
            temperature_c=sensors.temperature_c(),
            busy_with=busy,
        )


# --- measure -------------------------------------------------------------------------------------------


def _measured(request: Measure) -> Measured | Lacks:
    """Measure one visit. Where a file was removed meanwhile, the client is told which."""
    content = Content()
    if lacking := content.lacking(request.files):
        return Lacks(have_bytes=lacking)
    with content.view(request.files) as folder:
        job = _job_here(request.visit.job, request.files, folder)
        try:
            job = replace(job, target=_target_here(job.target))
            job = _prepared(_placed(job), request)
        except UsageError as problem:
            job = _refused(_placed(job), "unsupported", problem)
        except EdgeprofError as problem:
            job = _refused(_placed(job), "failed", problem)
        record = measure(replace(request.visit, job=job))
        return Measured(measurement=_without_paths(record, folder))


def _job_here(job: Job, files: tuple[ContentFile, ...], folder: Path) -> Job:
    """The job with paths of this device in place of names.

    Raises:
        UsageError: it names a file that is not among those of the request.
    """
    names = {file.name for file in files}

    def path(name: str) -> str:
        if name not in names:
            raise UsageError(f"'{name[:80]}' is not among the files of the request.", "Send it along.")
        return str(folder / name)

    limit = job.memory_limit
    if limit:
        from edgeprof.measure.limited_process import limited

        limit = limited(limit.bytes)
    target = job.target
    if target.is_baseline and target.library:
        target = replace(target, library=path(target.library))
    return replace(
        job,
        graph=replace(job.graph, path=path(job.graph.path)),
        inputs=tuple(replace(one, file=path(one.file)) if one.fill == "file" else one for one in job.inputs),
        files=tuple(store.state_of(folder / name) for name in sorted(names)),
        target=target,
        memory_limit=limit,
        prepared=None,
    )


def _placed(job: Job) -> Job:
    """The job with this device as its place."""
    place = place_of(job.target, measure_machine.describe().machine_id, job.key.place.threads)
    if job.target.is_baseline:
        place = replace(place, library=job.key.place.library)
    return replace(job, key=replace(job.key, place=place))


def _target_here(requested: Target) -> Target:
    """The provider or baseline of that name as this device has it; a request's libraries and paths are not used.

    Raises:
        UsageError: it has no such provider, or option; or an option that names a file.
        EdgeprofError: the provider is not ready on this device.
    """
    from edgeprof.providers.resolve import resolve

    if requested.is_baseline:
        return _baseline_here(requested)
    if requested.is_cpu:
        return CPU
    (own,) = resolve([requested.provider])
    extra = {name: value for name, value in requested.options.items() if own.options.get(name) != value}
    for name, value in extra.items():
        if "/" in value or "\\" in value:
            raise UsageError(
                f"Option {requested.provider}.{name} names a file, which must not come from elsewhere.", "Omit it."
            )
    return resolve([requested.provider], options=extra)[0]


def _baseline_here(requested: Target) -> Target:
    """The baseline of that name, where it is installed here and reads files that can be sent."""
    from edgeprof.baselines import chosen
    from edgeprof.baselines.table import of_target

    row, file = of_target(requested), requested.library
    if row.reads == "checkpoint":
        raise UsageError(f"{row.name} reads a checkpoint, which is not sent to a device.", "Omit the baseline.")
    chosen([f"{row.name}={file}" if file else row.name])
    return row.target(file, requested.options.get("precision", "") if file else "")


def _prepared(job: Job, request: Measure) -> Job:
    """The job with its graph prepared for the provider on this device, and its memory predicted for this device."""
    from edgeprof.api import baselines, placement

    unchanging = replace(job, files=(), stopping=StoppingRule(), timeout_s=None)
    key = store.content_key(unchanging, request.files, request.least_share)
    ready = _ready.get(key)
    if ready is None or (ready.prepared and not Path(ready.prepared.model).is_file()):
        done = baselines.checked(job) if job.target.is_baseline else placement.prepared(job, request.least_share)
        ready = Ready(facts=_facts_here(job), prepared=done.prepared)
        if ready.prepared is None or ready.prepared.status == "ok":  # others may be mended meanwhile
            _ready[key] = ready
    return replace(job, facts=ready.facts, prepared=ready.prepared)


def _facts_here(job: Job) -> Facts:
    """The facts of a point, with its memory predicted for this device's runtime."""
    if not job.facts.memory or not job.target.is_cpu:
        return job.facts
    from edgeprof import counting
    from edgeprof.analysis.memory_parts import predicted
    from edgeprof.inputs.run_inputs import past_bytes
    from edgeprof.inputs.tensors import make
    from edgeprof.measure import runtime_memory

    graph = Path(job.graph.path)
    weights = [Path(file.path) for file in job.files if not file.path.endswith((".onnx", ".npy", ".npz"))]
    runtime = runtime_memory.read(
        job.key.place.threads, max(weights, key=lambda file: file.stat().st_size, default=None)
    )
    shapes = {value.name: value.shape for value in job.inputs}
    flags = {value.name: make(value) for value in job.inputs if value.fill == "value" and prod(value.shape) == 1}
    counted = counting.count(counting.read(graph), shapes, flags)
    past = past_bytes(job.inputs, job.key.load.past_tokens)
    return replace(job.facts, memory=predicted(counted, past, runtime, shared_cache=job.graph.shared_cache))


def _refused(job: Job, status: Status, problem: EdgeprofError) -> Job:
    ready = Prepared(model=job.graph.path, inputs=job.inputs, status=status, error=" ".join(str(problem).split()))
    return replace(job, prepared=ready)


def _without_paths(record: Measurement, folder: Path) -> Measurement:
    """The record with names where an error has paths of this device."""
    outcome = replace(record.outcome, error=_named(record.outcome.error, folder))
    return replace(record, outcome=outcome)


def _named(text: str, folder: Path) -> str:
    return text.replace(f"{folder}{os.sep}", "").replace(str(folder), "the model's folder")


# --- verify --------------------------------------------------------------------------------------------


def _verified(request: Verify) -> Verified | Lacks:
    from edgeprof.api.verify import verify

    content = Content()
    if lacking := content.lacking(request.files):
        return Lacks(have_bytes=lacking)
    with content.view(request.files) as folder:
        models = sorted(folder.glob("*.onnx"))
        if not models:
            raise RunError("There is no .onnx file among the files of the request.", "Send one.")
        whole = (folder / store.ARTIFACT_FILE).exists()
        try:
            (artifact,) = verify([str(folder if whole else models[0])])
        except UnknownSizes as problem:  # which a client cannot send
            options = " ".join(" ".join(option) for option in problem.options)
            run = f"Run on the device itself: edgeprof verify {models[0].name} {options}"
            raise UsageError(problem.what, run) from problem
        except EdgeprofError as problem:
            problem.what = _named(problem.what, folder)
            raise
        return Verified(artifact=_with_names(artifact, folder))


def _with_names(artifact: Artifact, folder: Path) -> Artifact:
    def name(path: str) -> str:
        return Path(path).relative_to(folder).as_posix()

    graphs = tuple(replace(graph, path=name(graph.path)) for graph in artifact.graphs)
    return replace(artifact, graphs=graphs, data_files=tuple(map(name, artifact.data_files)))


# --- over a pipe ---------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests of standard input until it ends; then end at once, with whatever is running."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not reach the client
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, _scratch()), daemon=True).start()
    while True:
        with contextlib.suppress(BrokenPipeError):  # the client is gone: the reader ends this process
            frames.write_frame(replies, handle(requests.get()))


def _scratch() -> Path | None:
    """A folder for all temporary files of this process and its children, which end without removing them."""
    if os.name != "posix":  # where the locks of the device are in the folder of temporary files
        return None
    try:
        folder = os.environ.get(SCRATCH) or str(process.temporary_folder())
    except EdgeprofError:  # what needs such files says so
        return None
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    return Path(folder)


def _read(requests: queue.SimpleQueue[bytes], scratch: Path | None) -> None:
    with os.fdopen(os.dup(0), "rb") as stream, contextlib.suppress(EdgeprofError, OSError):
        while (frame := frames.read_frame(stream)) is not None:
            requests.put(frame)
    process.end_children()
    if scratch:
        with contextlib.suppress(OSError):
            scratch = scratch.rename(removed(scratch))  # the other thread can put nothing more into it
        shutil.rmtree(scratch, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    serve()
