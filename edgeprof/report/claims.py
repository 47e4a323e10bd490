"""claims.md: claims about transformers and their verdicts, in the folder of the run they were measured in."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeprof import units
from edgeprof.report import templates
from edgeprof.report.page import CLAIMS_FILE
from edgeprof.schema import CheckedClaim, Machine, MeasuredGrowth, Point
from edgeprof.text import visible


def write_claims(folder: Path, machine: Machine, checked: Sequence[CheckedClaim], *, started_at: str = "") -> Path:
    """Write claims.md into the folder of the run that the measured claims come from.

    Args:
        machine: of that run.
        started_at: start of that run, ISO 8601.

    Returns:
        The path of the page.

    Raises:
        StorageError: the page cannot be written.
    """
    growths = [growth for claim in checked for growth in claim.growths]
    points = [point for growth in growths for point in growth.points]
    counts = Counter(claim.verdict or "not checked" for claim in checked)
    content = {
        "run": folder.resolve().name,
        "command": visible(shlex.join(["edgeprof", "claims", folder.resolve().name, "--measure"])),
        "started_at": templates.started(started_at),
        "checked": checked,
        "counts": ", ".join(f"{count} {verdict}" for verdict, count in counts.items()),
        "changed": ", ".join(f"claim {claim.number}" for claim in checked if not claim.holds),
        "random_weights": sorted({point.subject.model for point in points if point.subject.weights.kind == "random"}),
        "curves": {f"{_name(growth.points[0])} over token lengths": list(_rows(growth)) for growth in growths},
        "machine": dict(templates.machine_rows(machine)),
    }
    templates.render("claims.md.jinja", folder / CLAIMS_FILE, content)
    return folder / CLAIMS_FILE


def _name(point: Point) -> str:
    setting = f"batch {point.load.batch}, {units.counted(point.place.threads, 'thread')}"
    return f"{point.subject.model} {point.subject.precision}, {point.load.phase}, {setting}"


def _rows(growth: MeasuredGrowth) -> Iterator[tuple[str, ...]]:
    """Rows of measured values, each beside the value of its curve."""
    for point in growth.points:
        latency, memory = point.latency, point.memory
        if latency is None or memory is None:  # for the type checker: a growth has measured points only
            continue
        yield (
            f"{point.load.length:,}",
            units.macs(point.facts.macs) if point.facts.macs else "",
            units.duration(latency.median_s),
            f"{units.duration(latency.ci_low_s)} to {units.duration(latency.ci_high_s)}",
            units.duration(growth.latency_s.at(point.load.length)),
            units.size(memory.working_bytes),
            units.size(growth.working_bytes.at(point.load.length)),
        )
