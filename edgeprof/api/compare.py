"""`compare`: two models, one model in two environments, or two recorded runs, with the interval of each ratio."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from edgeprof import report, store
from edgeprof.api.compare_measured import artifacts, measured, sides_of
from edgeprof.api.compare_recorded import of_one_run, of_runs
from edgeprof.api.option_ranges import require_positive, require_seconds
from edgeprof.api.points import ProfileRequest
from edgeprof.api.runs import load_run
from edgeprof.api.sizing import PhaseChoice
from edgeprof.api.why import common_lengths
from edgeprof.errors import UsageError
from edgeprof.process import Progress, silent
from edgeprof.schema import CPU, Comparison, Goal, StoppingRule

LENGTHS = (16, 128, 512)
ROUNDS, MAX_TIME_S = 8, 60.0


def compare(
    a: str,
    b: str | None = None,
    *,
    python: Path | None = None,
    seq: Sequence[int] = (),
    phase: PhaseChoice = "both",
    batch: Sequence[int] = (),
    dim: Mapping[str, int] | None = None,
    input: Mapping[str, Path] | None = None,
    threads: int | None = None,
    rounds: int = ROUNDS,
    ci: float = 0.03,
    max_time_s: float = MAX_TIME_S,
    runs: int = 5,
    min_time_s: float = 0.5,
    timeout_s: float = 300.0,
    across_machines: bool = False,
    run: str | Path | None = None,
    name: str | None = None,
    models: Path = store.MODELS,
    out: Path = store.REPORTS,
    progress: Progress = silent,
) -> Comparison:
    """Compare B with A: the ratio of their times at every common point, and whether it differs from 1.

    Every round is a process in which both are loaded and run in turn, some runs each, for some seconds; the ratio and
    its interval come from these rounds (`edgeprof.analysis.compare`). In two environments, and where both do not fit
    into memory, a round is a process of each. Recorded runs are compared as they are.

    >>> quick = {"seq": [16], "rounds": 2, "max_time_s": 0, "runs": 2, "min_time_s": 0}
    >>> comparison = compare("bert-tiny:fp32", "bert-tiny:int8", **quick)
    >>> [(point.label, point.b_rounds) for point in comparison.points]
    [('prefill at 16 tokens', 2)]

    Args:
        a, b: exported names with a precision ("gpt2:int8"), artifact folders, or .onnx files; or two runs, by their
            names or folders. Without B, A is compared with itself in the environment of `python`.
        python: measure B with this interpreter, and so with the onnxruntime of its environment.
        seq: token lengths; default a few that both models support.
        phase, batch, dim, input, threads, runs, min_time_s, timeout_s: as `profile`.
        rounds: at least, two or more; with fewer than eight the interval is too narrow at times.
        ci: a point is visited until the 95 % interval of its ratio is this share of it up and down,
        max_time_s: or until its visits, of A and B, have taken so many seconds; 0: `rounds` rounds.
        across_machines: compare runs of different machines, too.
        run: use an existing run that has both A and B, in the same rounds, and measure nothing.
        name: of the comparison; an existing one is resumed. Default: a name derived from A and B.
        models, out: folders to read artifacts from and to write the comparison into.
        progress: called with the current step.

    Returns:
        The comparison. Its folder holds comparison.json, comparison.md, index.html, and the runs of A and B if they
        were measured.

    Raises:
        UsageError: A or B is neither a model nor a run, or one of each; raised before anything is measured.
        RunError: runs of different machines, or nothing in common.
    """
    require_positive("--rounds", [rounds])
    if rounds < 2:
        raise UsageError("An interval takes two rounds or more.", "Example: --rounds 8")
    goal = Goal(rounds=rounds, ci=ci, max_time_s=max_time_s)
    are_runs = [_is_run(one, out) for one in (a, b) if one is not None]
    if run is not None:
        compared = of_one_run(load_run(run, out=out), a, b, python, goal)
    elif any(are_runs):
        compared = of_runs(a, b, python, across_machines, are_runs, out)
    else:
        pair = artifacts(a, b, python, models)
        sides = sides_of(pair, python)
        require_positive("--runs", [runs])
        require_positive("--threads", [threads or 1])
        for option, value, least in (("--min-time", min_time_s, 0), ("--timeout", timeout_s, 1)):
            require_seconds(option, value, least)
        require_seconds("--max-time", max_time_s, 0)
        request = ProfileRequest(
            seq=tuple(sorted(set(seq or (() if dim or input else common_lengths(pair, phase, LENGTHS))))),
            batch=tuple(sorted(set(batch))),
            phase=phase,
            machine_id="",
            threads=threads or sides[0].machine.cores_allowed,
            targets=(CPU,),
            compile=False,
            stopping=StoppingRule(min_runs=runs, min_time_s=min_time_s, max_time_s=max(60.0, min_time_s)),
            timeout_s=timeout_s,
            dims=dict(dim or {}),
            files=dict(input or {}),
        )
        folder = _folder(out, name or _name(*(side.name for side in sides)))
        compared = measured(sides, request, goal, folder, progress)
    if not compared.folder:
        folder = _folder(out, name or _name(compared.a.name, compared.b.name))
        compared = replace(compared, folder=str(folder))
    report.write_comparison(Path(compared.folder), compared)
    return compared


def _name(a: str, b: str) -> str:
    """The same name each time, so that a comparison is resumed."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", f"compare-{a}-{b}")


def _folder(out: Path, name: str) -> Path:
    folder = store.run_folder(out, name)
    if (folder / store.MEASUREMENTS_FILE).exists():
        raise UsageError(f"{name} is a run, whose pages a comparison would replace.", "Choose another --name.")
    return folder


def _is_run(target: str, out: Path) -> bool:
    """Whether a target is a run; of a model of the same name, name the precision as well."""
    path = Path(target)
    if path.is_dir():
        return (path / store.MEASUREMENTS_FILE).is_file()
    return path.name == store.MEASUREMENTS_FILE or (out.is_dir() and target in store.run_names(out))
