"""`write_report`: figures and pages of a run, with the closed forms of its models."""

from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import replace

from edgeprof import report, store
from edgeprof.analysis import cached, generation, laws, module_crossover, placement, same_graph, statistics
from edgeprof.analysis.captions import sentences
from edgeprof.analysis.ledger import ledger
from edgeprof.analysis.why import sides, why
from edgeprof.api.explain import explain
from edgeprof.api.kept_probe import ceilings_for
from edgeprof.api.runs import Run, cache_checks, load_run
from edgeprof.families import family_of, variants
from edgeprof.process import Progress, silent
from edgeprof.schema import Case, Explanation, Ledger, Point, Why

LENGTHS = tuple(2**power for power in range(4, 18))  # 16 to 131,072 tokens
MIXED_LENGTHS = tuple(2**power for power in range(4, 13))


def write_report(
    run: str | Path | None = None,
    *,
    percentiles: Sequence[float] = (90.0,),
    out: Path = store.REPORTS,
    progress: Progress = silent,
) -> Path:
    """Draw the figures of a run; write index.html, report.md, laws.json and measurements.csv beside its records.

    >>> write_report("showcase").name
    'index.html'

    Args:
        run: its name below `out`, or its folder; default the latest.
        percentiles: of the latencies to show, in percent; each where the runs are enough to tell it.
        out: the folder that `profile` wrote into.
        progress: called with the current step.

    Returns:
        The path of index.html.

    Raises:
        MissingExtra: matplotlib is not installed here.
        UsageError: a percentile is not between 0 and 100.
        UnknownName: there is no such run.
        RunError: the run is empty or damaged.
    """
    report.require_extra()
    loaded = load_run(run, percentiles=percentiles, out=out)
    folder = Path(loaded.folder)
    store.save_table(folder, loaded.points)
    mixers = _mixers()
    placed = placement.with_placement(loaded.points)
    pooled = statistics.pooled(loaded.measurements)
    fitted = laws.laws(pooled)
    store.save_laws(folder, fitted)
    caches = cache_checks(loaded, fitted.laws, pooled)
    findings = sentences(pooled, mixers, placed)
    return report.write(
        folder,
        loaded.machine,
        loaded.points,
        replace(
            findings,
            hosts={host.name: f"{host.name} ({host.machine.cpu})" for host in loaded.hosts},
            headlines=(
                *same_graph.sentences(loaded.points),
                *(cached.sentence(check) for check in caches if check.recomputes),
                *findings.headlines,
            ),
            captions={
                **findings.captions,
                "memory-parts": " ".join(loaded.memory_trials),
                "sustained": " ".join(loaded.endurance),
            },
        ),
        pooled=pooled,
        explanations=_explanations(loaded.points),
        mixers=mixers,
        whys=_whys(loaded),
        placed=placed,
        sustained=loaded.sustained,
        passes=loaded.operators,
        rooflines=loaded.rooflines,
        ceilings=ceilings_for(loaded.operators, folder),
        reached=loaded.reached,
        laws=fitted.laws,
        generations=generation.rows(loaded.generations, loaded.points),
        law_findings=[
            *map(laws.sentence, fitted.crossovers),
            *module_crossover.sentences(loaded.operators),
            *map(cached.sentence, caches),
        ],
        hosts=loaded.hosts,
        started_at=min((measurement.outcome.started_at for measurement in loaded.measurements), default=""),
        progress=progress,
    )


def _explanations(points: Sequence[Point]) -> list[Explanation]:
    """Explain the largest measured variant of each family; checkpoints and files have no closed form here."""
    known = {variant.name for variant in variants() if not family_of(variant).single_layer}
    largest: dict[str, Point] = {}
    for point in sorted(points, key=lambda point: point.facts.params):
        if point.subject.model in known:
            largest[point.facts.family] = point
    return [explain(point.subject.model, seq=LENGTHS) for point in largest.values()]


def _whys(run: Run) -> list[Why]:
    """Compare every precision with fp32, where operators were timed."""
    pairs = sides(run.points) if run.operators else []
    return [
        each
        for pair in pairs
        for machine, points in run.by_machine
        for each in why(*pair, points, run.operators, machine, run.kernels)
    ]


def _mixers() -> dict[str, list[Ledger]]:
    """All ways to mix tokens, over token lengths."""
    rows = [variant for variant in variants() if family_of(variant).single_layer]
    return {row.name: [ledger(row, Case(batch=1, tokens=length)) for length in MIXED_LENGTHS] for row in rows}
