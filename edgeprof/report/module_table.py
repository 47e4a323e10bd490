"""The table of modules: what each part of a transformer takes, computes and moves, and what it reaches."""

from collections.abc import Sequence
from typing import NamedTuple

from edgeprof import units
from edgeprof.report.table import MISSING, Column, Table, scaled, tabulate
from edgeprof.schema import ModuleRoof, ModuleTime, OperatorPass, PointKey, Roofline

NOTE = "From runs with the profiler. Bytes: weights read as they are stored, and tensors read and written."
BOUNDS = (
    "Bound: by the ceiling that allows the least speed, of products in the precision, of memory, or of nodes. Reached: "
    "the share of that ceiling; over 100 % where caches give more than memory."
)


class _Row(NamedTuple):
    key: PointKey
    module: ModuleTime
    share: float  # of the time of all modules
    roof: ModuleRoof | None


def modules(passes: Sequence[OperatorPass], rooflines: Sequence[Roofline]) -> Table:
    """A row for each module of each point; without a probe no bounds."""
    roofs = {(one.key, roof.module.module): roof for one in rooflines for roof in one.modules}
    rows = []
    for one in passes:
        whole_s = sum(module.time_s for module in one.modules) or 1.0
        rows += [
            _Row(one.key, module, module.time_s / whole_s, roofs.get((one.key, module.module)))
            for module in one.modules
        ]
    return tabulate(rows, _COLUMNS)


def _positive(value: float, scale: float) -> str:
    return scaled(value, scale) if value else MISSING


_COLUMNS: tuple[Column[_Row], ...] = (
    Column("Variant", lambda row: row.key.subject.model, number=False),
    Column("Precision", lambda row: str(row.key.subject.precision), number=False),
    Column("Phase", lambda row: row.key.load.phase, number=False),
    Column("Batch", lambda row: str(row.key.load.batch), kept="varying"),
    Column("Tokens", lambda row: units.known(row.key.load.length or None)),
    Column("Module", lambda row: row.module.module, number=False),
    Column("Nodes", lambda row: f"{row.module.nodes:,}"),
    Column("Time (ms)", lambda row: scaled(row.module.time_s, 1e3)),
    Column("Share", lambda row: units.percent(row.share)),
    Column("MMAC", lambda row: _positive(row.module.macs, 1e-6)),
    Column("MB", lambda row: _positive(row.module.moved_bytes, 1e-6)),
    Column("GFLOP/s", lambda row: _positive(row.module.flops_per_s, 1e-9)),
    Column("GB/s", lambda row: _positive(row.module.bytes_per_s, 1e-9)),
    Column("Bound", lambda row: row.roof.bound if row.roof else MISSING, number=False, kept="filled"),
    Column("Reached", lambda row: units.percent(row.roof.share) if row.roof else MISSING, kept="filled"),
)
