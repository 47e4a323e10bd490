"""What a processor offers for int8, and what can be known of its use.

The features are facts. Which of them the runtime uses it does not tell: that is inferred from how its library of
kernels (MLAS, onnxruntime/core/mlas/lib/platform.cpp) chooses, and held against a measured product of matrices.
"""

import statistics
from collections.abc import Iterable, Iterator, Sequence

from edgeprof import units
from edgeprof.schema import KernelTime, Machine
from edgeprof.text import joined

# For unsigned activations and signed weights, as dynamic quantization to signed int8 makes them; the best one first.
X86 = (
    ("amx_int8", "AMX int8"),
    ("avx512_vnni", "AVX-512 VNNI"),
    ("avx_vnni", "AVX-VNNI"),
    ("avx512bw", "AVX-512"),
    ("avx2", "AVX2"),
)
ARM = (("i8mm", "i8mm"), ("asimddp", "dot product instructions"), ("asimd", "Neon"))
PLAIN = ("avx512bw", "avx2", "asimd")  # several instructions where a dot product takes one

DOT_PRODUCT_RATIO = 2.0  # fp32 multiplies as many numbers an instruction as int8 does in two without dot products


def told(machine: Machine, kernels: Iterable[KernelTime], threads: int) -> tuple[str, ...]:
    return (_features(machine), *_inferred(machine), *_measured(machine, kernels, threads))


def _rows(machine: Machine) -> Sequence[tuple[str, str]]:
    return ARM if machine.architecture.lower() in ("aarch64", "arm64", "armv7l", "armv8l") else X86


def _features(machine: Machine) -> str:
    if not machine.cpu_features:
        return "The system does not tell which instructions for int8 the processor has."
    rows = _rows(machine)
    there = [name for feature, name in rows if feature in machine.cpu_features]
    missing = [name for feature, name in rows if feature not in machine.cpu_features and feature not in PLAIN]
    have = f"{machine.cpu} has {joined(there)}" if there else f"{machine.cpu} has no instructions for int8"
    return f"{have}; it lacks {joined(missing)}." if missing else f"{have}."


def best(machine: Machine) -> tuple[str, str] | None:
    """The feature that onnxruntime would choose first, and its name."""
    return next((row for row in _rows(machine) if row[0] in machine.cpu_features), None)


def _inferred(machine: Machine) -> Iterator[str]:
    chosen = best(machine)
    if chosen:
        without = " without dot products" if chosen[0] in PLAIN else ""
        yield (
            "Inferred, not seen: by the published rules of its kernels onnxruntime multiplies by signed int8 weights "
            f"with {chosen[1]}{without} here."
        )


def speeds(kernels: Iterable[KernelTime], threads: int) -> dict[int, float]:
    """How many times as fast one product is in int8 as in fp32, by rows: medians over processes visited in turn."""
    seen: dict[tuple[int, str], list[float]] = {}
    for one in kernels:
        if one.median_s and one.threads == threads:
            seen.setdefault((one.tokens, one.precision), []).append(one.median_s)
    middle = {key: statistics.median(values) for key, values in seen.items()}
    rows = sorted({tokens for tokens, _ in middle})
    return {
        tokens: middle[tokens, "fp32"] / middle[tokens, "int8"]
        for tokens in rows
        if (tokens, "fp32") in middle and (tokens, "int8") in middle
    }


def _measured(machine: Machine, kernels: Iterable[KernelTime], threads: int) -> Iterator[str]:
    known = list(kernels)
    found = speeds(known, threads)
    if not found:
        return
    width = known[-1].width
    rates = [f"{units.ratio(speed)} as fast at {units.counted(tokens, 'token')}" for tokens, speed in found.items()]
    said = f"Measured: one product with {width} x {width} weights is in int8, against fp32, {joined(rates)}"
    many, chosen = found[max(found)], best(machine)
    if not chosen:
        yield f"{said}."
    elif chosen[0] in PLAIN:
        yield f"{said}; without dot product instructions int8 has little to win where arithmetic is the limit."
    elif many >= DOT_PRODUCT_RATIO:
        yield f"{said}, which speaks for {chosen[1]} being used."
    else:
        yield f"{said}: so little that {chosen[1]} may be unused, or the machine was busy."
