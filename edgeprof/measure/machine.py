"""The machine of a run, read from the system; `root` is where its file tree starts (tests pass their own)."""

import os
import platform
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeprof.schema import Machine
from edgeprof.store import content_key

ROOT = Path("/")

# Instruction sets that decide how fast matrix products are in fp32, bf16, fp16 and int8.
X86_FEATURES = (
    *("avx", "avx2", "fma", "f16c", "avx_vnni", "avx_vnni_int8"),
    *("avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "amx_fp16"),
)
ARM_FEATURES = ("asimd", "asimdhp", "asimddp", "asimdfhm", "i8mm", "bf16", "sve", "sve2", "svei8mm", "svebf16", "sme")
FEATURES = X86_FEATURES + ARM_FEATURES
APPLE_FEATURES = {"FEAT_DotProd": "asimddp", "FEAT_FP16": "asimdhp", "FEAT_I8MM": "i8mm", "FEAT_BF16": "bf16"}


def describe(root: Path = ROOT) -> Machine:
    """The machine as this process may use it.

    Its `machine_id` covers what must agree for times to be comparable: CPU, features, cores, governor, operating
    system and onnxruntime; not the amount of memory, nor the patch level of the kernel or of Python.
    """
    import psutil

    cpu, features = _cpu(root)
    architecture = platform.machine()
    cores, clock = cores_allowed(root), governor(root)
    versions = _versions()
    comparable = (cpu, features, architecture, cores, clock, platform.system(), versions["onnxruntime"])
    return Machine(
        machine_id=content_key(*comparable)[:12],
        cpu=cpu,
        cpu_features=features,
        architecture=architecture,
        cores_allowed=cores,
        governor=clock,
        memory_bytes=psutil.virtual_memory().total,
        memory_limit_bytes=memory_limit(root),
        os=_os(),
        versions=versions,
    )


# --- processor -----------------------------------------------------------------------------------------


def _cpu(root: Path) -> tuple[str, tuple[str, ...]]:
    """Its name, and the FEATURES it has (none where the system does not report them)."""
    if sys.platform == "darwin":
        return _apple_cpu()
    facts = _cpuinfo(_text(root / "proc/cpuinfo"))
    board = _text(root / "proc/device-tree/model").rstrip("\0")  # ARM boards name themselves here
    name = facts.get("model name") or board or facts.get("hardware") or platform.processor() or platform.machine()
    flags = {*facts.get("flags", "").split(), *facts.get("features", "").split()}
    return name.strip(), tuple(feature for feature in FEATURES if feature in flags)


def _cpuinfo(text: str) -> dict[str, str]:
    """The facts of the first processor, keys in lower case."""
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            facts.setdefault(key.strip().lower(), value.strip())
    return facts


def _apple_cpu() -> tuple[str, tuple[str, ...]]:
    x86 = _sysctl("machdep.cpu.leaf7_features", "machdep.cpu.features").lower().replace("avx1.0", "avx").split()
    arm = [name for key, name in APPLE_FEATURES.items() if _sysctl(f"hw.optional.arm.{key}") == "1"]
    name = _sysctl("machdep.cpu.brand_string") or platform.processor()
    return name, tuple(feature for feature in FEATURES if feature in {*x86, *arm})


def _sysctl(*names: str) -> str:
    import subprocess

    result = subprocess.run(["sysctl", "-n", *names], capture_output=True, text=True, check=False)
    return result.stdout.strip()


def cores_allowed(root: Path = ROOT) -> int:
    """Cores this process may use: its affinity, limited to whole cores by the CPU quota of its cgroups."""
    cores = len(cpus_allowed())
    quotas = [quota for folder in cgroups(root, "cpu") if (quota := _cpu_quota(folder)) is not None]
    return max(1, int(min([cores, *quotas])))


def cpus_allowed() -> Sequence[int]:
    """The numbers of the logical processors that this process may use."""
    mask = getattr(os, "sched_getaffinity", None)
    return sorted(mask(0)) if mask else range(os.cpu_count() or 1)


def governor(root: Path = ROOT) -> str:
    """The policy of the clock; "unknown" where the kernel does not report it."""
    return _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or "unknown"


# --- control groups ------------------------------------------------------------------------------------


def memory_limit(root: Path = ROOT) -> int | None:
    """The tightest memory limit on this process's cgroups, or None."""
    import psutil

    files = (folder / name for folder in cgroups(root, "memory") for name in ("memory.max", "memory.limit_in_bytes"))
    limits = [int(text) for file in files if (text := _text(file).strip()).isdecimal()]
    limit = min(limits, default=None)
    # version 1 writes "no limit" as a number far beyond any memory
    return limit if limit is not None and limit < psutil.virtual_memory().total else None


def _cpu_quota(folder: Path) -> float | None:
    """CPU time that a cgroup may use, in cores."""
    quota, _, period = _text(folder / "cpu.max").strip().partition(" ")  # version 2: "150000 100000" or "max 100000"
    if not quota:
        quota = _text(folder / "cpu.cfs_quota_us").strip()  # version 1: -1 is no quota
        period = _text(folder / "cpu.cfs_period_us").strip()
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else None


def cgroups(root: Path, controller: str) -> Iterator[Path]:
    """The cgroup of this process for one controller, and all above it: each of them sets a limit.

    In a container the path may be the host's, of which only the upper part is mounted: folders may be missing.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        mounts = [""] if number == "0" else [controllers, controller]  # version 2 has one tree for all
        if number != "0" and controller not in controllers.split(","):
            continue
        inside = Path(path.lstrip("/"))
        for mount in mounts:
            top = root / "sys/fs/cgroup" / mount
            yield from (top / part for part in (inside, *inside.parents))


# --- software ------------------------------------------------------------------------------------------


def _os() -> str:
    kernel = f"{platform.system()} {platform.release()}"
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']} ({kernel})"
    except (OSError, KeyError):
        return platform.platform() if sys.platform != "linux" else kernel


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    import numpy
    import onnxruntime

    try:
        own = version("edgeprof")
    except PackageNotFoundError:  # run from a checkout
        own = "unknown"
    return {
        "edgeprof": own,
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
        "numpy": numpy.__version__,
    }


def _text(file: Path) -> str:
    """The contents of a file of the kernel; empty where it does not exist or may not be read."""
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
