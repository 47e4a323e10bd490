"""Device memory that this process uses, where a driver reports it.

NVIDIA's driver reports it to nvidia-smi; the drivers in Linux's own tree (amdgpu, i915, xe, msm, ivpu, ...) report it
in `/proc/self/fdinfo`; Windows counts for every driver what DXGI would report to the process itself. Apple's devices
share the host's memory, and an emulator uses host memory: they report nothing besides.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from edgeprof.schema import Target

UNITS = {"": 1, "KiB": 1024, "MiB": 1024**2}
TIMEOUT_S = 10.0

NVIDIA = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")

# "memory" is the older name of "resident": amdgpu writes both of each region.
RESIDENT = re.compile(r"^drm-(resident|memory)-(\S+):\s*(\d+) ?(KiB|MiB|)$", re.MULTILINE)
CLIENT = re.compile(r"^drm-(?:pdev|client-id):.*$", re.MULTILINE)
OPEN_FILES = Path("/proc/self/fdinfo")

COUNTERS = (
    "Get-CimInstance Win32_PerfFormattedData_GPUPerformanceCounters_GPUProcessMemory"
    " -Filter \"Name LIKE 'pid[_]{pid}[_]%'\" | ForEach-Object {{ $_.DedicatedUsage + $_.SharedUsage }}"
)


def used(target: Target) -> int | None:
    """Bytes, with the driver's own context; None where no driver reports them. Read them after all timed runs."""
    if target.host_memory:
        return None
    reported = _nvidia() if target.runtime_name in NVIDIA else None
    if reported is None and sys.platform == "win32":
        return _windows()
    return reported if reported is not None else _linux(OPEN_FILES)


def _output(command: list[str]) -> str:
    """What a system tool prints; nothing where it is missing, hangs or fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _nvidia() -> int | None:
    query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    return _of_process(_output(query), os.getpid())


def _of_process(table: str, pid: int) -> int | None:
    """Sum over devices of "PID, MiB" lines; None where the process is in none, or its line holds no number."""
    rows = [row.split(",") for row in table.splitlines() if row.count(",") == 1]
    return _sum([size for number, size in rows if number.strip() == str(pid)], UNITS["MiB"])


def _windows() -> int | None:
    return _sum(_output(["powershell", "-NoProfile", "-Command", COUNTERS.format(pid=os.getpid())]).splitlines())


def _sum(sizes: list[str], unit: int = 1) -> int | None:
    """None where there is no size, or one of them is not a number."""
    sizes = [size.strip() for size in sizes]
    return sum(int(size) * unit for size in sizes) if sizes and all(size.isdecimal() for size in sizes) else None


def _linux(open_files: Path) -> int | None:
    """Sum of resident bytes over all regions of the drivers that this process has open.

    Format: https://docs.kernel.org/gpu/drm-usage-stats.html. Descriptors of one client report the same and count once.
    """
    clients = {}
    for file in open_files.glob("*"):
        try:
            text = file.read_text(encoding="utf-8")
        except OSError:  # closed since
            continue
        sizes = sorted(RESIDENT.findall(text))  # "resident" comes last, and so decides
        if regions := {region: int(size) * UNITS[unit] for _, region, size, unit in sizes}:
            clients[tuple(CLIENT.findall(text)) or file.name] = sum(regions.values())
    return sum(clients.values()) if clients else None
