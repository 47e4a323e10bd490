"""The int8 instructions of a processor, and which of them onnxruntime is likely to use.

The features are facts. onnxruntime does not report which of them it uses: that is inferred from the rules of its
kernel library (MLAS, onnxruntime/core/mlas/lib/platform.cpp) and compared with a measured matrix product.
"""

import statistics
from collections.abc import Iterable, Iterator, Sequence

from edgeprof import units
from edgeprof.schema import KernelTime, Machine
from edgeprof.text import joined

# For unsigned activations and signed weights, as in dynamic quantization to signed int8; best first.
X86 = (
    ("amx_int8", "AMX int8"),
    ("avx512_vnni", "AVX-512 VNNI"),
    ("avx_vnni", "AVX-VNNI"),
    ("avx512bw", "AVX-512"),
    ("avx2", "AVX2"),
)
ARM = (("i8mm", "i8mm"), ("asimddp", "dot product instructions"), ("asimd", "Neon"))
PLAIN = ("avx512bw", "avx2", "asimd")  # several instructions for one dot product

DOT_PRODUCT_RATIO = 2.0  # int8 over fp32; without dot product instructions int8 cannot be this much faster


def describe(machine: Machine, kernels: Iterable[KernelTime], threads: int) -> tuple[str, ...]:
    """Sentences about int8 on a machine: its features, the inferred choice, and the measured ratio to fp32."""
    return (_features(machine), *_inferred(machine), *_measured(machine, kernels, threads))


def _rows(machine: Machine) -> Sequence[tuple[str, str]]:
    return ARM if machine.architecture.lower() in ("aarch64", "arm64", "armv7l", "armv8l") else X86


def _features(machine: Machine) -> str:
    if not machine.cpu_features:
        return "The system does not report the int8 instructions of its processor."
    rows = _rows(machine)
    present = [name for feature, name in rows if feature in machine.cpu_features]
    missing = [name for feature, name in rows if feature not in machine.cpu_features and feature not in PLAIN]
    have = f"{machine.cpu} has {joined(present)}" if present else f"{machine.cpu} has no int8 instructions"
    return f"{have}; it lacks {joined(missing)}." if missing else f"{have}."


def best(machine: Machine) -> tuple[str, str] | None:
    """The feature that onnxruntime prefers on this machine, and its name."""
    return next((row for row in _rows(machine) if row[0] in machine.cpu_features), None)


def _inferred(machine: Machine) -> Iterator[str]:
    chosen = best(machine)
    if chosen:
        without = " without dot products" if chosen[0] in PLAIN else ""
        yield (
            "Inferred, not observed: by the rules of its kernel library, onnxruntime multiplies by signed int8 weights "
            f"with {chosen[1]}{without} here."
        )


def speeds(kernels: Iterable[KernelTime], threads: int) -> dict[int, float]:
    """Rows -> speed of one product in int8 relative to fp32, from medians over processes run in turn."""
    times: dict[tuple[int, str], list[float]] = {}
    for kernel in kernels:
        if kernel.median_s and kernel.threads == threads:
            times.setdefault((kernel.tokens, kernel.precision), []).append(kernel.median_s)
    medians = {key: statistics.median(values) for key, values in times.items()}
    rows = sorted({tokens for tokens, _ in medians})
    return {
        tokens: medians[tokens, "fp32"] / medians[tokens, "int8"]
        for tokens in rows
        if (tokens, "fp32") in medians and (tokens, "int8") in medians
    }


def _measured(machine: Machine, kernels: Iterable[KernelTime], threads: int) -> Iterator[str]:
    known = list(kernels)
    ratios = speeds(known, threads)
    if not ratios:
        return
    width = known[-1].width
    rates = [f"{units.ratio(speed)} as fast at {units.counted(tokens, 'token')}" for tokens, speed in ratios.items()]
    result = f"Measured: one product with {width} x {width} weights in int8 is {joined(rates)} as in fp32"
    longest, chosen = ratios[max(ratios)], best(machine)
    if not chosen:
        yield f"{result}."
    elif chosen[0] in PLAIN:
        yield f"{result}; without dot product instructions int8 gains little where arithmetic is the limit."
    elif longest >= DOT_PRODUCT_RATIO:
        yield f"{result}, which suggests that {chosen[1]} is used."
    else:
        yield f"{result}: so little that {chosen[1]} may be unused, or the machine was busy."
