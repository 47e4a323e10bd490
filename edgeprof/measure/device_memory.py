"""Memory of a device that this process has taken, where its driver tells."""

import os
import shutil
import subprocess

from edgeprof.schema import Target

MIB = 1024 * 1024
TIMEOUT_S = 10.0

NVIDIA = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")


def taken(target: Target) -> int | None:
    """Bytes, the driver's own context among them; None where nobody tells. Asked once all timed runs are over."""
    tool = shutil.which("nvidia-smi") if target.runtime_name in NVIDIA else None
    return _of_process(_ask(tool), os.getpid()) if tool else None


def _ask(tool: str) -> str:
    query = [tool, "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _of_process(told: str, pid: int) -> int | None:
    """Sum over devices of "PID, MiB" lines; None where the process is in none, or its line holds no number."""
    rows = [row.split(",") for row in told.splitlines() if row.count(",") == 1]
    sizes = [size.strip() for number, size in rows if number.strip() == str(pid)]
    return sum(int(size) * MIB for size in sizes) if sizes and all(size.isdecimal() for size in sizes) else None
