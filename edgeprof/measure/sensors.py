"""What the kernel tells of heat and clocks; `root` is where its file tree starts (tests pass their own)."""

from pathlib import Path

from edgeprof.measure.machine import ROOT


def temperature_c(root: Path = ROOT) -> float | None:
    """The hottest sensor; None where there is none that can be read."""
    return _highest(root, "sys/class/thermal/thermal_zone*/temp", 1e-3)


def clock_mhz(root: Path = ROOT) -> float | None:
    """The fastest core's clock; None where it is not told."""
    return _highest(root, "sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq", 1e-3)


def _highest(root: Path, pattern: str, unit: float) -> float | None:
    values = []
    for file in root.glob(pattern):
        try:
            values.append(int(file.read_text()))
        except (OSError, ValueError):  # a sensor that is asleep
            continue
    return max(values) * unit if values else None
