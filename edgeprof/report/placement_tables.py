"""Tables of several providers in one run: what ran where, what was left to the CPU, what the first result costs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeprof import units
from edgeprof.report.table import CPU, MISSING, Column, Table, provider, scaled, tabulate
from edgeprof.schema import LeftOperator, PlacedPoint, Placement, Point

NAMED = 3  # models that a cell names


@dataclass(frozen=True)
class Lengths:
    """One model in one phase on one provider, and the points at all lengths where the same nodes ran there."""

    members: tuple[PlacedPoint, ...]

    @property
    def point(self) -> Point:
        return self.members[0].point

    @property
    def placement(self) -> Placement:
        return self.members[0].placement

    @property
    def tokens(self) -> str:
        return ", ".join(units.known(one.point.length or None) for one in self.members)


def alike(found: Iterable[PlacedPoint]) -> list[Lengths]:
    """Points that differ in nothing but the length, and what follows from it."""
    groups: dict[tuple[object, ...], list[PlacedPoint]] = {}
    for one in found:
        point, placement = one.point, one.placement
        groups.setdefault(
            (
                *(point.variant, point.precision, point.provider, point.emulated, point.phase),
                *(point.batch, point.threads, point.status, point.static, point.agrees),
                tuple((part.provider, part.nodes, part.partitions) for part in placement.placed),
                tuple((left.operator, left.nodes, left.reason) for left in placement.left),
                *(placement.copies, tuple(placement.written_out.items()), placement.disagreement),
            ),
            [],
        ).append(one)
    rows = [Lengths(tuple(sorted(some, key=lambda one: one.point.length))) for some in groups.values()]
    return sorted(rows, key=lambda row: (row.point.emulated, row.point.provider))


# --- what ran where --------------------------------------------------------------------------------------


def placements(found: Iterable[PlacedPoint]) -> Table:
    """A row for each model, phase and provider, with the lengths where the same nodes ran there."""
    columns: tuple[Column[Lengths], ...] = (
        Column("Provider", lambda row: provider(row.point), number=False),
        Column("Variant", lambda row: row.point.variant, number=False),
        Column("Precision", lambda row: row.point.precision, number=False),
        Column("Batch", lambda row: str(row.point.batch), kept="varying"),
        Column("Phase", lambda row: row.point.phase, number=False),
        Column("Tokens", lambda row: row.tokens, number=False),
        Column("Shapes", lambda row: "fixed" if row.point.static else "as exported", number=False, kept="varying"),
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


def _span(members: Iterable[PlacedPoint]) -> str:
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
    worst = max(row.members, key=lambda one: one.point.max_rel_error or 0.0).point
    if worst.max_rel_error is None:
        return MISSING
    return units.number(worst.max_rel_error, 2) + (": outside tolerance" if worst.verdict_told else "")


# --- what was left to the CPU ----------------------------------------------------------------------------

Kind = tuple[str, str, str]
"""Provider, operator, reason."""


@dataclass(frozen=True)
class Remaining:
    """Operators of one type that one provider did not take for one reason, in all points."""

    kind: Kind
    seen: tuple[tuple[PlacedPoint, LeftOperator], ...]


def left(found: Iterable[PlacedPoint]) -> Table:
    """Operators grouped with the reason that the provider gave; those with the most MACs first."""
    kinds: dict[Kind, list[tuple[PlacedPoint, LeftOperator]]] = {}
    for one in found:
        for operator in one.placement.left:
            kinds.setdefault((provider(one.point), operator.operator, operator.reason), []).append((one, operator))
    rows = [Remaining(kind, tuple(seen)) for kind, seen in kinds.items()]
    rows.sort(key=lambda row: (row.kind[0], -max(_share(*pair) or 0.0 for pair in row.seen)))
    columns: tuple[Column[Remaining], ...] = (
        Column("Provider", lambda row: row.kind[0], number=False),
        Column("Operator", lambda row: row.kind[1], number=False),
        Column("Nodes in a model", lambda row: _counts(operator.nodes for _, operator in row.seen)),
        Column("MACs of a model", _weight),
        Column("In", lambda row: _models(one.point for one, _ in row.seen), number=False),
        Column("Reason", lambda row: row.kind[2] or "none given", number=False),
    )
    return tabulate(rows, columns)


def _share(one: PlacedPoint, operator: LeftOperator) -> float | None:
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
    names = list(dict.fromkeys(f"{point.variant} {point.precision} {point.phase}" for point in points))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


# --- what the first result costs --------------------------------------------------------------------------


def starts(points: Sequence[Point]) -> Table:
    """Load and first run of every point that was measured: providers compile when they load, or when they first run."""
    columns: tuple[Column[Point], ...] = (
        Column("Provider", provider, number=False),
        Column("Variant", lambda point: point.variant, number=False),
        Column("Precision", lambda point: point.precision, number=False),
        Column("Batch", lambda point: str(point.batch), kept="varying"),
        Column("Threads", lambda point: str(point.threads), kept="varying"),
        Column("Phase", lambda point: point.phase, number=False),
        Column("Tokens", lambda point: units.known(point.length or None)),
        Column("Load (s)", lambda point: scaled(point.load_plain_s if point.compiled else point.load_s, 1)),
        Column(
            "Load compiled (s)", lambda point: scaled(point.load_s, 1) if point.compiled else MISSING, kept="filled"
        ),
        Column("Compiled in (s)", lambda point: scaled(point.compile_s, 1), kept="filled"),
        Column("First run (ms)", lambda point: scaled(point.first_run_s, 1e3)),
        Column("Later runs (ms)", lambda point: scaled(point.latency_median_s, 1e3)),
        Column("Only the first (ms)", _compiled),
    )
    return tabulate([point for point in points if point.status == "ok"], columns)


def _compiled(point: Point) -> str:
    """What the first run takes longer than those after it: kernels and shaders are compiled, memory is set aside."""
    if point.first_run_s is None or point.latency_median_s is None:
        return MISSING
    return scaled(max(point.first_run_s - point.latency_median_s, 0.0), 1e3)


# --- which devices ---------------------------------------------------------------------------------------


def devices(points: Sequence[Point]) -> list[str]:
    """A line for each provider beside the CPU's: the device behind it, and how much of its memory is told."""
    lines = []
    for name in dict.fromkeys(provider(point) for point in points if point.provider != CPU):
        mine = [point for point in points if provider(point) == name]
        what = ", ".join(dict.fromkeys(point.device for point in mine if point.device)) or "device not named"
        told = any(point.device_memory_bytes is not None for point in mine)
        memory = "device memory is in the table" if told else "host memory only: no device memory is told"
        lines.append(f"{name}: {what}; {memory}.")
    return lines
