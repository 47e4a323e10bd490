"""`write_report`: figures and pages for a run, with the closed forms of what was measured beside them."""

from collections.abc import Sequence
from pathlib import Path

from edgeprof import report, store
from edgeprof.analysis import placement
from edgeprof.analysis.captions import sentences
from edgeprof.analysis.ledger import case_of, ledger
from edgeprof.analysis.why import sides, why
from edgeprof.api.explain import explain
from edgeprof.api.runs import Run, load_run
from edgeprof.families import family_of, variants
from edgeprof.process import Progress, silent
from edgeprof.schema import Explanation, Ledger, Point, Why

LENGTHS = tuple(2**power for power in range(4, 18))  # 16 to 131,072 tokens
MIXED_LENGTHS = tuple(2**power for power in range(4, 13))


def write_report(run: str | Path | None = None, *, out: Path = store.REPORTS, progress: Progress = silent) -> Path:
    """Draw the figures of a run and write index.html, report.md and measurements.csv beside its records.

    >>> write_report("showcase").name
    'index.html'

    Args:
        run: its name below `out`, or its folder; None means the latest.
        out: the folder that `profile` wrote into.
        progress: called with what is being done.

    Returns:
        The path of index.html.

    Raises:
        UnknownName: there is no such run.
        RunError: the run is empty or damaged.
    """
    found = load_run(run, out=out)
    folder = Path(found.folder)
    store.save_table(folder, found.points)
    mixers = _mixers()
    placed = placement.with_placement(found.points)
    return report.write(
        folder,
        found.machine,
        found.points,
        sentences(found.points, mixers, placed),
        explanations=_explanations(found.points),
        mixers=mixers,
        whys=_whys(found),
        placed=placed,
        started_at=min((measurement.outcome.started_at for measurement in found.measurements), default=""),
        progress=progress,
    )


def _explanations(points: Sequence[Point]) -> list[Explanation]:
    """Of the largest variant of each family that was measured; checkpoints and files have no closed form here."""
    known = {variant.name for variant in variants() if not family_of(variant).single_layer}
    largest: dict[str, Point] = {}
    for point in sorted(points, key=lambda point: point.facts.params):
        if point.subject.model in known:
            largest[point.facts.family] = point
    return [explain(point.subject.model, seq=LENGTHS) for point in largest.values()]


def _whys(found: Run) -> list[Why]:
    """Of every precision beside fp32, where operators were profiled."""
    pairs = sides(found.points) if found.operators else []
    return [one for pair in pairs for one in why(*pair, found.points, found.operators, found.machine, found.kernels)]


def _mixers() -> dict[str, list[Ledger]]:
    """All ways to mix tokens, over token lengths."""
    rows = [variant for variant in variants() if family_of(variant).single_layer]
    return {row.name: [ledger(row, case_of("prefill", 1, length)) for length in MIXED_LENGTHS] for row in rows}
