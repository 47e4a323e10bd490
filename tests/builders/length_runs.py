"""Made-up runs of bert-base and gpt2 over token lengths."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from builders import records

from edgeprof import store
from edgeprof.schema import Facts, Machine, Measurement, Outcome, Reading

MACHINE = Machine(
    machine_id="made-up",
    cpu="Example Edge CPU",
    cpu_features=("avx2",),
    architecture="x86_64",
    cores_allowed=2,
    governor="performance",
    memory_bytes=8_000_000_000,
    memory_limit_bytes=None,
    os="Linux",
    versions={"edgeprof": "0.1.0"},
)
MODELS = {"bert-base": ("bert", 109_482_240), "gpt2": ("gpt2", 124_439_808)}
LENGTHS = (16, 32, 64, 128, 256)
LOADED = 500_000_000


def line_s(tokens: int) -> float:
    return 0.002 + 0.001 * tokens


def line_bytes(tokens: int) -> int:
    return 5_000_000 + 100_000 * tokens


def visits(
    models: Sequence[str] = tuple(MODELS),
    lengths: Sequence[int] = LENGTHS,
    *,
    seconds: Callable[[int], float] = line_s,
    working: Callable[[int], int] = line_bytes,
    **fields: Any,
) -> list[Measurement]:
    """Three rounds, 1 % apart."""
    return [
        visit(model, tokens, number, seconds(tokens) * (1 + 0.01 * number), working(tokens), **fields)
        for number in range(3)
        for model in models
        for tokens in lengths
    ]


def visit(model: str, tokens: int, number: int, seconds: float, working: int, **fields: Any) -> Measurement:
    family, params = MODELS[model]
    reading = Reading(
        providers_active=("CPUExecutionProvider",),
        load_s=0.5,
        first_run_s=2 * seconds,
        warmup_runs=3,
        latencies_s=(seconds,) * 5,
        memory_imports_bytes=60_000_000,
        memory_loaded_bytes=LOADED,
        memory_loaded_file_bytes=0,
        memory_load_peak_bytes=LOADED,
        memory_run_peak_bytes=LOADED + working,
    )
    plain = Measurement(
        key=records.key(model, tokens=tokens, machine_id=MACHINE.machine_id),
        round=number,
        facts=Facts(family=family, params=params, macs=85_000_000 * tokens),
        settings_key="default",
        outcome=Outcome(status="ok", reading=reading, started_at="2026-03-01T12:00:00Z"),
    )
    return records.changed(plain, **fields)


def write(folder: Path, visits: Sequence[Measurement]) -> Path:
    store.open_run(folder, MACHINE)
    for record in visits:
        store.append_measurement(folder, record)
    return folder
