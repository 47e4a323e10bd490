"""`predict`: latency and memory on a device that is not at hand, from a probe of it; nothing of the model is run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edgeprof import counting, store, units
from edgeprof.analysis.prediction import MEMORY_ERROR, paper_latency, predicted_latency
from edgeprof.api.modules import Modules
from edgeprof.api.option_ranges import require_positive
from edgeprof.api.points import ProfileRequest, jobs_of
from edgeprof.api.sizing import PhaseChoice
from edgeprof.api.targets import any_model, parts_of, renamed
from edgeprof.errors import UsageError
from edgeprof.measure import machine as measure_machine
from edgeprof.measure import runtime_memory
from edgeprof.measure.schedule import Job
from edgeprof.process import Progress, silent
from edgeprof.schema import (
    CPU,
    EDITION,
    PaperDevice,
    Prediction,
    Predictions,
    Probe,
    RuntimeMemory,
    StoppingRule,
    decode,
)
from edgeprof.text import joined

MAKE_ONE = "Make one on the device: edgeprof probe --out FILE"
AGAIN = "Measure it again on the device: edgeprof probe --force --out FILE"
PAPER_KEYS = "It has name, gb_per_s and [gflops]; and memory_mb, cache_mb, node_us, run_us if you like."


def predict(
    targets: Sequence[str],
    *,
    device: Path | None = None,
    on_paper: Path | None = None,
    seq: Sequence[int] = (),
    batch: Sequence[int] = (),
    phase: PhaseChoice = "both",
    precision: Sequence[str] = (),
    threads: int | None = None,
    ep: str = "cpu",
    dim: dict[str, int] | None = None,
    input: dict[str, Path] | None = None,
    models: Path = store.MODELS,
    progress: Progress = silent,
) -> Predictions:
    """Predict latency and peak memory of every point on another device; needs no torch and runs no model.

    The graph is counted as the onnxruntime of this machine optimizes it.

    >>> board = Path("board.toml")
    >>> _ = board.write_text("name = 'board'\\ngb_per_s = 8\\ngflops = {fp32 = 60}")
    >>> [point.load.tokens for point in predict(["bert-tiny"], on_paper=board, precision=["fp32"], seq=[16, 64]).points]
    [16, 64]

    Args:
        targets: exported names, artifact folders, or .onnx files.
        device: a file that `edgeprof probe --out` wrote on the device;
        on_paper: or a TOML file that describes one: exactly one of the two.
        seq, batch, phase, precision, dim, input, models: as in `profile`.
        threads: those of the probe; default.
        ep: the execution provider, which the probe has to have seen.
        progress: called with the current step.

    Raises:
        UsageError: there is no such model; or the probe does not say what is asked.
        RunError: the file of the device cannot be read.
    """
    if (device is None) is (on_paper is None):
        raise UsageError("A prediction needs one device.", "Add --device probe.json, or --on-paper device.toml.")
    for option, values in {"--seq": seq, "--batch": batch}.items():
        require_positive(option, values)
    request = ProfileRequest(
        seq=tuple(sorted(set(seq))),
        batch=tuple(sorted(set(batch))),
        phase=phase,
        machine_id="",
        threads=threads or 1,
        targets=(CPU,),
        compile=False,
        stopping=StoppingRule(),
        timeout_s=1.0,
        dims=dim or {},
        files=input or {},
        trial=False,
    )
    artifacts = [part for one in renamed(any_model(targets, models, precision)) for part in parts_of(one)]
    if device is not None:
        probe = read_probe(device)
        _require_seen(probe, device, threads, ep)
        request = replace(request, machine_id=probe.machine.machine_id, threads=probe.threads, runtime=_runtime(probe))
        answer, predicted = _by_probe(probe), partial(of_probe, probe=probe)
    else:
        paper = read_paper(on_paper or Path())
        request = replace(request, runtime=runtime_memory.read(request.threads))
        answer, predicted = _by_paper(paper), partial(of_paper, device=paper)
    notes, points, modules = list(answer.notes), list[Prediction](), Modules()
    for artifact in artifacts:
        for job in jobs_of(artifact, request, notes):
            progress(f"counting {job.key.label}", None)
            try:
                point = predicted(job, modules.works(job))
            except UsageError as problem:
                raise problem.about(job.key.label) from None
            points.append(_with_room(point, answer.memory_bytes))
    if not points:
        raise UsageError("None of these models has a KV cache, so none can decode.", "Use --phase prefill.")
    return replace(answer, points=tuple(points), notes=tuple(dict.fromkeys([*notes, *_assumed(points)])))


def _assumed(points: Sequence[Prediction]) -> list[str]:
    """For which points the interval is no more than a guess."""
    kinds = dict.fromkeys(f"{one.precision.recipe} {one.load.phase}" for one in points if one.latency.assumed)
    return [f"Intervals are assumed for {joined(list(kinds))}: no error of such points was measured."] if kinds else []


# --- devices -------------------------------------------------------------------------------------------


def read_probe(file: Path) -> Probe:
    """The probe in a file.

    Raises:
        StorageError: it cannot be read.
        UsageError: it holds none, or one of a newer edgeprof.
    """
    next_step = "Use --on-paper for a device described in TOML." if file.suffix == ".toml" else MAKE_ONE
    return decode(
        store.read_bytes(file), Probe, str(file), UsageError, what="is not a probe of a device", next_step=next_step
    )


def read_paper(file: Path) -> PaperDevice:
    """The device that a TOML file describes.

    Raises:
        StorageError: it cannot be read.
        UsageError: it is not TOML, lacks a number, or has a key that no device has.
    """
    try:
        return msgspec.toml.decode(store.read_bytes(file), type=PaperDevice)
    except (msgspec.MsgspecError, ValueError) as problem:
        reason = str(problem).splitlines()[0].rstrip(".")
        next_step = "Use --device for the file of a probe." if file.suffix == ".json" else PAPER_KEYS
        raise UsageError(f"{file} does not describe a device: {reason}.", next_step) from problem


def _by_probe(probe: Probe) -> Predictions:
    here, there = (
        measure_machine.describe().versions["onnxruntime"],
        probe.machine.versions.get("onnxruntime", "unknown"),
    )
    other = f"The device has onnxruntime {there}; graphs are counted as {here} of this machine optimizes them."
    return Predictions(
        device=probe.machine.cpu or probe.machine.machine_id,
        basis="probe",
        provider=probe.provider,
        threads=probe.threads,
        memory_bytes=probe.machine.memory_limit_bytes or probe.machine.memory_bytes or None,
        points=(),
        notes=(*(f"When the device was probed: {note}" for note in probe.notes), *([other] if here != there else [])),
    )


def _by_paper(paper: PaperDevice) -> Predictions:
    memory_bytes = round(paper.memory_mb * 1e6) if paper.memory_mb else None
    return Predictions(device=paper.name, basis="on paper", memory_bytes=memory_bytes, points=())


def _require_seen(probe: Probe, file: Path, threads: int | None, ep: str) -> None:
    """Refuse what the probe did not see.

    Raises:
        UsageError: it is of another provider or number of threads, or an earlier edgeprof measured too little.
    """
    if ep != probe.provider:
        raise UsageError(f"{file} saw the provider {probe.provider}, not {ep}.", f"Use --ep {probe.provider}.")
    if threads not in (None, probe.threads):
        counted = units.counted(probe.threads, "thread")
        again = f"edgeprof probe --threads {threads} --out FILE"
        raise UsageError(f"{file} was measured with {counted}, not {threads}.", f"Run on the device: {again}")
    if probe.edition < EDITION:
        raise UsageError(f"{file} was measured by an earlier edgeprof, which saw less.", AGAIN)


# --- points --------------------------------------------------------------------------------------------


def of_probe(job: Job, works: Sequence[counting.NodeWork], probe: Probe) -> Prediction:
    """A point on a device that was probed.

    Raises:
        UsageError, RunError: as `predicted_latency`.
    """
    memory = job.facts.memory
    return Prediction(
        model=job.key.subject.model,
        precision=job.key.subject.precision,
        load=job.key.load,
        basis="probe",
        latency=predicted_latency(works, probe, precision=job.key.subject.precision.recipe, phase=job.key.load.phase),
        memory=memory,
        memory_low_bytes=round(memory.least_peak_bytes * (1 - MEMORY_ERROR)) if memory else None,
        memory_high_bytes=round(memory.peak_bytes * (1 + MEMORY_ERROR)) if memory else None,
    )


def of_paper(job: Job, works: Sequence[counting.NodeWork], device: PaperDevice) -> Prediction:
    """A point on a device that is only described; interpreter and runtime take what they take on this machine.

    Raises:
        UsageError: as `paper_latency`.
    """
    return Prediction(
        model=job.key.subject.model,
        precision=job.key.subject.precision,
        load=job.key.load,
        basis="on paper",
        latency=paper_latency(works, device),
        memory=job.facts.memory,
    )


def _runtime(probe: Probe) -> RuntimeMemory | None:
    """What a process takes there without a model: interpreter, runtime and a session of a few nodes."""
    empty = next((one for one in probe.memory if not one.precision), None)
    if empty is None:
        return None
    loaded_bytes = probe.imports_bytes + empty.loaded_bytes
    run_bytes = loaded_bytes + empty.run_bytes
    return RuntimeMemory(loaded_bytes=loaded_bytes, run_bytes=run_bytes, window_bytes=probe.window_bytes)


def _with_room(point: Prediction, memory_bytes: int | None) -> Prediction:
    """The point, and whether it fits the memory of the device."""
    if point.memory is None or memory_bytes is None:
        return point
    return replace(point, fits=point.memory.peak_bytes <= memory_bytes)
