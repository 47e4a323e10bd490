"""Memory of this process, as the kernel counts it."""

import sys
from pathlib import Path
from typing import NamedTuple

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


class ProcessMemory(NamedTuple):
    resident_bytes: int
    file_bytes: int  # the resident part that maps files; 0 where the kernel does not report it
    peak_bytes: int  # highest resident set since the process started or `reset_peak`


def read() -> ProcessMemory:
    if sys.platform == "linux":
        return parse(STATUS.read_text())
    import psutil

    now = psutil.Process().memory_info()
    return ProcessMemory(now.rss, 0, max(now.rss, _peak_elsewhere(now)))


def parse(status: str) -> ProcessMemory:
    """Memory from the text of /proc/PID/status, in KiB. VmHWM, unlike ru_maxrss, is not inherited from the parent."""
    rows = (line.split(":", 1) for line in status.splitlines() if ":" in line)
    kib = {key: int(value.split()[0]) for key, value in rows if value.endswith(" kB")}
    resident = kib["VmRSS"]
    return ProcessMemory(resident * 1024, kib.get("RssFile", 0) * 1024, kib.get("VmHWM", resident) * 1024)


def reset_peak() -> bool:
    """Reset the peak to what is resident now; False where that is not permitted."""
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _peak_elsewhere(now: object) -> int:
    if sys.platform == "win32":
        return int(getattr(now, "peak_wset", 0))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
