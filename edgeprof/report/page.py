"""index.html and report.md: the same content twice, once to look at, once to read in a terminal or a pull request."""

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeprof import store, units
from edgeprof.errors import RunError
from edgeprof.process import Progress, silent
from edgeprof.report import drawing, table
from edgeprof.report.figures import FIGURES
from edgeprof.report.reproduce import commands
from edgeprof.schema import Findings, Machine, Phase, Point

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE_FILE = "index.html"
MARKDOWN_FILE = "report.md"
FIGURES_FOLDER = "figures"


@dataclass(frozen=True)
class Picture:
    name: str
    title: str
    phase: Phase
    caption: str
    data_uri: str  # of the SVG: ids of several pictures in one page cannot collide
    width_px: int
    height_px: int

    @property
    def file(self) -> str:
        return f"{FIGURES_FOLDER}/{self.name}.png"


def write(
    folder: Path,
    machine: Machine,
    points: Sequence[Point],
    findings: Findings,
    *,
    started_at: str = "",
    progress: Progress = silent,
) -> Path:
    """Write figures/*.png and *.svg, index.html and report.md into the folder of a run.

    Args:
        folder: the run's folder; its name is the name of the run.
        machine: where the points were measured.
        points: all points of the run, failed ones too.
        findings: what `edgeprof.analysis` says of the same points.
        started_at: when the run began, ISO 8601.
        progress: called with the title of each figure and the share that is done.

    Returns:
        The path of index.html. The pages are replaced only when all figures are there.

    Raises:
        RunError: there are no points.
        StorageError: the disk refused.
    """
    run = folder.resolve().name
    if not points:
        raise RunError(f"Run '{run}' holds no measurements yet.", f"Run: edgeprof profile --name {run}")
    pictures = _save_figures(folder / FIGURES_FOLDER, points, findings, progress)
    content = {
        "run": run,
        "started_at": started_at.replace("T", " ").replace("+00:00", "Z").replace("Z", " UTC"),
        "machine": dict(_describe(machine)),
        "headlines": findings.headlines,
        "sections": _sections(pictures),
        "results": table.results(points),
        "problems": table.problems(points),
        "shared": table.shared(points),
        "rounds": max(point.rounds for point in points),
        "random_weights": sorted({point.variant for point in points if point.weights.startswith("random")}),
        "emulated": sorted({point.provider for point in points if point.emulated}),
        "commands": commands(points, run),
        "points": len(points),
    }
    _render(_markdown(), "report.md.jinja", folder / MARKDOWN_FILE, content)
    _render(_html(), "index.html.jinja", folder / PAGE_FILE, content)
    return folder / PAGE_FILE


def _save_figures(folder: Path, points: Sequence[Point], findings: Findings, progress: Progress) -> list[Picture]:
    """Draw all figures that have data; figures of an earlier report do not stay behind."""
    pictures = []
    with store.folder_in_progress(folder) as partial:
        for number, figure in enumerate(FIGURES):
            progress(figure.title, number / len(FIGURES))
            drawn = drawing.draw(figure, points, findings)
            if drawn is None:
                continue
            svg = drawn.save("svg")
            store.write_atomic(partial / f"{figure.name}.png", drawn.save("png"))
            store.write_atomic(partial / f"{figure.name}.svg", svg)
            uri = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
            caption = findings.captions.get(figure.name, "")
            pictures.append(Picture(figure.name, figure.title, figure.phase, caption, uri, *drawn.page_size_px))
    return pictures


def _sections(pictures: Sequence[Picture]) -> dict[str, list[Picture]]:
    phases: dict[str, list[Picture]] = {}
    for picture in pictures:
        phases.setdefault(picture.phase.capitalize(), []).append(picture)
    return phases


def _describe(machine: Machine) -> Iterator[tuple[str, str]]:
    """One row for each thing worth knowing of a machine."""
    yield "CPU", f"{machine.cpu} ({machine.architecture})"
    if machine.cpu_features:
        yield "CPU features", ", ".join(machine.cpu_features)
    yield "Cores allowed", f"{machine.cores_allowed}, frequency governor {machine.governor}"
    limit = machine.memory_limit_bytes
    yield "Memory", units.size(machine.memory_bytes) + (f", limited to {units.size(limit)}" if limit else "")
    yield "System", machine.os
    yield "Versions", ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    yield "Machine id", machine.machine_id


# --- templates -----------------------------------------------------------------------------------------


def _render(environment: "Environment", template: str, path: Path, content: dict[str, Any]) -> None:
    text = environment.get_template(template).render(content)
    store.write_atomic(path, text.encode())


def _html() -> "Environment":
    return _environment(autoescape=True)


def _markdown() -> "Environment":
    return _environment(finalize=_escape_markdown)


def _environment(**options: Any) -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )


def _escape_markdown(value: Any) -> Any:
    """Text that Markdown shows as it is, also within a table cell. What is marked safe stays."""
    if hasattr(value, "__html__"):
        return value
    text = str(value).replace("&", "&amp;")
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(text.split()))
