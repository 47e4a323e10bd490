"""Makes the fixed record set in tests/data/run: invented, plausible, the same every time.

    python tests/data/make_run.py

The numbers follow a small cost model (work over speed, plus an overhead a layer, times noise between and within
processes); they describe no real machine. Sizes are those of the real variants.
"""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from edgeprof import store
from edgeprof.schema import (
    Facts,
    Load,
    Machine,
    Measurement,
    Outcome,
    Phase,
    Place,
    PointKey,
    Precision,
    Reading,
    Status,
    Subject,
    WeightsSource,
    encode,
    encode_pretty,
)

MACHINE = Machine(
    machine_id="5f1e0c9a7b3d2e48",
    cpu="Example Edge CPU @ 2.40GHz",
    cpu_features=("avx2", "fma", "avx512f", "avx512_vnni"),
    architecture="x86_64",
    cores_allowed=2,
    governor="performance",
    memory_bytes=8_589_934_592,
    memory_limit_bytes=4_294_967_296,
    os="Linux 6.1 (Debian GNU/Linux 12)",
    versions={"python": "3.11.7", "edgeprof": "0.1.0", "onnxruntime": "1.32.0", "numpy": "2.4.6"},
)


class Size(NamedTuple):
    variant: str
    family: str
    params: int
    layers: int
    width: int


SIZES = {
    size.variant: size
    for size in (
        Size("gpt2", "gpt2", 124_439_808, 12, 768),
        Size("gpt2-medium", "gpt2", 354_823_168, 24, 1024),
        Size("gpt2-large", "gpt2", 774_030_080, 36, 1280),
        Size("bert-tiny", "bert", 4_385_920, 2, 128),
        Size("bert-mini", "bert", 11_170_560, 4, 256),
        Size("bert-small", "bert", 28_763_648, 4, 512),
        Size("bert-medium", "bert", 41_373_184, 8, 512),
        Size("bert-base", "bert", 109_482_240, 12, 768),
        Size("bert-large", "bert", 335_141_888, 24, 1024),
        Size("vit-tiny", "vit", 5_717_416, 12, 192),
        Size("vit-small", "vit", 22_050_664, 12, 384),
        Size("vit-base", "vit", 86_567_656, 12, 768),
    )
}
SMALL_SET = ("gpt2", "gpt2-medium", "bert-tiny", "bert-small", "bert-base", "vit-tiny", "vit-base")
LENGTHS = (16, 64, 128, 512)
IMAGE_LENGTHS = {16: 10, 64: 50, 128: 122, 256: 226, 512: 485}  # the largest square image with at most that many


class Task(NamedTuple):
    size: Size
    precision: str
    phase: Phase
    tokens: int
    past_tokens: int


def tasks(variants: Sequence[str], lengths: Sequence[int]) -> Iterator[Task]:
    for size in (SIZES[name] for name in variants):
        for precision in ("fp32", "int8"):
            for length in lengths:
                tokens = IMAGE_LENGTHS[length] if size.family == "vit" else length
                yield Task(size, precision, "prefill", tokens, 0)
                if size.family == "gpt2":
                    yield Task(size, precision, "decode", 1, length)


def macs(task: Task) -> int:
    blocks = 12 * task.size.layers * task.size.width**2
    attention = 2 * task.size.layers * task.size.width * (task.tokens + task.past_tokens)
    head = 50257 * task.size.width if task.size.family == "gpt2" else 0
    return task.tokens * (blocks + attention + head)


def latency_s(task: Task) -> float:
    """Work over speed, or weights over bandwidth where that is more, plus 30 us a layer."""
    speed, weight_bytes = {"fp32": (9e10, 4), "int8": (2.6e11, 1)}[task.precision]
    stream = task.size.params * weight_bytes / 2.2e10
    cache = task.past_tokens * task.size.layers * task.size.width * 8 / 1.1e10
    return max(macs(task) / speed, stream) + cache + 3e-5 * task.size.layers


def working_bytes(task: Task) -> int:
    scores = task.size.layers * task.size.width * (task.tokens + task.past_tokens)
    working = 1_500_000 + 40 * task.tokens * task.size.width + 8 * scores + 4 * task.tokens**2 * 12
    return working + (4 * 50257 * task.tokens if task.size.family == "gpt2" else 0)


def predicted_bytes(task: Task) -> int | None:
    """Without what the runtime adds, and a quarter less for int8; images have none."""
    if task.size.family == "vit":
        return None
    return (working_bytes(task) - 1_200_000) * (4 if task.precision == "fp32" else 3) // 4


def reading(task: Task, dice: random.Random, runs: int) -> Reading:
    middle = latency_s(task) * dice.lognormvariate(0, 0.015)  # between processes
    latencies = [middle * dice.lognormvariate(0, 0.006) for _ in range(runs)]  # within one
    imports = 62_000_000 + dice.randrange(400_000)
    weights = task.size.params * (4 if task.precision == "fp32" else 1) + 6_000_000
    return Reading(
        providers_active=("CPUExecutionProvider",),
        load_s=round(0.05 + weights / 8e8, 4),
        first_run_s=round(1.4 * middle, 7),
        warmup_runs=3,
        latencies_s=tuple(round(value, 7) for value in latencies),
        memory_imports_bytes=imports,
        memory_loaded_bytes=imports + weights,
        memory_loaded_file_bytes=0,
        memory_load_peak_bytes=imports + weights + 3_000_000,
        memory_run_peak_bytes=imports + weights + working_bytes(task),
    )


def measurement(task: Task, round_number: int, dice: random.Random, runs: int) -> Measurement:
    status, error = outcome(task)
    return Measurement(
        key=PointKey(
            subject=Subject(
                model=task.size.variant,
                precision=Precision(recipe=task.precision),
                weights=WeightsSource(kind="random"),
                digest=f"{task.size.variant}-{task.precision}",
            ),
            load=Load(phase=task.phase, tokens=task.tokens, past_tokens=task.past_tokens),
            place=Place(machine_id=MACHINE.machine_id, provider="cpu", threads=2),
        ),
        round=round_number,
        facts=Facts(
            family=task.size.family,
            params=task.size.params,
            macs=macs(task),
            memory_predicted_bytes=predicted_bytes(task),
        ),
        settings_key="default",
        outcome=Outcome(
            status=status,
            error=error,
            reading=reading(task, dice, runs) if status == "ok" else None,
            started_at=f"2026-03-01T12:0{round_number}:00Z",
        ),
    )


def outcome(task: Task) -> tuple[Status, str]:
    """One point that failed and one that took too long, so that a report has both."""
    longest = task.tokens == 512 and task.precision == "fp32"
    if longest and task.size.variant == "gpt2-medium":
        return "timeout", "No answer within 120 s. Raise --timeout, or ask for less."
    if longest and task.size.variant == "bert-small":
        return "failed", "The child process was killed (SIGKILL), most likely for using more memory than there is."
    return "ok", ""


def records(
    variants: Sequence[str] = SMALL_SET, lengths: Sequence[int] = LENGTHS, *, rounds: int = 3, runs: int = 5
) -> list[Measurement]:
    """Visits in the order a run makes them: round by round."""
    dice = random.Random(1)
    every = list(tasks(variants, lengths))
    return [measurement(task, number, dice, runs) for number in range(rounds) for task in every]


def main() -> None:
    folder = Path(__file__).parent / "run"
    store.write_atomic(folder / store.MACHINE_FILE, encode_pretty(MACHINE))
    lines = b"".join(encode(record) + b"\n" for record in records())
    store.write_atomic(folder / store.MEASUREMENTS_FILE, lines)


if __name__ == "__main__":
    main()
