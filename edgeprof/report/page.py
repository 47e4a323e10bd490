"""index.html and report.md: the same content, for a browser and for a terminal or a pull request."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeprof import store, units
from edgeprof.errors import RunError
from edgeprof.process import Progress, silent
from edgeprof.report import law_table, module_table, pictures, placement_tables, roofline_figure, table, templates
from edgeprof.report.pictures import Picture
from edgeprof.report.reproduce import commands
from edgeprof.schema import (
    Ceilings,
    Explanation,
    Findings,
    Generated,
    Host,
    Law,
    Ledger,
    Machine,
    OperatorPass,
    Point,
    Roofline,
    SustainedPass,
    Why,
)

PAGE_FILE = "index.html"
MARKDOWN_FILE = "report.md"
EXPLANATION_FILE = "explanation.md"
CLAIMS_FILE = "claims.md"

PLACEMENT = (
    "Nodes as onnxruntime assigned them, checked against a profile of one run. Copies cross the boundary between "
    "providers in every run. Difference from CPU: the largest difference from the CPU's result, over the largest "
    "value of the same output."
)
LEFT = "Operators that the requested provider did not accept, with its reason if it reported one."
UNSUPPORTED = (
    "The requested provider or baseline runs nothing of these points. They have no times; CPU times do not stand in "
    "for them."
)
START = (
    "A provider compiles when it loads a model, or in the first run (GPU shaders). The extra time of the first run is "
    "not part of any latency."
)


def write(
    folder: Path,
    machine: Machine,
    points: Sequence[Point],
    findings: Findings,
    *,
    pooled: Sequence[Point] | None = None,
    explanations: Sequence[Explanation] = (),
    mixers: Mapping[str, Sequence[Ledger]] | None = None,
    whys: Sequence[Why] = (),
    placed: Sequence[Point] = (),
    sustained: Sequence[SustainedPass] = (),
    laws: Sequence[Law] = (),
    law_findings: Sequence[str] = (),
    generations: Sequence[Generated] = (),
    passes: Sequence[OperatorPass] = (),
    rooflines: Sequence[Roofline] = (),
    ceilings: Ceilings | None = None,
    reached: Sequence[str] = (),
    hosts: Sequence[Host] = (),
    started_at: str = "",
    progress: Progress = silent,
) -> Path:
    """Write figures/*.png and *.svg, index.html and report.md into the folder of a run.

    Args:
        folder: the run's folder; its name is the name of the run.
        machine: where the points were measured; of several devices, the first.
        points: all points of the run, failed ones too.
        findings: headlines and captions from `edgeprof.analysis` for these points and mixers.
        pooled: the points of figures, where models of one graph are one line; default all points.
        explanations: of models of the run, over token lengths and with captions; each has its own pictures.
        mixers: ledgers over token lengths of ways to mix tokens, by name.
        whys: comparisons of precisions, grouped by model.
        placed: the points with a recorded placement, which ran on a provider other than the CPU.
        sustained: points that were run for long.
        laws: of the lines of `pooled`.
        generations: greedy loops, with their times.
        passes: points whose operators were timed.
        rooflines: those of them whose modules are held against `ceilings`, of the device.
        reached: what they reach, in sentences.
        law_findings: sentences on where these lines cross, and on KV caches.
        hosts: the devices of a run over several.
        started_at: start of the run, ISO 8601.
        progress: called with the title of each figure and the share that is done.

    Returns:
        The path of index.html. The pages are replaced only when all figures are there.

    Raises:
        RunError: there are no points.
        StorageError: the report cannot be written.
    """
    run = folder.resolve().name
    if not points:
        raise RunError(f"Run '{run}' has no measurements yet.", f"Run: edgeprof profile --name {run}")
    plans = [
        *pictures.of_points(points if pooled is None else pooled, findings, laws),
        *pictures.of_explanations(explanations),
    ]
    plans += [pictures.of_mixers(mixers, findings.captions.get("mixers", ""))] if mixers else []
    plans += pictures.of_whys(whys)
    plans += [pictures.of_placements(placed, findings.captions.get("placement", ""))] if placed else []
    plans += pictures.of_memory(points, findings.captions.get("memory-parts", ""))
    plans += [pictures.of_sustained(sustained, findings.captions.get("sustained", ""))] if sustained else []
    plans += [pictures.of_rooflines(rooflines, ceilings)] if ceilings else []
    with store.folder_in_progress(folder / pictures.FOLDER) as partial:  # replaces the figures of an earlier report
        drawn = pictures.save(partial, plans, progress)
    sections = _sections(drawn)
    with_modules = [one for one in passes if one.modules]
    content = {
        "run": run,
        "started_at": templates.started(started_at),
        "machines": [
            (host.name, dict(templates.machine_rows(host.machine)))
            for host in hosts or (Host(name="", machine=machine),)
        ],
        "machine_file": store.MACHINES_FILE if hosts else store.MACHINE_FILE,
        "headlines": findings.headlines,
        "trust": findings.trust,
        "why_pictures": sections.pop(pictures.WHY_SECTION, []),
        "whys": [(why, table.why(why)) for why in whys],
        "processor": list(dict.fromkeys(line for why in whys for line in why.machine)),
        "providers": _providers(points, placed, sections.pop(pictures.PROVIDERS_SECTION, [])),
        "roofline_pictures": sections.pop(roofline_figure.SECTION, []),
        "modules": module_table.modules(with_modules, rooflines) if with_modules else None,
        "module_note": f"{module_table.NOTE} {module_table.BOUNDS}" if rooflines else module_table.NOTE,
        "reached": reached,
        "sections": sections,
        "laws": law_table.laws(laws) if laws else None,
        "generations": table.generations(generations) if generations else None,
        "law_note": law_table.NOTE,
        "law_findings": law_findings,
        "results": table.results(points),
        "problems": table.problems(points),
        "predicted": any(point.facts.memory_predicted_bytes is not None for point in points),
        "shared": table.shared(points),
        "rounds": max(point.rounds for point in points),
        "random_weights": sorted({point.subject.model for point in points if point.subject.weights.kind == "random"}),
        "emulated": sorted({point.place.provider for point in points if point.place.emulated}),
        "wrong": sum(bool(point.receipt.difference_text) for point in points),
        "commands": commands(points, run),
        "points": units.counted(len(points), "point"),
        "claims": CLAIMS_FILE if (folder / CLAIMS_FILE).exists() else "",
    }
    templates.render("report.md.jinja", folder / MARKDOWN_FILE, content)
    templates.render("index.html.jinja", folder / PAGE_FILE, content)
    return folder / PAGE_FILE


def write_explanation(folder: Path, explanation: Explanation, *, progress: Progress = silent) -> list[Path]:
    """Write explanation.md and, for several token lengths, figures/explain-*.png and *.svg.

    Args:
        folder: of this explanation; pictures of an earlier one are replaced.
        explanation: its captions, if any, come from `edgeprof.analysis.explain_captions.explanation_captions`.

    Returns:
        The paths of the page and its pictures.
    """
    with store.folder_in_progress(folder / pictures.FOLDER) as partial:
        drawn = pictures.save(partial, list(pictures.of_explanation(explanation)), progress)
    content = {
        "explanation": explanation,
        "ledger": explanation.ledger,
        "costs": table.costs(explanation),
        "pictures": drawn,
    }
    templates.render("explanation.md.jinja", folder / EXPLANATION_FILE, content)
    return [folder / EXPLANATION_FILE, *pictures.files(folder, drawn)]


def _providers(points: Sequence[Point], placed: Sequence[Point], drawn: Sequence[Picture]) -> dict[str, Any] | None:
    """Content of the section on providers; None where all points ran on the CPU."""
    if all(point.place.provider == table.CPU for point in points):
        return None
    unsupported = [point for point in points if point.status == "unsupported"]
    return {
        "devices": placement_tables.devices(points),
        "pictures": drawn,
        "tables": [
            (title, text, rows)
            for title, text, rows in (
                ("Placement", PLACEMENT, placement_tables.placements(placed)),
                ("Operators on the CPU", LEFT, placement_tables.left(placed)),
                ("Unsupported points", UNSUPPORTED, table.problems(unsupported)),
                ("Load and first run", START, placement_tables.starts(points)),
            )
            if rows.rows
        ],
    }


def _sections(drawn: Sequence[Picture]) -> dict[str, list[Picture]]:
    sections: dict[str, list[Picture]] = {}
    for picture in drawn:
        sections.setdefault(picture.section, []).append(picture)
    return sections
