"""Tables of several providers in one run: placement, operators left to the CPU, and the time to the first result."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeprof import units
from edgeprof.report.table import CPU, MISSING, Column, Table, agreement, of_latency, provider, scaled, tabulate
from edgeprof.schema import LeftOperator, Placement, Point

NAMED = 3  # models that a cell lists by name


@dataclass(frozen=True)
class Lengths:
    """Points of one model, phase and provider at all lengths with the same placement."""

    members: tuple[Point, ...]

    @property
    def point(self) -> Point:
        return self.members[0]

    @property
    def placement(self) -> Placement:
        return self.point.placement

    @property
    def tokens(self) -> str:
        return ", ".join(units.known(point.load.length or None) for point in self.members)


def by_placement(points: Iterable[Point]) -> list[Lengths]:
    """Group points that differ in length only and have the same placement."""
    groups: dict[tuple[object, ...], list[Point]] = {}
    for point in points:
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


# --- placement -------------------------------------------------------------------------------------------


def placements(points: Iterable[Point]) -> Table:
    """A row for each model, phase and provider, with the lengths at which the same nodes ran on the provider."""
    columns: tuple[Column[Lengths], ...] = (
        Column("Provider", lambda row: provider(row.point), number=False),
        Column("Variant", lambda row: row.point.subject.model, number=False),
        Column("Precision", lambda row: str(row.point.subject.precision), number=False),
        Column("Batch", lambda row: str(row.point.load.batch), kept="varying"),
        Column("Phase", lambda row: row.point.load.phase, number=False),
        Column("Tokens", lambda row: row.tokens, number=False),
        Column("Shapes", _shapes, number=False, kept="varying"),
        Column("Status", lambda row: row.point.status, number=False, kept="varying"),
        Column("MACs on provider", lambda row: _span(row.members)),
        Column("Nodes on provider", lambda row: _nodes(row.placement)),
        Column("Partitions", lambda row: f"{row.placement.placed[0].partitions:,}"),
        Column("Copies", lambda row: f"{row.placement.copies:,}"),
        Column("Decomposed operators", lambda row: _written_out(row.placement), number=False, kept="filled"),
        Column("Difference from CPU", _difference, kept="filled"),
        Column("Assignment differs from profile", lambda row: row.placement.disagreement, number=False, kept="filled"),
    )
    return tabulate(by_placement(points), columns)


def _shapes(row: Lengths) -> str:
    return "fixed" if row.point.receipt.static else "as exported"


def _span(members: Iterable[Point]) -> str:
    """ "83 %", or "81 % to 83 %" over the lengths; all nodes include all MACs."""
    known = (1.0 if each.placement.nodes_share == 1 else each.placement.macs_share for each in members)
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


# --- operators on the CPU --------------------------------------------------------------------------------

Kind = tuple[str, str, str]
"""Provider, operator, reason."""


@dataclass(frozen=True)
class Remaining:
    """Operators of one type that one provider left to the CPU for one reason, in all points."""

    kind: Kind
    cases: tuple[tuple[Point, LeftOperator], ...]


def left(points: Iterable[Point]) -> Table:
    """Operators grouped by provider, type and reported reason; those with the most MACs first."""
    kinds: dict[Kind, list[tuple[Point, LeftOperator]]] = {}
    for point in points:
        for operator in point.placement.left:
            kinds.setdefault((provider(point), operator.operator, operator.reason), []).append((point, operator))
    rows = [Remaining(kind, tuple(cases)) for kind, cases in kinds.items()]
    rows.sort(key=lambda row: (row.kind[0], -max(_share(*pair) or 0.0 for pair in row.cases)))
    columns: tuple[Column[Remaining], ...] = (
        Column("Provider", lambda row: row.kind[0], number=False),
        Column("Operator", lambda row: row.kind[1], number=False),
        Column("Nodes per model", lambda row: _counts(operator.nodes for _, operator in row.cases)),
        Column("Share of MACs", _weight),
        Column("Models", lambda row: _models(point for point, _ in row.cases), number=False),
        Column("Reason", lambda row: row.kind[2] or "none reported", number=False),
    )
    return tabulate(rows, columns)


def _share(point: Point, operator: LeftOperator) -> float | None:
    known = [part.macs for part in point.placement.placed]
    whole = sum(macs or 0 for macs in known)
    return None if operator.macs is None or None in known or not whole else operator.macs / whole


def _weight(row: Remaining) -> str:
    shares = [share for pair in row.cases if (share := _share(*pair)) is not None]
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


# --- load and first run -----------------------------------------------------------------------------------


def starts(points: Sequence[Point]) -> Table:
    """Load and first run of every measured point: providers compile when they load a model or in the first run."""
    columns: tuple[Column[Point], ...] = (
        Column("Provider", provider, number=False),
        Column("Variant", lambda point: point.subject.model, number=False),
        Column("Precision", lambda point: str(point.subject.precision), number=False),
        Column("Batch", lambda point: str(point.load.batch), kept="varying"),
        Column("Threads", lambda point: str(point.place.threads), kept="varying"),
        Column("Phase", lambda point: point.load.phase, number=False),
        Column("Tokens", lambda point: units.known(point.load.length or None)),
        Column("Load (s)", lambda point: scaled(_load_plain_s(point), 1)),
        Column("Load, compiled (s)", lambda point: scaled(_load_compiled_s(point), 1), kept="filled"),
        Column("Compile time (s)", lambda point: scaled(point.receipt.compile_s, 1), kept="filled"),
        Column("First run (ms)", lambda point: scaled(point.first_run_s, 1e3)),
        Column("Later runs (ms)", of_latency(lambda latency: latency.median_s)),
        Column("First-run overhead (ms)", _first_run_overhead),
    )
    return tabulate([point for point in points if point.status == "ok"], columns)


def _load_plain_s(point: Point) -> float | None:
    return point.receipt.load_plain_s if point.receipt.compiled else point.load_s


def _load_compiled_s(point: Point) -> float | None:
    return point.load_s if point.receipt.compiled else None


def _first_run_overhead(point: Point) -> str:
    """Extra time of the first run in ms: kernels and shaders are compiled, memory is allocated."""
    if point.first_run_s is None or point.latency is None:
        return MISSING
    return scaled(max(point.first_run_s - point.latency.median_s, 0.0), 1e3)


# --- devices ---------------------------------------------------------------------------------------------


def devices(points: Sequence[Point]) -> list[str]:
    """A line for each baseline: its version; and for each provider other than the CPU: its device, and whether device
    memory is reported."""
    lines = []
    for name in dict.fromkeys(provider(point) for point in points if point.place.provider != CPU):
        mine = [point for point in points if provider(point) == name]
        names = dict.fromkeys(point.place.device for point in mine if point.place.device)
        device = ", ".join(names) or "device not named"
        if mine[0].place.is_baseline:
            lines.append(f"{name}: a baseline, measured in turn with onnxruntime, in processes of its own ({device}).")
            continue
        reported = any(point.memory and point.memory.device_bytes is not None for point in mine)
        memory = "device memory is in the table" if reported else "host memory only: device memory is not reported"
        lines.append(f"{name}: {device}; {memory}.")
    return lines
