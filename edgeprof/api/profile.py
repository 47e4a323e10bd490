"""`profile`: run what was exported, every point in fresh processes, every visit on disk the moment it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain, count, product
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from edgeprof import counting, store
from edgeprof.analysis import statistics
from edgeprof.api import placement
from edgeprof.api.runs import Run, load_run
from edgeprof.api.sizing import PhaseChoice, case_for, require_no_sizing
from edgeprof.api.targets import any_model, renamed
from edgeprof.api.trial_inputs import ChosenFills, working_fills
from edgeprof.errors import RunError, UsageError
from edgeprof.families import family_of
from edgeprof.inputs import LoadRequest, Signature, signature
from edgeprof.inputs.run_inputs import Inputs, load_of, of_file, of_variant, signature_of_graph
from edgeprof.measure import machine as measure_machine
from edgeprof.measure import matmul_speed
from edgeprof.measure.launch import measure, measure_operators, operator_job
from edgeprof.measure.schedule import Job, Prepared, Visit, disturbed, place_of, plan, plan_operators
from edgeprof.process import Progress, silent
from edgeprof.providers.ort_errors import require_no_library
from edgeprof.providers.resolve import resolve
from edgeprof.schema import (
    Artifact,
    Case,
    Facts,
    FileState,
    Graph,
    Load,
    Measurement,
    Phase,
    PointKey,
    Record,
    StoppingRule,
    Target,
)

if TYPE_CHECKING:
    from onnx import ModelProto


LONGEST_S = 1_000_000  # which is eleven days
MOST = 10**9


class Ask(Record, frozen=True, kw_only=True):
    """What is the same for all models of one run."""

    seq: tuple[int, ...]
    batch: tuple[int, ...]
    phase: PhaseChoice
    machine_id: str
    threads: int
    targets: tuple[Target, ...]
    compile: bool
    stopping: StoppingRule
    timeout_s: float
    dims: dict[str, int]
    files: dict[str, Path]


def profile(
    targets: Sequence[str] = (),
    *,
    seq: Sequence[int] = (),
    batch: Sequence[int] = (),
    phase: PhaseChoice = "both",
    precision: Sequence[str] = (),
    threads: int | None = None,
    ep: Sequence[str] = ("cpu",),
    ep_library: Mapping[str, Path] | None = None,
    ep_option: Mapping[str, str] | None = None,
    require_placement: float = 0.0,
    compile: bool = False,
    rounds: int = 3,
    runs: int = 10,
    min_time_s: float = 1.0,
    timeout_s: float = 300.0,
    dim: Mapping[str, int] | None = None,
    input: Mapping[str, Path] | None = None,
    ops: bool = False,
    name: str | None = None,
    models: Path = store.MODELS,
    out: Path = store.REPORTS,
    progress: Progress = silent,
) -> Run:
    """Measure latency and memory of exported models over token lengths; resume the run of that name if there is one.

    >>> run = profile(["bert-tiny"], seq=[16, 64], precision=["fp32"], rounds=1, runs=2, min_time_s=0, name="quick")
    >>> [(point.status, point.key.load.tokens) for point in run.points]
    [('ok', 16), ('ok', 64)]

    Args:
        targets: exported names, artifact folders, or .onnx files; none means everything in `models`.
        seq: token lengths: processed at once in prefill, already in the KV cache in decode.
        batch: batch sizes; none means 1, or what a file fixes.
        phase: "both" decodes where there is a KV cache.
        precision: which of the exported precisions; none means all.
        threads: of the runtime; None means every core that this process may use.
        ep: execution providers, or kinds of devices: "gpu", "npu" (the best one that is ready).
        ep_library: shared libraries of plugin providers, by the name that `ep` gives them.
        ep_option: options of the provider asked for; "name.option" where there are several.
        require_placement: share of the MACs that a provider has to run; a point with less fails.
        compile: providers compile beforehand what they compile at load, and sessions load that.
        rounds: processes in which each point is visited.
        runs, min_time_s: both have to be reached before a visit ends.
        timeout_s: after so many seconds a visit is given up.
        dim: sizes of axes of a file from elsewhere, by symbol or by "<input>.<axis>".
        input: files (.npy, .npz, .pb) to feed in place of made-up values, by input name.
        ops: afterwards, profile the operators of every point, and a matrix product in fp32 and int8 for comparison.
        name: of the run; a run that exists is taken up where it was left.
        models, out: folders to read artifacts from and to write the run into.
        progress: called with what is being done.

    Returns:
        The run, with the points that failed among the others.

    Raises:
        UsageError: the request cannot be met; raised before anything is measured.
        RunError: a run of that name was made on another machine.
    """
    for option, given in {
        "--rounds": [rounds],
        "--runs": [runs],
        "--seq": seq,
        "--batch": batch,
        "--threads": [threads or 1],
    }.items():
        _require_positive(option, given)
    _require_seconds("--min-time", min_time_s, 0)
    _require_seconds("--timeout", timeout_s, 1)
    folder = store.run_folder(out, _new_name(out) if name is None else name)
    machine = measure_machine.describe()
    ask = Ask(
        seq=tuple(sorted(set(seq))),
        batch=tuple(sorted(set(batch))),
        phase=phase,
        machine_id=machine.machine_id,
        threads=threads or machine.cores_allowed,
        targets=tuple(resolve(ep, ep_library, ep_option)),
        compile=compile,
        stopping=StoppingRule(min_runs=runs, min_time_s=min_time_s, max_time_s=max(60.0, min_time_s)),
        timeout_s=timeout_s,
        dims=dict(dim or {}),
        files=dict(input or {}),
    )
    if compile and all(target.is_cpu for target in ask.targets):
        raise UsageError("The CPU provider compiles nothing beforehand.", "Leave out --compile, or name an --ep.")
    artifacts = renamed(any_model(targets, models, precision))
    jobs: list[Job] = []
    notes: list[str] = []
    for artifact in artifacts:
        progress(f"counting: {artifact.name} {artifact.precision}", None)
        try:
            jobs += _jobs(artifact, ask, notes)
        except UsageError as problem:
            raise problem.about(artifact.name) if len(artifacts) > 1 else problem  # noqa: B904  (it is the same one)
    if not jobs:
        raise UsageError("None of these models has a KV cache to fill, so none can decode.", "Ask for --phase prefill.")
    placement.require_some(jobs, precision)
    places = _Places(require_placement, progress)
    with store.run_in_progress(folder, machine) as recorded:
        done = [record for record in recorded if _enough(record, require_placement)]
        try:
            _make(plan(jobs, rounds, done), rounds, places, folder, progress)
            if ops:
                _profile_operators(jobs, places, folder, progress)
        finally:
            if (folder / store.MEASUREMENTS_FILE).exists():
                store.save_table(folder, statistics.points(store.load_measurements(folder)))
    return replace(load_run(folder), notes=tuple(notes))


def _make(visits: Sequence[Visit], rounds: int, places: _Places, folder: Path, progress: Progress) -> None:
    """Make visits, each on disk the moment it is over; those that other work disturbed once more, at the end."""
    again: list[Visit] = []
    for index, planned in enumerate(visits):
        visit = places.prepared(planned, index / len(visits))
        progress(f"round {visit.round + 1}/{rounds}: {visit.job.key.label}", index / len(visits))
        record = measure(visit)
        store.append_measurement(folder, record)
        if disturbed(record):
            again.append(visit)
    for index, visit in enumerate(again):  # the newer record of a visit is the one that counts
        progress(f"disturbed by other work, again: {visit.job.key.label}", index / len(again))
        store.append_measurement(folder, measure(visit))


def _enough(record: Measurement, least_share: float) -> bool:
    """Whether what was once measured still counts where a share is required."""
    share = record.receipt.share
    return share is None or share >= least_share or record.outcome.status == "unsupported"


class _Places:
    """What becomes of points on other providers, determined once for each, when it is first visited."""

    def __init__(self, least_share: float, progress: Progress) -> None:
        self.least_share, self.progress = least_share, progress
        self.known: dict[PointKey, Prepared | None] = {}

    def prepared(self, visit: Visit, done: float) -> Visit:
        """The visit with what its provider is given; `done` is the share of all visits that are over."""
        return replace(visit, job=self.of(visit.job, done))

    def of(self, job: Job, done: float) -> Job:
        if job.key not in self.known:
            if not job.target.is_cpu:
                self.progress(f"placing {job.key.label}", done)
            self.known[job.key] = placement.prepared(job, self.least_share).prepared
        return replace(job, prepared=self.known[job.key])


def _profile_operators(jobs: Sequence[Job], places: _Places, folder: Path, progress: Progress) -> None:
    """One pass for each point that has none, apart from all timed visits."""
    passes = plan_operators(list(map(operator_job, jobs)), store.load_operators(folder))
    for index, job in enumerate(passes):
        progress(f"operators of {job.key.label}", index / len(passes))
        store.append_operators(folder, measure_operators(places.of(job, index / len(passes))))
    place = jobs[0].key.place
    products = matmul_speed.to_measure(place.threads, store.load_kernels(folder))
    for index, record in enumerate(matmul_speed.measure_kernels(products, place.threads, place.machine_id), 1):
        progress("a matrix product in fp32 and in int8", index / len(products))
        store.append_kernel(folder, record)


def _new_name(out: Path) -> str:
    now = datetime.now().strftime("%Y-%m-%d-%H%M%S")
    names = chain([now], (f"{now}-{number}" for number in count(2)))
    return next(name for name in names if not (out / name).exists())


def _require_positive(option: str, given: Sequence[int]) -> None:
    for value in given:
        if not 1 <= value <= MOST:
            raise UsageError(f"{option} has to be 1 to {MOST:,}.", f"Example: {option} 3")


def _require_seconds(option: str, value: float, least: float) -> None:
    if not least <= value <= LONGEST_S:  # neither is what is not a number
        raise UsageError(f"{option} takes {least:g} to {LONGEST_S:,} seconds, not {value:g}.", f"Example: {option} 60")


# --- points --------------------------------------------------------------------------------------------


def _jobs(artifact: Artifact, ask: Ask, notes: list[str]) -> list[Job]:
    """The points of one model; a phase that it cannot run, if it can run others, becomes a note."""
    jobs = [
        job
        for graph, phase in _by_graph(artifact, ask.phase)
        for job in _jobs_of_graph(artifact, graph, replace(ask, phase=phase), notes)
    ]
    files = _files(artifact, ask)
    return [replace(job, files=files) for job in jobs]


def _by_graph(artifact: Artifact, phase: PhaseChoice) -> list[tuple[Graph, PhaseChoice]]:
    """The graphs that run in the requested phases, each with its phases."""
    if phase != "both":
        return [(artifact.graph_for(phase), phase)]
    prefill, decode = artifact.graph_for("prefill"), artifact.graph_for("decode")
    return [(prefill, "both")] if prefill is decode else [(prefill, "prefill"), (decode, "decode")]


def _jobs_of_graph(artifact: Artifact, source: Graph, ask: Ask, notes: list[str]) -> list[Job]:
    graph = counting.read(Path(source.path))
    if all(target.is_cpu for target in ask.targets):  # before anything is asked about inputs
        require_no_library(graph, source.path)
    taken = signature(source.inputs) if artifact.variant else signature_of_graph(graph)
    phases, note = _phases(artifact, taken, ask.phase)
    notes += [note] if note else []
    jobs: dict[tuple[str, Load], Job] = {}
    trial: ChosenFills | None = None
    for phase, length, batch in product(phases, ask.seq or (None,), ask.batch or (None,)):
        inputs = _inputs(artifact, taken, LoadRequest(phase=phase, batch=batch, length=length), ask)
        if artifact.variant is None:
            trial = trial or working_fills(artifact.name, source.path, taken, inputs, ask.timeout_s)
            inputs = inputs.refilled(taken, trial.fills)
        load, facts = _counted(artifact, graph, inputs)
        if artifact.variant is None:
            facts = replace(facts, seq=length, dims=ask.dims, fills=inputs.fills)
        for target in ask.targets:  # two lengths may mean the same image
            jobs.setdefault((target.provider, load), _job(artifact, source, load, facts, inputs, target, ask))
    notes += [trial.note] if trial and trial.note else []
    return list(jobs.values())


def _phases(artifact: Artifact, taken: Signature, wanted: PhaseChoice) -> tuple[list[Phase], str]:
    """The phases that a model has of those asked for; and why one of them is missing that it might have had.

    Raises:
        UsageError: it is one step of decode, and prefill alone is asked for.
    """
    if taken.no_decode:
        return (["prefill"] if wanted != "decode" else []), ""
    if not taken.no_prefill:
        return ["prefill", "decode"] if wanted == "both" else [wanted], ""
    why = f"{artifact.name} {taken.no_prefill}."
    if wanted == "prefill":
        raise UsageError(why, "Ask for --phase decode.")
    return ["decode"], f"{why} So there is no prefill." if wanted == "both" else ""


def _inputs(artifact: Artifact, taken: Signature, load: LoadRequest, ask: Ask) -> Inputs:
    """What a model is given at a load, if it can be run there."""
    variant = artifact.variant
    if variant is None:
        return of_file(taken, load, dims=ask.dims, given=ask.files)
    if load.length is None:
        raise UsageError("No token length is given.", "Add --seq 512, or --seq 16,64,256.")
    require_no_sizing(artifact.name, ask.dims, ask.files)
    return of_variant(taken, variant, case_for(artifact.name, variant, load.phase, load.batch or 1, load.length))


def _files(artifact: Artifact, ask: Ask) -> tuple[FileState, ...]:
    """The files that are measured, as they are now.

    Raises:
        RunError: the model is not the one that its record describes, so that its measurements would not be of it.
    """
    files = tuple(map(store.state_of, (*artifact.files, *ask.files.values())))
    data = list(map(Path, artifact.data_files))
    digests = [("graph", [Path(graph.path)], graph.sha256) for graph in artifact.graphs]
    for kind, paths, digest in (*digests, ("weights", data, artifact.data_sha256)):
        if paths and store.sha256_of_all(paths) != digest:
            what = f"{artifact.location} was changed after it was made: its {kind} have another digest than its record."
            raise RunError(what, "Make it again with --force.")
    store.require_unchanged(files)
    return files


def _counted(artifact: Artifact, graph: ModelProto, inputs: Inputs) -> tuple[Load, Facts]:
    """The load that inputs make, and what is counted of a run there."""
    counted = counting.count(graph, inputs.sizes.shapes, inputs.flags)
    load = load_of(inputs.sizes, counted.attended)
    variant, family = artifact.variant, ""
    macs = None if counted.uncounted or counted.problems else counted.macs
    if variant is not None:
        case = Case(batch=load.batch, tokens=load.tokens or 0, past_tokens=load.past_tokens)
        family, macs = variant.family, family_of(variant).macs(variant, case, artifact.logits)
    predicted = None if counted.unsized else counted.working_bytes
    return load, Facts(family=family, params=artifact.params, macs=macs, memory_predicted_bytes=predicted)


def _job(artifact: Artifact, graph: Graph, load: Load, facts: Facts, inputs: Inputs, target: Target, ask: Ask) -> Job:
    """A point on a provider; what is predicted of memory holds for the CPU provider alone."""
    return Job(
        key=PointKey(subject=artifact.subject, load=load, place=place_of(target, ask.machine_id, ask.threads)),
        facts=facts if target.is_cpu else replace(facts, memory_predicted_bytes=None, ep_options=target.ep_options),
        graph=graph,
        data_sha256=artifact.data_sha256,
        target=target,
        inputs=inputs.values,
        stopping=ask.stopping,
        timeout_s=ask.timeout_s,
        compile=ask.compile,
    )
