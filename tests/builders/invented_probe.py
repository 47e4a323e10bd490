"""A probe whose times a person can reckon with: a run takes 2 µs, each node 1 µs, and work what is said here."""

from edgeprof.schema import EDITION, Machine, Probe, SessionMemory, Work, WorkTime

RUN_S, NODE_S = 2e-6, 1e-6


def time(work: Work, work_s: float) -> WorkTime:
    """Some work that takes so many seconds beyond its run and its nodes; its median is twice as long."""
    seconds = RUN_S + work.nodes * NODE_S + work_s
    return WorkTime(work=work, best_s=(seconds, 1.5 * seconds), medians_s=(2 * seconds, 2 * seconds))


def chain(nodes: int) -> WorkTime:
    return time(Work(operator="chain", precision="fp32", sizes={"elements": 16}, nodes=nodes), 0.0)


def mixed(nodes: int, work_s: float) -> WorkTime:
    sizes = {"products": 24, "elements": 256}
    return time(Work(operator="mixed chain", precision="fp32", sizes=sizes, nodes=nodes), work_s)


def product(rows: int, inner: int, columns: int, work_s: float, precision: str = "fp32", nodes: int = 1) -> WorkTime:
    work = Work(
        operator="MatMul",
        precision=precision,
        sizes={"rows": rows, "inner": inner, "columns": columns},
        nodes=nodes,
        macs=nodes * rows * inner * columns,
        weights_bytes=nodes * 4 * inner * columns,
        activation_bytes=nodes * 4 * rows * (inner + columns),
    )
    return time(work, work_s)


def rows(operator: str, rows: int, columns: int, work_s: float) -> WorkTime:
    """An operator that reads a tensor and writes one."""
    sizes = {"rows": rows, "columns": columns}
    return time(Work(operator=operator, precision="fp32", sizes=sizes, activation_bytes=8 * rows * columns), work_s)


def resized(channels: int, side: int, to: int, work_s: float) -> WorkTime:
    """A square of places, cubically interpolated."""
    sizes, results = {"rows": channels * to, "columns": to, "taps": 16}, channels * to**2
    moved = 4 * (channels * side**2 + results)
    work = Work(operator="Resize", precision="fp32", sizes=sizes, macs=16 * results, activation_bytes=moved)
    return time(work, work_s)


def probe(*times: WorkTime, threads: int = 2, provider: str = "cpu", edition: int = EDITION) -> Probe:
    return Probe(
        edition=edition,
        machine=Machine.unrecorded("board"),
        provider=provider,
        threads=threads,
        started_at="2026-01-01T00:00:00+00:00",
        took_s=60.0,
        imports_bytes=50_000_000,
        memory=(SessionMemory(precision="", file_bytes=400, loaded_bytes=10_000_000, run_bytes=3_000_000),),
        times=(chain(1), chain(16), chain(64), *times),
    )
