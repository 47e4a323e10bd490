"""Tables of several providers in one run: what ran where, what was left to the CPU, what the first result costs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeprof import units
from edgeprof.report.table import CPU, MISSING, Column, Table, agreement, of_latency, provider, scaled, tabulate
from edgeprof.schema import LeftOperator, Placement, Point

NAMED = 3  # models that a cell names


@dataclass(frozen=True)
class Lengths:
    """One model in one phase on one provider, and the points at all lengths where the same nodes ran there."""

    members: tuple[Point, ...]

    @property
    def point(self) -> Point:
        return self.members[0]

    @property
    def placement(self) -> Placement:
        return self.point.placement

    @property
    def tokens(self) -> str:
        return ", ".join(units.known(one.load.length or None) for one in self.members)


def alike(found: Iterable[Point]) -> list[Lengths]:
    """Points that differ in nothing but the length, and what follows from it."""
    groups: dict[tuple[object, ...], list[Point]] = {}
    for point in found:
        placement, receipt = point.placement, point.receipt
        same = (
            *(point.key.series, point.status, receipt.static, receipt.agrees),
            tuple((part.provider, part.nodes, part.partitions) for part in placement.placed),
            tuple((left.operator, left.nodes, left.reason) for left in placement.left),
            *(placement.copies, tuple(placement.written_out.items()), placement.disagreement),
        )
        groups.setdefault(same, []).append(point)
    rows = [Lengths(tuple(sorted(some, key=lambda point: point.load.length))) for some in groups.values()]
    return sorted(rows, key=lambda row: (row.point.place.emulated, row.point.place.provider))


# --- what ran where --------------------------------------------------------------------------------------


def placements(found: Iterable[Point]) -> Table:
    """A row for each model, phase and provider, with the lengths where the same nodes ran there."""
    columns: tuple[Column[Lengths], ...] = (
        Column("Provider", lambda row: provider(row.point), number=False),
        Column("Variant", lambda row: row.point.subject.model, number=False),
        Column("Precision", lambda row: str(row.point.subject.precision), number=False),
        Column("Batch", lambda row: str(row.point.load.batch), kept="varying"),
        Column("Phase", lambda row: row.point.load.phase, number=False),
        Column("Tokens", lambda row: row.tokens, number=False),
        Column("Shapes", _shapes, number=False, kept="varying"),
        Column("Status", lambda row: row.point.status, number=False, kept="varying"),
        Column("MACs there", lambda row: _span(row.members)),
        Column("Nodes there", lambda row: _nodes(row.placement)),
        Column("Partitions", lambda row: f"{row.placement.placed[0].partitions:,}"),
        Column("Copies", lambda row: f"{row.placement.copies:,}"),
        Column("Written out", lambda row: _written_out(row.placement), number=False, kept="filled"),
        Column("Differs from CPU by", _difference, kept="filled"),
        Column("Assignment against profile", lambda row: row.placement.disagreement, number=False, kept="filled"),
    )
    return tabulate(alike(found), columns)


def _shapes(row: Lengths) -> str:
    return "fixed" if row.point.receipt.static else "as exported"


def _span(members: Iterable[Point]) -> str:
    """ "83 %", or "81 % to 83 %" over the lengths; where all nodes are, all MACs are."""
    known = (1.0 if one.placement.nodes_share == 1 else one.placement.macs_share for one in members)
    shares = sorted(share for share in known if share is not None)
    if not shares:
        return "not known"
    low, high = units.percent(shares[0]), units.percent(shares[-1])
    return low if low == high else f"{low} to {high}"


def _nodes(placement: Placement) -> str:
    return f"{placement.placed[0].nodes:,} of {sum(part.nodes for part in placement.placed):,}"


def _written_out(placement: Placement) -> str:
    return ", ".join(f"{count} {operator}" for operator, count in placement.written_out.items())


def _difference(row: Lengths) -> str:
    return agreement(max(row.members, key=lambda point: point.receipt.max_rel_error or 0.0))


# --- what was left to the CPU ----------------------------------------------------------------------------

Kind = tuple[str, str, str]
"""Provider, operator, reason."""


@dataclass(frozen=True)
class Remaining:
    """Operators of one type that one provider did not take for one reason, in all points."""

    kind: Kind
    seen: tuple[tuple[Point, LeftOperator], ...]


def left(found: Iterable[Point]) -> Table:
    """Operators grouped with the reason that the provider gave; those with the most MACs first."""
    kinds: dict[Kind, list[tuple[Point, LeftOperator]]] = {}
    for one in found:
        for operator in one.placement.left:
            kinds.setdefault((provider(one), operator.operator, operator.reason), []).append((one, operator))
    rows = [Remaining(kind, tuple(seen)) for kind, seen in kinds.items()]
    rows.sort(key=lambda row: (row.kind[0], -max(_share(*pair) or 0.0 for pair in row.seen)))
    columns: tuple[Column[Remaining], ...] = (
        Column("Provider", lambda row: row.kind[0], number=False),
        Column("Operator", lambda row: row.kind[1], number=False),
        Column("Nodes in a model", lambda row: _counts(operator.nodes for _, operator in row.seen)),
        Column("MACs of a model", _weight),
        Column("In", lambda row: _models(point for point, _ in row.seen), number=False),
        Column("Reason", lambda row: row.kind[2] or "none given", number=False),
    )
    return tabulate(rows, columns)


def _share(one: Point, operator: LeftOperator) -> float | None:
    known = [part.macs for part in one.placement.placed]
    whole = sum(macs or 0 for macs in known)
    return None if operator.macs is None or None in known or not whole else operator.macs / whole


def _weight(row: Remaining) -> str:
    shares = [share for pair in row.seen if (share := _share(*pair)) is not None]
    if not shares:
        return "not known"
    return f"up to {units.percent(max(shares))}" if max(shares) > 0 else "none"


def _counts(counts: Iterable[int]) -> str:
    known = sorted(set(counts))
    return f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,} to {known[-1]:,}"


def _models(points: Iterable[Point]) -> str:
    labels = (f"{point.subject.model} {point.subject.precision} {point.load.phase}" for point in points)
    names = list(dict.fromkeys(labels))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


# --- what the first result costs --------------------------------------------------------------------------


def starts(points: Sequence[Point]) -> Table:
    """Load and first run of every point that was measured: providers compile when they load, or when they first run."""
    columns: tuple[Column[Point], ...] = (
        Column("Provider", provider, number=False),
        Column("Variant", lambda point: point.subject.model, number=False),
        Column("Precision", lambda point: str(point.subject.precision), number=False),
        Column("Batch", lambda point: str(point.load.batch), kept="varying"),
        Column("Threads", lambda point: str(point.place.threads), kept="varying"),
        Column("Phase", lambda point: point.load.phase, number=False),
        Column("Tokens", lambda point: units.known(point.load.length or None)),
        Column("Load (s)", lambda point: scaled(_load_plain_s(point), 1)),
        Column("Load compiled (s)", lambda point: scaled(_load_compiled_s(point), 1), kept="filled"),
        Column("Compiled in (s)", lambda point: scaled(point.receipt.compile_s, 1), kept="filled"),
        Column("First run (ms)", lambda point: scaled(point.first_run_s, 1e3)),
        Column("Later runs (ms)", of_latency(lambda latency: latency.median_s)),
        Column("Only the first (ms)", _compiled),
    )
    return tabulate([point for point in points if point.status == "ok"], columns)


def _load_plain_s(point: Point) -> float | None:
    return point.receipt.load_plain_s if point.receipt.compiled else point.load_s


def _load_compiled_s(point: Point) -> float | None:
    return point.load_s if point.receipt.compiled else None


def _compiled(point: Point) -> str:
    """What the first run takes longer than those after it: kernels and shaders are compiled, memory is set aside."""
    if point.first_run_s is None or point.latency is None:
        return MISSING
    return scaled(max(point.first_run_s - point.latency.median_s, 0.0), 1e3)


# --- which devices ---------------------------------------------------------------------------------------


def devices(points: Sequence[Point]) -> list[str]:
    """A line for each provider beside the CPU's: the device behind it, and how much of its memory is reported."""
    lines = []
    for name in dict.fromkeys(provider(point) for point in points if point.place.provider != CPU):
        mine = [point for point in points if provider(point) == name]
        names = dict.fromkeys(point.place.device for point in mine if point.place.device)
        what = ", ".join(names) or "device not named"
        reported = any(point.memory and point.memory.device_bytes is not None for point in mine)
        memory = "device memory is in the table" if reported else "host memory only: device memory is not reported"
        lines.append(f"{name}: {what}; {memory}.")
    return lines
