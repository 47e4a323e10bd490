"""`buckets`: choose the static lengths that waste the least for requests of many lengths, and export their graphs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from edgeprof import counting, store, units
from edgeprof.analysis import buckets as analysis
from edgeprof.api.runs import Run, load_run
from edgeprof.api.sizing import inputs_of
from edgeprof.api.static_export import Shapes, fix, fused
from edgeprof.api.targets import one_model
from edgeprof.errors import RunError, UsageError
from edgeprof.families import family_of, traced_variant
from edgeprof.inputs import LoadRequest
from edgeprof.inputs.run_inputs import signature_of_artifact, signature_of_graph
from edgeprof.process import Progress, silent
from edgeprof.schema import Artifact, Buckets, Phase, Point, Record

MAX_COUNTED = 17
"""Lengths at which a user's file is counted, at most; between them MACs are almost linear."""

MAX_SUGGESTED = 6
"""Lengths in a suggested `profile` command, at most."""


class _Costs(Record, frozen=True, kw_only=True):
    """The cost of a run at some lengths, which cover the requests up to the longest."""

    unit: str
    by_length: dict[int, float]
    basis: str
    notes: tuple[str, ...] = ()


def choose_buckets(
    target: str,
    lengths: Sequence[int],
    *,
    count: int = 4,
    phase: Phase = "prefill",
    batch: int = 1,
    ep: str | None = None,
    run: str | Path | None = None,
    export: bool = True,
    models: Path = store.MODELS,
    out: Path = store.REPORTS,
    progress: Progress = silent,
) -> Buckets:
    """Choose the static lengths with the lowest total cost of the requests, and write their graphs.

    >>> chosen = choose_buckets("bert-tiny:int8", [12, 48, 48, 60], count=2, export=False)
    >>> [(bucket.length, bucket.requests) for bucket in chosen.buckets]
    [(12, 1), (60, 3)]

    Args:
        target: "gpt2:int8", the folder of one precision, or an .onnx file.
        lengths: of the requests, in tokens, one for each request; in decode, tokens in the cache.
        count: maximum number of static lengths.
        phase, batch: of the runs.
        ep: the provider whose latencies count, where a run has several.
        run: with measured latencies; default the newest with this model, or MACs where there is none.
        export: write the static graphs beside the model, as `export --static` does.
        models, out: folders of artifacts and runs.
        progress: called with the current step.

    Raises:
        UsageError: the model does not support these lengths, or the run does not cover them.
        UnknownName: there is no such model or run.
    """
    if not lengths or min(lengths) < 1 or count < 1 or batch < 1:
        raise UsageError("Lengths, --count and the batch size must be at least 1.", "Example: --lengths 16,64")
    artifact = one_model(target, models)
    _require_lengths(artifact, max(lengths), phase, batch)
    requests = Counter(lengths)
    costs = _measured(artifact, requests, phase, batch, ep, run, out) or _counted(artifact, requests, phase, batch)
    at = {length: analysis.interpolated(costs.by_length, length) for length in requests}
    chosen = analysis.choose(requests, at, count)
    result = Buckets(
        variant=artifact.name,
        precision=str(artifact.precision),
        phase=phase,
        batch=batch,
        unit="s" if costs.unit == "s" else "MACs",
        basis=costs.basis,
        requests=len(lengths),
        buckets=chosen,
        mean_cost=sum(bucket.requests * bucket.cost for bucket in chosen) / len(lengths),
        mean_cost_own=sum(number * at[length] for length, number in requests.items()) / len(lengths),
        mean_cost_single=at[max(lengths)],
        notes=costs.notes,
    )
    return _exported(artifact, result, progress) if export else result


def _require_lengths(artifact: Artifact, longest: int, phase: Phase, batch: int) -> None:
    signature = signature_of_artifact(artifact, artifact.graph_for(phase))
    if not signature.sized_by_length:
        raise UsageError(f"{artifact.name} has no variable token length.", "Use a text model.")
    if phase == "decode" and signature.no_decode:
        raise UsageError(f"{artifact.name} {signature.no_decode}, so it cannot decode.", "Use --phase prefill.")
    if artifact.exported:
        inputs_of(artifact, signature, LoadRequest(phase=phase, batch=batch, length=longest), dims={}, files={})


def _exported(artifact: Artifact, result: Buckets, progress: Progress) -> Buckets:
    if not artifact.exported:
        note = "Static graphs are written only for models that edgeprof exported."
        return msgspec.structs.replace(result, notes=(*result.notes, note))
    if artifact.is_part:
        note = f"{artifact.name} is one graph of several: static graphs are written for a whole model."
        return msgspec.structs.replace(result, notes=(*result.notes, note))
    if problem := fused(artifact):
        return msgspec.structs.replace(result, notes=(*result.notes, str(problem)))
    shapes = Shapes(seq=tuple(bucket.length for bucket in result.buckets), batch=(result.batch,), phase=result.phase)
    cases = shapes.cases(artifact)
    exported = fix(artifact, cases, False, progress)
    return msgspec.structs.replace(result, static=tuple(graph for graph in exported.static if graph.case in cases))


# --- measured ------------------------------------------------------------------------------------------


def _measured(
    artifact: Artifact,
    requests: Counter[int],
    phase: Phase,
    batch: int,
    ep: str | None,
    run: str | Path | None,
    out: Path,
) -> _Costs | None:
    """Latencies of the named run, or of the newest one with this model; None where there is no such run.

    Raises:
        RunError: the run does not have the model at two lengths on the requested provider.
    """
    runs = [load_run(run, out=out)] if run is not None else [one for one in _runs(out) if len(one.hosts) < 2]
    emulated = ""
    for each in runs:
        points = [point for point in _points(each, artifact, phase, batch) if ep in (None, point.place.provider)]
        real = [point for point in points if not point.place.emulated]
        emulated = emulated or (points[0].place.provider if points and not real else "")
        if len({point.load.length for point in real}) > 1:
            return _latencies(artifact, each, real, requests)
    requested = f"{artifact.name} {artifact.precision}{f' on {ep}' if ep else ''} in {phase} at batch {batch}"
    if run is not None or ep is not None:
        why = " but by an emulator, whose times are not meaningful" if emulated else ""
        where = f"Run '{Path(runs[0].folder).name}' has" if run is not None else f"No run in {out} has"
        raise RunError(
            f"{where} {'no ' if run is not None else ''}latencies of {requested} at two lengths or more{why}.",
            f"Run: {_profiling(artifact, requests)}",
        )
    return None


def _runs(out: Path) -> list[Run]:
    """All runs that can be read, newest first."""
    runs = []
    for name in reversed(store.run_names(out) if out.is_dir() else []):
        try:
            runs.append(load_run(name, out=out))
        except RunError:
            continue
    return runs


def _points(run: Run, artifact: Artifact, phase: Phase, batch: int) -> list[Point]:
    names = (artifact.name, artifact.only(artifact.graph_for(phase).role).name)  # of several graphs, as measured alone
    return [
        point
        for point in run.points
        if point.latency is not None
        and not point.place.is_baseline
        and point.subject.model in names
        and point.subject.precision == artifact.precision
        and (point.load.phase, point.load.batch) == (phase, batch)
    ]


def _latencies(artifact: Artifact, run: Run, points: Sequence[Point], requests: Counter[int]) -> _Costs:
    name, providers = Path(run.folder).name, sorted({point.place.provider for point in points})
    if len(providers) > 1:
        raise UsageError(f"Run '{name}' has {artifact.name} on {', '.join(providers)}.", f"Choose: --ep {providers[0]}")
    if len(hosts := sorted({point.place.host for point in points})) > 1:
        raise UsageError(
            f"Run '{name}' has {artifact.name} on {', '.join(hosts)}.",
            f"Measure one of them: {_profiling(artifact, requests)} --on {hosts[0]}",
        )
    threads = max(point.place.threads for point in points)
    chosen = {point.load.length: point for point in points if point.place.threads == threads}
    if max(chosen) < max(requests):
        raise UsageError(
            f"Run '{name}' covers up to {units.counted(max(chosen), 'token')}; requests have up to {max(requests):,}.",
            f"Run: {_profiling(artifact, requests)} --name {name}",
        )
    receipts = [point.receipt for point in chosen.values()]
    remarks = dict.fromkeys(
        text for receipt in receipts for text in (receipt.share_text, receipt.difference_text) if text
    )
    notes = [f"On {providers[0]}: {text}." for text in remarks]
    if min(requests) < min(chosen):
        notes.append(
            f"No run below {units.counted(min(chosen), 'token')} was measured: "
            "shorter requests are assumed to take as long."
        )
    at = ", ".join(f"{length:,}" for length in sorted(chosen))
    where = f"{providers[0]}, {units.counted(threads, 'thread')}"
    return _Costs(
        unit="s",
        by_length={length: point.latency.median_s for length, point in chosen.items() if point.latency},
        basis=f"Latencies of run '{name}' on {where}, interpolated between {at} tokens.",
        notes=tuple(notes),
    )


def _profiling(artifact: Artifact, requests: Counter[int]) -> str:
    """The command that measures the longest length, half of it, and so on down to the shortest."""
    steps = [max(requests)]
    while steps[-1] > min(requests) and len(steps) < MAX_SUGGESTED:
        steps.append(-(-steps[-1] // 2))
    lengths = ",".join(map(str, reversed(steps)))
    return f"edgeprof profile {artifact.name} --precision {artifact.precision} --seq {lengths}"


# --- counted -------------------------------------------------------------------------------------------


def _counted(artifact: Artifact, requests: Counter[int], phase: Phase, batch: int) -> _Costs:
    lengths = sorted(requests)
    variant = traced_variant(artifact)
    if variant is not None:
        family = family_of(variant)
        macs = {
            length: float(family.macs(variant, family.case(variant, phase, batch, length), artifact.logits))
            for length in lengths
        }
    else:
        model = counting.read(Path(artifact.graph_for(phase).path))
        signature = signature_of_graph(model)
        steps = lengths if len(lengths) <= MAX_COUNTED else lengths[:: -(-len(lengths) // MAX_COUNTED)] + lengths[-1:]
        macs = {}
        for length in steps:
            load = LoadRequest(phase=phase, batch=batch, length=length)
            inputs = inputs_of(artifact, signature, load, dims={}, files={})
            counted = counting.count(model, inputs.sizes.shapes, inputs.flags)
            if counted.uncounted:
                names = ", ".join(missing.operator for missing in counted.uncounted)
                raise UsageError(
                    f"{names} of {artifact.name} cannot be counted.", "Profile the model to choose by latency."
                )
            macs[length] = float(counted.macs)
    return _Costs(
        unit="MACs",
        by_length=macs,
        basis="No run has latencies of this model: lengths are chosen by MACs, which only approximate time.",
        notes=(f"To choose by latency, run: {_profiling(artifact, requests)}",),
    )
