"""The fixed record set, and a larger one made by the same script."""

import runpy
from pathlib import Path
from typing import Any

from edgeprof import store
from edgeprof.analysis import captions, statistics
from edgeprof.schema import Findings, Measurement, Point

DATA = Path(__file__).parent.parent / "data"
RUN = DATA / "run"


def _make() -> dict[str, Any]:
    return runpy.run_path(str(DATA / "make_run.py"))


def generated() -> list[Measurement]:
    records: list[Measurement] = _make()["records"]()
    return records


def large() -> list[Measurement]:
    """Twelve variants, two precisions, five lengths."""
    built = _make()
    records: list[Measurement] = built["records"](tuple(built["SIZES"]), (16, 64, 128, 256, 512))
    return records


def analyzed(records: list[Measurement] | None = None) -> tuple[list[Point], Findings]:
    points = statistics.points(store.load_measurements(RUN) if records is None else records)
    return points, captions.sentences(points)
