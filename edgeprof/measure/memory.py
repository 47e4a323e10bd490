"""Memory of this process, as the kernel counts it."""

import ctypes
import mmap
import os
import platform
import sys
from collections.abc import Container, Iterable
from pathlib import Path
from typing import NamedTuple

from edgeprof.schema import WINDOW_BYTES

STATUS = Path("/proc/self/status")
MAPS = Path("/proc/self/smaps")
ROLLUP = Path("/proc/self/smaps_rollup")
CLEAR_REFS = Path("/proc/self/clear_refs")

HUGE = 1 << 21
"""Bytes of a huge page."""


M_MMAP_THRESHOLD = -3  # of mallopt(3)


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


def mapped(files: Iterable[str | Path]) -> int | None:
    """Resident bytes of this process that map some files; None where the kernel does not tell."""
    try:
        return parse_mapped(MAPS.read_text(), {os.path.realpath(file) for file in files})
    except OSError:
        return None


def window_bytes(file: Path) -> int:
    """Bytes of a cached file that the system maps when one is read: tried on up to eight places of the file."""
    size = file.stat().st_size
    if sys.platform != "linux" or not size:
        return WINDOW_BYTES
    apart = max(size // 8, 4 * HUGE)
    places = range(apart // 2, size, apart) or range(size // 2, size, size)
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as view:
        for place in places:
            view[place]
        return max((mapped([file]) or 0) // len(places), WINDOW_BYTES)


def parse_mapped(maps: str, files: Container[str]) -> int:
    """Resident bytes that map some files, from the text of /proc/PID/smaps: a header for each mapping, then rows."""
    total, counts = 0, False
    for line in maps.splitlines():
        first, _, rest = line.partition(" ")
        if not first.endswith(":"):  # address, permissions, offset, device, inode, path
            counts = line.split(None, 5)[5:] != [] and line.split(None, 5)[5] in files
        elif counts and first == "Rss:":
            total += int(rest.split()[0]) * 1024
    return total


def _kib(text: str) -> dict[str, int]:
    rows = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {key: int(value.split()[0]) for key, value in rows if value.endswith(" kB")}


def return_freed() -> None:
    """Let malloc of glibc give memory back as soon as it is freed, from WINDOW_BYTES on; elsewhere without effect."""
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, WINDOW_BYTES)


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
