"""index.html, comparison.md and comparison.json of a comparison."""

import math
from pathlib import Path
from typing import Any

from edgeprof import store, units
from edgeprof.report import templates
from edgeprof.report.page import PAGE_FILE
from edgeprof.report.table import Column, Table, scaled, tabulate
from edgeprof.schema import ComparedPoint, Comparison, encode_pretty

MARKDOWN_FILE = "comparison.md"
RECORD_FILE = "comparison.json"

AXIS = 100.0
"""Width of the drawing of an interval, in its own units."""


def write_comparison(folder: Path, comparison: Comparison) -> Path:
    """Write the comparison as a record, for a pull request, and as a page; the path of the page.

    Raises:
        StorageError: they cannot be written.
    """
    store.write_atomic(folder / RECORD_FILE, encode_pretty(comparison))
    content = {
        "comparison": comparison,
        "headline": comparison.headline,
        "table": points(comparison),
        "bars": bars(comparison),
        "machines": [dict(templates.machine_rows(side.machine)) for side in (comparison.a, comparison.b)],
        "method": method(comparison),
    }
    templates.render("comparison.md.jinja", folder / MARKDOWN_FILE, content)
    templates.render("comparison.html.jinja", folder / PAGE_FILE, content)
    return folder / PAGE_FILE


def method(comparison: Comparison) -> str:
    if comparison.paired:
        how = "A and B were visited in turn, each visit in a fresh process; the interval is that of the paired rounds"
    else:
        how = "The two runs were made at different times; the interval is that of Welch, between their rounds"
    return (
        f"Ratio: time of B over time of A, of the first decile of each visit. {how}. A difference is shown if its 95 % "
        "interval excludes 1."
    )


def points(comparison: Comparison) -> Table:
    """A row for each point."""
    columns: tuple[Column[ComparedPoint], ...] = (
        Column("Model", lambda point: point.a.subject.model, number=False, kept="varying"),
        Column("Precision", lambda point: str(point.a.subject.precision), number=False, kept="varying"),
        Column("Device", lambda point: point.a.place.host, number=False, kept="filled"),
        Column("Provider", lambda point: point.a.place.provider, number=False, kept="varying"),
        Column("Phase", lambda point: point.a.load.phase, number=False),
        Column("Batch", lambda point: str(point.a.load.batch), kept="varying"),
        Column("Tokens", lambda point: units.known(point.a.load.length or None)),
        Column("A (ms)", lambda point: scaled(point.a_s, 1e3)),
        Column("B (ms)", lambda point: scaled(point.b_s, 1e3)),
        Column("B / A", lambda point: f"{point.ratio:.3f}"),
        Column("95 % interval", lambda point: f"{point.ratio_low:.3f} to {point.ratio_high:.3f}"),
        Column("B is", lambda point: point.verdict, number=False),
        Column("Rounds", lambda point: point.rounds_text),
        Column("Remarks", lambda point: point.note, number=False, kept="filled"),
    )
    return tabulate(comparison.points, columns)


def bars(comparison: Comparison) -> dict[str, Any]:
    """The intervals on one logarithmic axis of ratios: positions from 0 to AXIS."""
    if not comparison.points:
        return {"rows": [], "one": 0.0, "low": "", "high": ""}
    low = min(1.0, *(point.ratio_low for point in comparison.points)) * 0.98
    high = max(1.0, *(point.ratio_high for point in comparison.points)) * 1.02

    def position(ratio: float) -> float:
        return round(AXIS * math.log(ratio / low) / math.log(high / low), 2)

    rows = [
        {
            "label": point.label,
            "text": f"{point.ratio:.3f} ({point.ratio_low:.3f} to {point.ratio_high:.3f}), {point.verdict}",
            "low": position(point.ratio_low),
            "middle": position(point.ratio),
            "high": position(point.ratio_high),
            "verdict": point.verdict,
        }
        for point in comparison.points
    ]
    return {"rows": rows, "one": position(1.0), "low": f"{low:.2f}", "high": f"{high:.2f}"}
