"""`why`: measure two files in turn, and explain which is faster and why."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from edgeprof import store
from edgeprof.analysis import cached, laws
from edgeprof.analysis import why as analysis
from edgeprof.api.profile import profile
from edgeprof.api.runs import Run, cache_checks, load_run
from edgeprof.api.sizing import PhaseChoice
from edgeprof.api.targets import any_model, name_of, one_model, parts_of, renamed, split
from edgeprof.errors import RunError, UnknownName, UsageError
from edgeprof.families import family_of, traced_variant
from edgeprof.inputs.run_inputs import signature_of_artifact
from edgeprof.process import Progress, silent
from edgeprof.schema import Artifact, Point, Side, Why
from edgeprof.text import joined

LENGTHS = (16, 64, 128, 256, 512)
ROUNDS, RUNS, MIN_TIME_S, TIMEOUT_S = 3, 5, 0.5, 300.0


def why(
    a: str,
    b: str,
    *,
    seq: Sequence[int] = (),
    phase: PhaseChoice = "both",
    batch: Sequence[int] = (),
    dim: Mapping[str, int] | None = None,
    input: Mapping[str, Path] | None = None,
    threads: int | None = None,
    rounds: int = ROUNDS,
    ci: float = 0.03,
    max_time_s: float = 30.0,
    runs: int = RUNS,
    min_time_s: float = MIN_TIME_S,
    timeout_s: float = TIMEOUT_S,
    name: str | None = None,
    run: str | Path | None = None,
    models: Path = store.MODELS,
    out: Path = store.REPORTS,
    progress: Progress = silent,
) -> list[Why]:
    """Explain why B is or is not faster than A; both are measured in turn, each in its own process.

    >>> comparisons = why("bert-tiny:fp32", "bert-tiny:int8", seq=[16], rounds=1, max_time_s=0, runs=2, min_time_s=0)
    >>> [str(each.b) for each in comparisons], [len(each.verdicts) for each in comparisons]
    (['bert-tiny int8'], [1])

    Args:
        a, b: an exported name with a precision ("gpt2:int8"), an artifact folder, or an .onnx file.
        seq: token lengths; default a few that both models support.
        phase, batch, dim, input, threads, rounds, ci, max_time_s, runs, min_time_s, timeout_s: as `profile`.
        name: of the run; an existing run is resumed. Default: a name derived from A and B.
        run: use an existing run that has both, and measure nothing; A and B are names in it.
        models, out: folders to read artifacts from and to write the run into.
        progress: called with the current step.

    Returns:
        A comparison for each combination of provider, batch size and threads in which both were measured.

    Raises:
        UsageError: there is no such model, or its precision must be named; raised before anything is measured.
        UnknownName: there is no such run, or it has no such model.
        RunError: no length was measured for both.
    """
    if run is not None:
        loaded = load_run(run, out=out)
        first, second = (named_side(target, loaded) for target in (a, b))
        _require_two(first, second)
    else:
        artifacts = _artifacts(a, b, models)
        first, second = (Side(model=artifact.name, precision=artifact.precision) for artifact in artifacts)
        loaded = profile(
            list(map(_where, artifacts)),
            seq=seq or (() if dim or input else common_lengths(artifacts, phase)),
            batch=batch,
            phase=phase,
            dim=dim,
            input=input,
            threads=threads,
            rounds=rounds,
            ci=ci,
            max_time_s=max_time_s,
            runs=runs,
            min_time_s=min_time_s,
            timeout_s=timeout_s,
            ops=True,
            name=_name(first, second) if name is None else name,
            models=models,
            out=out,
            progress=progress,
        )
    compared = [
        each
        for machine, points in loaded.by_machine
        for each in analysis.why(first, second, points, loaded.operators, machine, loaded.kernels)
    ]
    if not compared:
        errors = [point.error for point in loaded.failed if side_of(point) in (first, second)]
        raise RunError(
            f"Run '{Path(loaded.folder).name}' has no length at which both were measured.",
            errors[-1] if errors else _no_common_length(loaded, first, second),
        )
    fitted = laws.laws(loaded.points).laws
    caches = cache_checks(loaded, fitted, loaded.points)
    return [replace(each, findings=(*each.findings, *_on_caches(each, caches))) for each in compared]


def _on_caches(compared: Why, caches: Sequence[cached.CacheCheck]) -> list[str]:
    """What decode over depth shows of the caches of A and of B."""
    setting = (compared.place, compared.batch)
    mine = [check for check in caches if (check.law.key.place, check.law.key.load.batch) == setting]
    sides = [Side(model=check.law.key.subject.model, precision=check.law.key.subject.precision) for check in mine]
    return [cached.sentence(check) for check, side in zip(mine, sides, strict=True) if side in (compared.a, compared.b)]


def side_of(point: Point) -> Side:
    return Side(model=point.subject.model, precision=point.subject.precision)


def _require_two(first: object, second: object) -> None:
    if first == second:
        raise UsageError("A and B are the same.", "Name two models, or two precisions of one: gpt2:fp32 gpt2:int8.")


# --- a new run -----------------------------------------------------------------------------------------


def _artifacts(a: str, b: str, models: Path) -> list[Artifact]:
    """The artifacts of A and B, under their names in one run."""
    pair = [parts_of(one_model(target, models))[0] for target in (a, b)]
    _require_two(*(artifact.location for artifact in pair))
    named = {artifact.location: artifact for artifact in renamed(any_model(list(map(_where, pair)), models))}
    return [named[artifact.location] for artifact in pair]


def _where(artifact: Artifact) -> str:
    """A target that names this artifact and no other precision of it."""
    alone = artifact.is_part or (artifact.weights.kind == "file" and not artifact.key)
    return artifact.location if alone else str(artifact.folder)


def _name(first: Side, second: Side) -> str:
    """The name of the run of two sides, the same each time, so that the run is resumed."""
    a, b = f"{first.model}-{first.precision}", f"{second.model}-{second.precision}"
    b = str(second.precision) if first.model == second.model else b
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"why-{a}-{b}")


def common_lengths(
    artifacts: Sequence[Artifact], phase: PhaseChoice, lengths: Sequence[int] = LENGTHS
) -> tuple[int, ...]:
    """A few lengths that both support; none where a file fixes its length."""
    variants = [variant for artifact in artifacts if (variant := traced_variant(artifact)) is not None]
    for variant in variants:
        only = family_of(variant).fixed_tokens(variant)
        if only is not None:
            return (only,)
    signatures = [signature_of_artifact(artifact, artifact.graph_for("prefill")) for artifact in artifacts]
    if not variants and not all(each.sized_by_length for each in signatures):
        return ()
    decoding = phase != "prefill" and not all(each.no_decode for each in signatures)
    limits = [*(artifact.max_tokens for artifact in artifacts), *(each.room for each in signatures)]
    most = min(filter(None, limits), default=lengths[-1] + decoding)
    return tuple(length for length in lengths if length + decoding <= most) or (most - decoding,)


def _no_common_length(run: Run, *sides: Side) -> str:
    """The lengths of each side, and how to get a common one."""
    measured = []
    for side in sides:
        points = [point for point in run.points if side_of(point) == side]
        lengths = dict.fromkeys(f"{point.load.length:,}" if point.load.length else "unknown" for point in points)
        measured.append(f"{side} at {joined([*lengths]) or 'none'}")
    return f"Tokens: {joined(measured)}. Use --seq with lengths that both support, or compare other files."


# --- an existing run -----------------------------------------------------------------------------------


def named_side(target: str, run: Run) -> Side:
    """The side that a target names in a run."""
    known = list(dict.fromkeys(map(side_of, run.points)))
    variant, precision = (name_of(Path(target)), "") if target.endswith(".onnx") else split(target)
    match = [side for side in known if side.model == variant and precision in ("", str(side.precision))]
    names = [f"{side.model}:{side.precision}" for side in match or known]
    if not match:
        raise UnknownName("model in this run", target, names)
    if len(match) > 1:
        raise UsageError(f"This run has {target} in several precisions.", f"Name one of them: {', '.join(names)}.")
    return match[0]
