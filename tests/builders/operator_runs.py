"""What was seen of operators, by hand; and a run of bert-base whose int8 wins at 16 tokens and loses at 64."""

from pathlib import Path
from typing import Any

from builders import records

from edgeprof import store
from edgeprof.schema import (
    KernelTime,
    Machine,
    MatrixTime,
    Measurement,
    OperatorPass,
    OperatorReading,
    OperatorTime,
    Outcome,
    Reading,
    Status,
    encode_pretty,
)


def operators(times: dict[str, tuple[int, float]], *matrices: MatrixTime, plain_s: float = 0.0) -> OperatorReading:
    """By operator type its nodes and their seconds; a run without the profiler takes as long, or `plain_s`."""
    whole_s = sum(seconds for _, seconds in times.values())
    return OperatorReading(
        operators=tuple(OperatorTime(operator=name, nodes=n, time_s=s) for name, (n, s) in times.items()),
        matrices=matrices,
        profiled_latencies_s=(1.1 * whole_s,),
        latencies_s=(plain_s or whole_s,),
    )


def matrix(operator: str, inner: int, columns: int, seconds: float, **fields: Any) -> MatrixTime:
    plain: dict[str, Any] = {"dtype": "float", "second": "constant", "nodes": 1}
    return MatrixTime(operator=operator, inner=inner, columns=columns, time_s=seconds, **{**plain, **fields})


def profiled(seen: OperatorReading | None, **fields: Any) -> OperatorPass:
    status: Status = "ok" if seen else "failed"
    outcome = Outcome(status=status, reading=seen, started_at="2026-03-01T12:00:00Z")
    return records.changed(OperatorPass(key=records.key(), settings_key="s", outcome=outcome), **fields)


# --- a run ---------------------------------------------------------------------------------------------

MACHINE = Machine(
    machine_id="m",
    cpu="Example CPU",
    cpu_features=("avx2", "avx512bw", "avx512_vnni"),
    architecture="x86_64",
    cores_allowed=2,
    governor="performance",
    memory_bytes=8_000_000_000,
    memory_limit_bytes=None,
    os="Linux",
    versions={"onnxruntime": "1.32.0"},
)
SECONDS = {("fp32", 16): 0.02, ("int8", 16): 0.01, ("fp32", 64): 0.04, ("int8", 64): 0.1}


def visits() -> list[Measurement]:
    return [
        Measurement(
            key=records.key(precision=precision, tokens=tokens),
            facts=records.facts(),
            round=number,
            settings_key="s",
            outcome=Outcome(
                status="ok", reading=reading(seconds * (1 + number / 1000)), started_at="2026-03-01T12:00:00Z"
            ),
        )
        for number in range(3)
        for (precision, tokens), seconds in SECONDS.items()
    ]


def reading(seconds: float) -> Reading:
    return Reading(
        providers_active=("CPUExecutionProvider",),
        load_s=0.5,
        first_run_s=2 * seconds,
        warmup_runs=3,
        latencies_s=(seconds,) * 5,
        memory_imports_bytes=60_000_000,
        memory_loaded_bytes=160_000_000,
        memory_loaded_file_bytes=0,
        memory_load_peak_bytes=170_000_000,
        memory_run_peak_bytes=200_000_000,
    )


def passes() -> list[OperatorPass]:
    """At 16 tokens the matmuls gain; at 64 they do not, and dequantizing takes half of the time."""
    seen = {
        ("fp32", 16): operators({"MatMul": (72, 0.015), "Attention": (12, 0.005)}),
        ("int8", 16): operators({"DynamicQuantizeMatMul": (72, 0.006), "Attention": (12, 0.004)}),
        ("fp32", 64): operators({"MatMul": (72, 0.03), "Attention": (12, 0.01)}),
        ("int8", 64): operators(
            {"DequantizeLinear": (1, 0.05), "MatMul": (72, 0.04), "Attention": (12, 0.01)},
            matrix("MatMul", 768, 3072, 0.04, second="computed"),
        ),
    }
    return [profiled(one, precision=precision, tokens=tokens) for (precision, tokens), one in seen.items()]


def products() -> list[KernelTime]:
    seconds = {("fp32", 1): 0.002, ("int8", 1): 0.001, ("fp32", 128): 0.008, ("int8", 128): 0.002}
    return [
        KernelTime(
            precision=precision,  # type: ignore[arg-type]
            tokens=tokens,
            width=2048,
            threads=2,
            round=0,
            status="ok",
            median_s=median_s,
            machine_id="m",
            started_at="2026-03-01T12:00:00Z",
        )
        for (precision, tokens), median_s in seconds.items()
    ]


def write(folder: Path) -> Path:
    store.write_atomic(folder / store.MACHINE_FILE, encode_pretty(MACHINE))
    for measurement in visits():
        store.append_measurement(folder, measurement)
    for one in passes():
        store.append_operators(folder, one)
    for product in products():
        store.append_kernel(folder, product)
    return folder
