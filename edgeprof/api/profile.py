"""`profile`: measure exported models, each point in fresh processes; each visit is saved as soon as it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import chain, count
from pathlib import Path

from msgspec.structs import replace

from edgeprof import store
from edgeprof.analysis import statistics
from edgeprof.api import baselines, fleet_run, placement, visits
from edgeprof.api.foreseen import foreseen
from edgeprof.api.option_ranges import require_positive, require_seconds
from edgeprof.api.points import ProfileRequest, jobs_of_all
from edgeprof.api.runs import Run, load_run, require_percentiles
from edgeprof.api.sizing import PhaseChoice
from edgeprof.api.targets import any_model, parts_of, renamed
from edgeprof.errors import RunError, UsageError
from edgeprof.fleet.opening import open_links
from edgeprof.measure import machine as measure_machine
from edgeprof.measure import surroundings
from edgeprof.measure.launch import generates, generation_job
from edgeprof.measure.limited_process import limited
from edgeprof.process import Progress, silent
from edgeprof.providers.resolve import resolve
from edgeprof.schema import CPU, Goal, MemoryLimit, StoppingRule, Target

NO_GENERATION = "None of these points can generate: that takes token ids, logits and a KV cache that grows, on the CPU."


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
    baseline: Sequence[str] = (),
    rounds: int = 3,
    ci: float = 0.03,
    max_time_s: float = 30.0,
    runs: int = 10,
    min_time_s: float = 1.0,
    timeout_s: float = 300.0,
    memory_limit_bytes: int | None = None,
    percentiles: Sequence[float] = (),
    dim: Mapping[str, int] | None = None,
    input: Mapping[str, Path] | None = None,
    memory: bool = False,
    ops: bool = False,
    sustain_s: float = 0.0,
    generate: int = 0,
    strict: bool = False,
    on: Sequence[str] = (),
    fleet: Path | None = None,
    insecure: bool = False,
    same_versions: bool = False,
    name: str | None = None,
    models: Path = store.MODELS,
    out: Path = store.REPORTS,
    progress: Progress = silent,
) -> Run:
    """Measure latency and memory of exported models over token lengths; resume the run of that name if it exists.

    >>> quick = {"rounds": 1, "max_time_s": 0, "runs": 2, "min_time_s": 0}
    >>> run = profile(["bert-tiny"], seq=[16, 64], precision=["fp32"], name="quick", **quick)
    >>> [(point.status, point.key.load.tokens) for point in run.points]
    [('ok', 16), ('ok', 64)]

    Args:
        targets: exported names, artifact folders, or .onnx files; default everything in `models`.
        seq: token lengths: processed at once in prefill, already in the KV cache in decode.
        batch: batch sizes; default 1, or the size that a file fixes.
        phase: "both" includes decode for models with a KV cache.
        precision: precisions to measure; default all that are exported.
        threads: of the runtime; default every core that this process may use.
        ep: execution providers, or kinds of devices: "gpu", "npu" (the best one that is ready).
        ep_library: name in `ep` -> shared library of a plugin provider.
        ep_option: options of the requested provider; "name.option" for one of several.
        require_placement: share of the MACs that a provider must run; a point with less fails.
        compile: providers compile ahead of time, and sessions load the result.
        baseline: other runtimes to measure beside onnxruntime, in turn with it: "torch", "torch-compile", "openvino",
            "llama.cpp=model.gguf".
        rounds: visits of each point at least, each in its own process.
        ci: a point is visited until the 95 % interval of its median is this share of it up and down,
        max_time_s: or until its visits have taken so many seconds; 0: `rounds` visits, and no more.
        runs, min_time_s: a visit ends after at least this many runs and seconds.
        timeout_s: a visit is stopped after this many seconds.
        percentiles: of the latencies to give, in percent; each where the runs are enough to tell it.
        memory_limit_bytes: what a measuring process may take; a point that needs more ends as "out of memory".
        dim: sizes of axes of a user's file, by symbol or by "<input>.<axis>".
        input: input name -> file (.npy, .npz, .pb) to use in place of generated values.
        ops: afterwards, time the operators of every point, by module, and a matrix product in fp32 and int8.
        memory: afterwards, take the memory of every point apart by trials: arena off, repacking of weights off.
        sustain_s: afterwards, run every point for so many seconds without a pause: heat and clocks show.
        generate: afterwards, generate so many tokens greedily after a prompt of every length of decode; CPU only.
        strict: refuse to begin on a machine that is not quiet.
        on: devices somewhere else, by their names in the inventory, "local" for this machine, "all", or
            ssh://user@host: measured at the same time, in one run.
        fleet: the inventory; default ./fleet.toml, or that of the user.
        insecure: agents may be asked without TLS.
        same_versions: refuse devices that differ in onnxruntime or edgeprof.
        name: of the run; an existing run is resumed.
        models, out: folders to read artifacts from and to write the run into.
        progress: called with the current step.

    Returns:
        The run, failed points included.

    Raises:
        UsageError: the request is invalid; raised before anything is measured.
        RunError: the run of that name belongs to another machine; or a machine is not quiet, and `strict`.
        DeviceLost: a device does not answer; raised before anything is measured.
    """
    for option, values in {
        "--rounds": [rounds],
        "--runs": [runs],
        "--seq": seq,
        "--batch": batch,
        "--threads": [threads or 1],
    }.items():
        require_positive(option, values)
    require_seconds("--min-time", min_time_s, 0)
    require_seconds("--timeout", timeout_s, 1)
    require_seconds("--max-time", max_time_s, 0)
    require_seconds("--sustain", sustain_s, 0)
    require_percentiles(percentiles)
    if generate:
        require_positive("--generate", [generate])
    if on:
        afterwards = {"--memory": memory, "--ops": ops, "--sustain": sustain_s, "--generate": generate}
        _require_here({**afterwards, "--baseline": baseline, "--ep-library": ep_library})
    elif same_versions:
        raise UsageError("--same-versions is about several devices.", "Name them with --on, or omit it.")
    goal = Goal(rounds=rounds, ci=ci, max_time_s=max_time_s)
    folder = store.run_folder(out, _new_name(out) if name is None else name)
    machine = measure_machine.describe()
    request = ProfileRequest(
        seq=tuple(sorted(set(seq))),
        batch=tuple(sorted(set(batch))),
        phase=phase,
        machine_id=machine.machine_id,
        threads=threads or machine.cores_allowed,
        targets=(CPU,) if on else (*resolve(ep, ep_library, ep_option), *baselines.targets(baseline)),
        compile=compile,
        stopping=StoppingRule(min_runs=runs, min_time_s=min_time_s, max_time_s=max(60.0, min_time_s)),
        timeout_s=timeout_s,
        dims=dict(dim or {}),
        files=dict(input or {}),
        generate=generate,
    )
    if memory_limit_bytes is not None:
        if on and tuple(ep) != ("cpu",):
            raise UsageError("--memory-limit holds for the CPU provider.", "Omit --memory-limit, or --ep.")
        request = replace(request, memory_limit=_limit(memory_limit_bytes, request.targets))
    only_cpu = all(target.is_cpu or target.is_baseline for target in request.targets)
    if compile and (tuple(ep) == ("cpu",) if on else only_cpu):
        raise UsageError("The CPU provider does not compile ahead of time.", "Omit --compile, or name an --ep.")
    with contextlib.ExitStack() as stack:
        links = stack.enter_context(open_links(on, fleet=fleet, insecure=insecure)) if on else []
        artifacts = [part for artifact in renamed(any_model(targets, models, precision)) for part in parts_of(artifact)]
        notes = refusals = baselines.refusals(artifacts, request.targets)
        jobs = jobs_of_all(artifacts, request, notes, progress)
        if on:
            notes += fleet_run.measure_on(
                links,
                jobs,
                folder=folder,
                goal=goal,
                ep=ep,
                ep_option=ep_option or {},
                threads=threads,
                least_share=require_placement,
                precisions=precision,
                same_versions=same_versions,
                strict=strict,
                progress=progress,
            )
            return replace(load_run(folder, percentiles=percentiles), notes=tuple(notes))
    baselines.require_some(jobs, request.targets, refusals)
    placement.require_some([job for job in jobs if not job.target.is_baseline], precision)
    generating = [generation_job(job, generate) for job in jobs if generates(job)] if generate else []
    if generate and not generating:
        raise UsageError(NO_GENERATION, "Omit --generate, or name a decoder and --phase decode or both.")
    preparation = visits.Preparation(require_placement, progress)
    if goal.max_time_s or strict:
        with preparation.turn.take("looks whether it is quiet"):
            spoils = surroundings.look(request.threads, progress)
        if spoils and strict:
            raise RunError(spoils, "Stop what runs beside it, or omit --strict.")
        notes += [f"{spoils} Expect noisy times."] if spoils else []
    jobs = foreseen(jobs, folder, progress)
    ours = [job for job in jobs if not job.target.is_baseline]
    with store.run_in_progress(folder, machine) as recorded:
        done = [record for record in recorded if visits.placement_suffices(record, require_placement)]
        try:
            append = partial(store.append_measurement, folder)
            visits.visit_points(jobs, goal, done, preparation, append, progress)
            if memory:
                visits.try_memory(ours, preparation, folder, progress)
            if ops:
                visits.profile_operators(ours, preparation, folder, progress)
            if generating:
                visits.generate_tokens(generating, preparation, folder, progress)
            if sustain_s:
                visits.sustain(ours, sustain_s, preparation, folder, progress)
        finally:
            if (folder / store.MEASUREMENTS_FILE).exists():
                store.save_table(folder, statistics.points(store.load_measurements(folder)))
    notes = [*notes, *preparation.turn.notes]
    return replace(load_run(folder, percentiles=percentiles), notes=tuple(notes))


def _require_here(options: Mapping[str, object]) -> None:
    """Refuse options that work on this machine only.

    Raises:
        UsageError: one of them was given.
    """
    for option, value in options.items():
        if value:
            raise UsageError(f"{option} does not work with --on.", f"Omit {option}, or run it on the device itself.")


def _limit(count_bytes: int, targets: Sequence[Target]) -> MemoryLimit:
    """The limit that measuring processes run under.

    Raises:
        UsageError: a provider computes elsewhere, where it does not hold; the system has no limits; it is too low.
    """
    elsewhere = [target.provider for target in targets if not target.is_cpu]
    if elsewhere:
        raise UsageError(
            f"--memory-limit holds for the CPU provider; {elsewhere[0]} may use memory that it does not count.",
            "Omit --memory-limit, or --ep and --baseline.",
        )
    return limited(count_bytes)


def _new_name(out: Path) -> str:
    now = datetime.now().strftime("%Y-%m-%d-%H%M%S")
    names = chain([now], (f"{now}-{number}" for number in count(2)))
    return next(name for name in names if not (out / name).exists())
