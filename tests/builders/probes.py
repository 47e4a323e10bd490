"""A probe with times that a person can reckon with, kept for this machine."""

from pathlib import Path

from edgeprof import store
from edgeprof.measure import machine
from edgeprof.schema import EDITION, Canaries, Machine, Probe, SessionMemory, Work, WorkTime, encode

FAST, SLOW = (1e-3, 1.1e-3, 1.2e-3), (2e-3, 2.2e-3, 2.4e-3)


def product(precision: str, rows: int, macs: int, seconds: tuple[float, ...], weights_bytes: int = 0) -> WorkTime:
    sizes = {"rows": rows, "inner": 10, "columns": macs // rows // 10}
    work = Work(operator="MatMul", precision=precision, sizes=sizes, macs=macs, weights_bytes=weights_bytes)
    return WorkTime(work=work, best_s=seconds, medians_s=seconds)


def chain(nodes: int, *seconds: float) -> WorkTime:
    work = Work(operator="chain", precision="fp32", sizes={"elements": 16}, nodes=nodes)
    return WorkTime(work=work, best_s=seconds, medians_s=seconds)


TIMES = (
    product("fp32", 100, 100_000_000, FAST),  # 100 GMAC/s
    product("fp32", 100, 100_000_000, SLOW),
    product("fp32", 1, 10_000_000, FAST, weights_bytes=40_000_000),  # 40 GB/s
    product("int8", 100, 300_000_000, FAST),  # 300 GMAC/s
    chain(1, 3e-6, 3e-6),  # 2 µs, and 1 µs for each node
    chain(16, 18e-6, 18e-6),
    chain(64, 66e-6, 66e-6),
)


def probe(where: Machine, threads: int = 2) -> Probe:
    return Probe(
        edition=EDITION,
        machine=where,
        threads=threads,
        started_at="2026-01-01T00:00:00+00:00",
        took_s=60.0,
        imports_bytes=50_000_000,
        memory=(SessionMemory(precision="", file_bytes=400, loaded_bytes=10_000_000, run_bytes=0),),
        times=TIMES,
        canaries=(Canaries(matrices_s=1e-3, vector_s=1e-3),),
    )


def keep(threads: int | None = None) -> Path:
    """Keep such a probe, as that of this machine."""
    here = machine.describe()
    threads = threads or here.cores_allowed
    file = store.cache_folder() / f"probe-{here.machine_id}-{threads}.json"
    store.write_atomic(file, encode(probe(here, threads)))
    return file
