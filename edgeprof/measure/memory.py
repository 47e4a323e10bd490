"""Memory of this process, as the kernel counts it."""

import sys
from pathlib import Path
from typing import NamedTuple

STATUS = Path("/proc/self/status")
ROLLUP = Path("/proc/self/smaps_rollup")
CLEAR_REFS = Path("/proc/self/clear_refs")


class ProcessMemory(NamedTuple):
    resident_bytes: int
    file_bytes: int  # the resident part that maps files; 0 where the kernel does not report it
    peak_bytes: int  # highest resident set since the process started or `reset_peak`
    address_peak_bytes: int = 0  # most address space since the process started; 0 where it is not reported


class Shares(NamedTuple):
    """What of the resident set is this process's; None where the kernel does not report it."""

    pss_bytes: int | None  # proportional set size: pages that several processes map count by share
    private_bytes: int | None  # pages that no other process maps


def read() -> ProcessMemory:
    if sys.platform == "linux":
        return parse(STATUS.read_text())
    import psutil

    now = psutil.Process().memory_info()
    return ProcessMemory(now.rss, 0, max(now.rss, _peak_elsewhere(now)))


def parse(status: str) -> ProcessMemory:
    """Memory from the text of /proc/PID/status, in KiB. VmHWM, unlike ru_maxrss, is not inherited from the parent."""
    kib = _kib(status)
    resident = kib["VmRSS"]
    rest = (kib.get("RssFile", 0), kib.get("VmHWM", resident), kib.get("VmPeak", 0))
    return ProcessMemory(resident * 1024, *(value * 1024 for value in rest))


def shares() -> Shares:
    """The shares of this process now; the kernel walks all pages for it, which takes milliseconds."""
    try:
        return parse_shares(ROLLUP.read_text())
    except OSError:
        return Shares(None, None)


def parse_shares(rollup: str) -> Shares:
    """Shares from the text of /proc/PID/smaps_rollup, in KiB."""
    kib = _kib(rollup)
    private = [kib[name] * 1024 for name in ("Private_Clean", "Private_Dirty") if name in kib]
    return Shares(kib["Pss"] * 1024 if "Pss" in kib else None, sum(private) if private else None)


def _kib(text: str) -> dict[str, int]:
    rows = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key: int(value.split()[0]) for key, value in rows if value.endswith(" kB")}


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
