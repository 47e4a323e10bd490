"""measurements.csv: a row per point, for spreadsheets and other tools."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from edgeprof.schema import Point
from edgeprof.store.files import write_atomic
from edgeprof.text import visible

TABLE_FILE = "measurements.csv"


def save_table(folder: Path, points: Iterable[Point]) -> Path:
    """Write measurements.csv: missing values are empty; no text is one that a spreadsheet takes for a formula.

    Raises:
        StorageError: the disk refused.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(Point.__struct_fields__)
    rows.writerows(map(_cell, msgspec.structs.astuple(point)) for point in points)
    write_atomic(folder / TABLE_FILE, text.getvalue().encode())
    return folder / TABLE_FILE


def _cell(value: Any) -> Any:
    """Names may come from downloaded files: a spreadsheet would compute what starts like a formula."""
    if isinstance(value, str):
        return f"'{visible(value)}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else visible(value)
    return "" if value is None else value
